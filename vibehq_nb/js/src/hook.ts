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

interface RecordingHook {
  text(): string;
  status(): { state: string; position: number };
}

interface Hooks {
  terminals: Map<string, TerminalHook>;
  recordings: Map<string, RecordingHook>;
}

declare global {
  var __vibehq: Hooks | undefined;
}

function hooks(): Hooks {
  globalThis.__vibehq ??= { terminals: new Map(), recordings: new Map() };
  return globalThis.__vibehq;
}

/** List a terminal for as long as its view lives; returns the way to remove it. */
export function exposeTerminal(
  id: string,
  screen: TerminalScreen,
  session: TerminalSession,
): () => void {
  const { terminals } = hooks();
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

/** List a recording for as long as its view lives; returns the way to remove it. */
export function exposeRecording(id: string, hook: RecordingHook): () => void {
  const { recordings } = hooks();
  recordings.set(id, hook);
  return () => {
    if (recordings.get(id) === hook) recordings.delete(id);
  };
}
