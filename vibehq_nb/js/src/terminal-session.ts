/**
 * One terminal's connection: socket, replica, keystrokes and acknowledgements.
 *
 * No DOM: the screen is a port, and what the view shows comes as `Status`.
 */

import { ACK_IDLE_MS, Acks } from "./acks.ts";
import type { Api } from "./api.ts";
import { visible } from "./escape.ts";
import { HOLD_MS, type InputAction, InputSession } from "./input-session.ts";
import { type Link, RoomSocket } from "./room-socket.ts";
import { STOP_TEXTS, type StopReason } from "./socket-policy.ts";
import {
  type Action,
  type TerminalMessage,
  TerminalReplica,
} from "./terminal-replica.ts";
import type { Connected } from "./wire.ts";

/** Where a terminal is painted. Calls are carried out in order. */
export interface Screen {
  reset(): void;
  resize(cols: number, rows: number): void;
  write(bytes: Uint8Array, isReplay: boolean, painted: () => void): void;
}

export type StateName =
  | "connecting"
  | "connected"
  | "reconnecting"
  | "waiting"
  | "exited"
  | "signed-out"
  | "stopped";

export interface Status {
  state: StateName;
  /** One sentence for the bar where the state needs one, else "". */
  text: string;
  user: string;
  roles: string[];
  writer: string | null;
  /** Who asked for the recording that runs; null while nothing is recorded. */
  recordedBy: string | null;
  isFrozen: boolean;
  title: string;
  worker: string;
  cols: number;
  rows: number;
  /** Bytes typed that wait for the link. */
  held: number;
}

export type Note = "info" | "warning";

export interface SessionEvents {
  onStatus(status: Status): void;
  /** Something worth a short sentence. */
  onNote(text: string, kind: Note): void;
  /** The first frame of a connection is in. */
  onConnected(connected: Connected): void;
  onSizePolicy(policy: string): void;
}

/** Errors after which keystrokes in flight were not typed. */
const REFUSED_INPUT = ["not-writer", "frozen", "forbidden", "no-worker", "exited"];
/** A forced reconnect more often than this would be a loop. */
const FORCED_EVERY_MS = 1000;
/** Keystrokes unacknowledged for this long: ask the server how many it has. */
const STALL_MS = 4000;

export class TerminalSession {
  readonly replica = new TerminalReplica();
  readonly status: Status = {
    state: "connecting",
    text: "",
    user: "",
    roles: [],
    writer: null,
    recordedBy: null,
    isFrozen: false,
    title: "",
    worker: "",
    cols: 80,
    rows: 24,
    held: 0,
  };
  private readonly socket: RoomSocket<"terminal">;
  private readonly input = new InputSession(Date.now());
  private readonly acks = new Acks();
  private readonly timer: ReturnType<typeof setInterval>;
  private connection = 0;
  private forcedAt = 0;
  private typedAt = 0;
  private exit = "";
  /** The count that was told last, until the server knows that we know it. */
  private counted: number | null = null;
  private wasOpen = false;

  constructor(
    api: Api,
    terminal: string,
    private readonly screen: Screen,
    private readonly events: SessionEvents,
  ) {
    this.socket = new RoomSocket({
      api,
      party: "terminal",
      room: terminal,
      position: () => this.replica.position,
      events: {
        onLink: (link) => this.linked(link),
        onMessage: (message) => this.message(message),
        onBytes: (bytes) => this.perform(this.replica.bytes(bytes)),
      },
    });
    this.timer = setInterval(() => this.beat(), ACK_IDLE_MS);
  }

  get isWriter(): boolean {
    const { writer, user } = this.status;
    return writer !== null && writer === user;
  }

  /** What was typed and waits for the link, as text. */
  get heldText(): string {
    return new TextDecoder().decode(this.input.held);
  }

  get mayOperate(): boolean {
    return this.status.roles.includes("operator");
  }

  /** Send keystrokes, hold them while the link is away, or say why not. */
  type(bytes: Uint8Array<ArrayBuffer>): void {
    const { writer, state } = this.status;
    if (state === "exited") return;
    const refusal = this.refusalToType(writer);
    if (refusal) {
      this.events.onNote(refusal, "warning");
      return;
    }
    if (this.input.inFlight === 0) this.typedAt = Date.now();
    this.carryOut(this.input.type(bytes, Date.now()));
  }

  private refusalToType(writer: string | null): string {
    const { roles } = this.status;
    if (roles.length > 0 && !this.mayOperate)
      return "You may watch this terminal, not type.";
    return writer === null || this.isWriter
      ? ""
      : `${visible(writer)} is typing. Nothing was sent.`;
  }

  /** Tell what fits; the server's policy decides, a hidden screen does not count. */
  resize(cols: number, rows: number, hidden = false): void {
    if (this.mayOperate) this.socket.send({ type: "resize", cols, rows, hidden });
  }

  /** Take the input lease, or give it back. */
  lease(action: "take" | "give"): void {
    this.socket.send({ type: "writer", action });
  }

  reconnect(): void {
    this.socket.reconnect();
  }

  close(): void {
    clearInterval(this.timer);
    this.socket.close();
  }

  private linked(link: Link): void {
    if (link.state === "open") {
      this.wasOpen = true;
      return;
    }
    this.connection += 1;
    this.replica.disconnected();
    this.input.lost(Date.now());
    if (link.state === "stopped") {
      this.stopped(link.reason);
      return;
    }
    const refused = "The server is there, but lets nobody into this room.";
    const lost = "Connection lost, reconnecting…";
    this.set({
      state: this.wasOpen ? "reconnecting" : "connecting",
      text: link.isRefused ? refused : this.wasOpen ? lost : "Connecting…",
    });
  }

  private stopped(reason: StopReason): void {
    const state = reason === "signed-out" ? "signed-out" : "stopped";
    this.set({ state, text: STOP_TEXTS[reason] });
  }

  private message(message: TerminalMessage): void {
    this.perform(this.replica.message(message));
    switch (message.type) {
      case "connected":
        this.connected(message);
        return;
      case "input-ack":
        this.input.acknowledged(message.offset);
        this.typedAt = Date.now();
        return;
      case "writer":
        this.leased(message.user);
        return;
      case "size-policy":
        this.events.onSizePolicy(message.policy);
        return;
      case "recording":
        this.set({ recordedBy: message.is_on ? message.by : null });
        return;
      case "title":
        this.set({ title: message.text });
        return;
      case "exited":
        this.exited(message.code ?? null, message.signal ?? null);
        return;
      case "container-connected":
        this.workerBack(message.worker);
        return;
      case "container-disconnected":
        this.input.lost(Date.now());
        if (this.status.state === "exited") return; // nothing is waited for
        this.set({
          worker: message.worker,
          state: "waiting",
          text: `Waiting for worker ${visible(message.worker)}: ${visible(message.reason) || "away"}.`,
        });
        return;
      case "error":
        this.refused(message.code, message.message);
        return;
    }
  }

  private connected(message: Connected): void {
    const now = Date.now();
    const isFrozen = message.state === "frozen";
    const isWaiting = message.resume === "waiting";
    const writer = message.writer ?? null;
    if (message.resume !== "resumed") this.exit = "";
    this.set({
      user: message.user,
      roles: message.roles,
      writer,
      // Who joins while it runs is told by whom in the next message.
      recordedBy: message.recording ? (this.status.recordedBy ?? "") : null,
      isFrozen,
      state: isWaiting ? "waiting" : "connected",
      text: isWaiting ? "Waiting for the worker of this terminal." : "",
    });
    if (message.state === "exited") this.exited(null, null);
    const accepted = isWaiting ? null : (message.input ?? null);
    this.counted = accepted;
    this.carryOut(this.input.connected(accepted, this.mayTypeNow, now));
    if (message.resume === "resumed" && this.replica.position)
      this.acks.restart(this.replica.position.offset);
    this.events.onConnected(message);
  }

  /** The worker is back on a connection that stayed. */
  private workerBack(worker: string): void {
    if (this.status.state === "exited") return;
    this.set({ worker, state: "connected", text: "" });
    if (this.input.isUnsettled) this.force();
    else this.carryOut(this.input.resumed(this.mayTypeNow, Date.now()));
  }

  private get mayTypeNow(): boolean {
    const { writer, isFrozen } = this.status;
    return (writer === null || this.isWriter) && !isFrozen;
  }

  private leased(writer: string | null): void {
    const hadIt = this.isWriter;
    this.set({ writer });
    // What was refused before is not counted by the server: learn its count anew.
    if (!hadIt && this.isWriter && this.input.isUncertain) this.force();
  }

  private exited(code: number | null, signal: string | null): void {
    if (code !== null) this.exit = `Exited with code ${code}.`;
    else if (signal) this.exit = `Ended by signal ${visible(signal)}.`;
    else this.exit ||= "The shell has ended.";
    this.set({ state: "exited", text: this.exit });
  }

  private refused(code: string, text: string): void {
    if (REFUSED_INPUT.includes(code)) this.carryOut(this.input.refused(), true);
    if (code === "frozen") this.set({ isFrozen: true });
    this.events.onNote(visible(text), "warning");
  }

  private perform(actions: Action[]): void {
    for (const action of actions) {
      switch (action.do) {
        case "reset":
          this.screen.reset();
          break;
        case "resize":
          this.screen.resize(action.cols, action.rows);
          this.set({ cols: action.cols, rows: action.rows });
          break;
        case "write":
          this.paint(action);
          break;
        case "gap":
          this.events.onNote(
            `${action.to - action.from} bytes of output are no longer kept; this is the screen now.`,
            "warning",
          );
          break;
        case "reconnect":
          this.force();
      }
    }
  }

  private paint(action: Extract<Action, { do: "write" }>): void {
    const { connection } = this;
    const keyframeEnd =
      action.until === null && this.replica.phase === "live"
        ? (this.replica.position?.offset ?? null)
        : null;
    this.screen.write(action.bytes, action.isReplay, () => {
      // Another connection may be another epoch: its offsets are not these.
      if (connection !== this.connection) return;
      if (keyframeEnd !== null) this.acks.restart(keyframeEnd);
      const until = action.until ?? keyframeEnd;
      if (until !== null) this.acknowledge(this.acks.painted(until));
    });
  }

  private acknowledge(offset: number | null): void {
    if (offset !== null) this.socket.send({ type: "ack", offset });
  }

  private beat(): void {
    const now = Date.now();
    if (this.replica.phase === "live") this.acknowledge(this.acks.flush());
    this.carryOut(this.input.expire(now));
    const isStalled = this.input.inFlight > 0 && now - this.typedAt > STALL_MS;
    if (isStalled && this.status.state === "connected" && !this.status.isFrozen) {
      this.typedAt = now;
      this.force();
    }
  }

  private force(): void {
    const now = Date.now();
    const wait = Math.max(0, this.forcedAt + FORCED_EVERY_MS - now);
    this.forcedAt = now + wait;
    setTimeout(() => this.socket.reconnect(), wait);
  }

  private carryOut(actions: InputAction[], isSilent = false): void {
    for (const action of actions) {
      if (action.do === "send") this.sendKeys(action.bytes);
      else if (!isSilent) this.events.onNote(discardText(action), "warning");
    }
    if (this.status.held !== this.input.held.length)
      this.set({ held: this.input.held.length });
  }

  private sendKeys(bytes: Uint8Array<ArrayBuffer>): void {
    // What was sent before the count was known crossed it: the server drops that.
    if (this.counted !== null)
      this.socket.send({ type: "input-at", offset: this.counted });
    this.counted = null;
    this.socket.send(bytes);
  }

  private set(change: Partial<Status>): void {
    Object.assign(this.status, change);
    this.events.onStatus(this.status);
  }
}

function discardText(action: Extract<InputAction, { do: "discard" }>): string {
  const keys = `${action.count} ${action.count === 1 ? "keystroke was" : "keystrokes were"}`;
  switch (action.why) {
    case "late":
      return `${keys} not sent: the connection was away for over ${HOLD_MS / 1000} s.`;
    case "full":
      return `${keys} not sent: too much was typed while the connection was away.`;
    case "refused":
      return `${keys} not sent.`;
  }
}
