/** `window.__vibehq`: what browser tests read, for a terminal paints no text nodes. */

import type { TerminalScreen } from "./terminal-screen.ts";
import type { Status, TerminalSession } from "./terminal-session.ts";
import type { Position } from "./wire.ts";

interface TerminalHook {
  text(): string;
  position(): Position | null;
  status(): Status;
  reconnect(): void;
}

declare global {
  var __vibehq: { terminals: Map<string, TerminalHook> } | undefined;
}

/** List a terminal for as long as its view lives; returns the way to remove it. */
export function exposeTerminal(
  id: string,
  screen: TerminalScreen,
  session: TerminalSession,
): () => void {
  globalThis.__vibehq ??= { terminals: new Map() };
  const { terminals } = globalThis.__vibehq;
  const hook: TerminalHook = {
    text: () => screen.text(),
    position: () => session.replica.position,
    status: () => ({ ...session.status }),
    reconnect: () => session.reconnect(),
  };
  terminals.set(id, hook);
  return () => {
    if (terminals.get(id) === hook) terminals.delete(id);
  };
}
