/** One room's connection: partysocket, resuming where the replica is. */

import { PartySocket } from "partysocket";
import { type Api, ApiError } from "./api.ts";
import {
  GROWTH,
  jitter,
  MAX_DELAY_MS,
  MIN_DELAY_MS,
  type StopReason,
  stopReason,
} from "./socket-policy.ts";
import { type Downstream, type Party, type Position, parse } from "./wire.ts";

/** The server sends something at least each 15 s; this is two of them and a bit. */
export const SILENCE_MS = 35_000;
const CONNECT_MS = 10_000;
const OPENS_BEFORE_ASKING = 2;

export type Link =
  | { state: "connecting"; attempt: number; isRefused: boolean }
  | { state: "open" }
  | { state: "stopped"; reason: StopReason };

export interface RoomEvents<P extends Party> {
  onLink(link: Link): void;
  onMessage(message: Downstream<P>): void;
  onBytes?(bytes: Uint8Array): void;
}

export interface RoomSocketOptions<P extends Party> {
  api: Api;
  party: P;
  room: string;
  /** Asked at every attempt: what the replica holds, or null. */
  position: () => Position | null;
  events: RoomEvents<P>;
  silenceMs?: number;
  random?: () => number;
  /** For tests outside a browser. */
  WebSocket?: unknown;
}

export class RoomSocket<P extends Party> {
  link: Link = { state: "connecting", attempt: 0, isRefused: false };
  private readonly socket: PartySocket;
  private readonly watchdog: ReturnType<typeof setInterval>;
  private lastFrame = Date.now();
  private attempts = 0;
  private failedOpens = 0;
  private isClosed = false;

  constructor(private readonly options: RoomSocketOptions<P>) {
    const { base } = options.api;
    const prefix = `${base.pathname.replace(/^\/+/, "")}parties`;
    this.socket = new PartySocket({
      host: base.host,
      protocol: base.protocol === "https:" ? "wss" : "ws",
      prefix,
      party: options.party,
      room: options.room,
      query: () => this.query(),
      // A key typed while offline must not be flushed by the socket: what is sent
      // again after a reconnect is decided by the input session alone.
      maxEnqueuedMessages: 0,
      connectionTimeout: CONNECT_MS,
      minReconnectionDelay: MIN_DELAY_MS,
      maxReconnectionDelay: MAX_DELAY_MS / 2,
      reconnectionDelayGrowFactor: GROWTH,
      shouldReconnectOnClose: (event) => stopReason(event.code) === null,
      ...(options.WebSocket ? { WebSocket: options.WebSocket } : {}),
    });
    this.socket.binaryType = "arraybuffer";
    this.listen();
    const silence = options.silenceMs ?? SILENCE_MS;
    this.watchdog = setInterval(() => this.watch(silence), silence / 7);
    globalThis.addEventListener?.("online", this.hurry);
  }

  /** The connection id, fixed for the life of this object. */
  get id(): string {
    return this.socket.id;
  }

  get isOpen(): boolean {
    return this.link.state === "open";
  }

  /** Send now, or return false: nothing is kept for later. */
  send(message: object | Uint8Array<ArrayBuffer>): boolean {
    if (!this.isOpen || this.isClosed) return false;
    const frame = message instanceof Uint8Array ? message : JSON.stringify(message);
    return this.socket.send(frame);
  }

  /** Drop the connection and open a new one at once. */
  reconnect(): void {
    if (this.isClosed) return;
    this.failedOpens = 0;
    this.socket.reconnect();
  }

  close(): void {
    this.isClosed = true;
    clearInterval(this.watchdog);
    globalThis.removeEventListener?.("online", this.hurry);
    this.socket.onopen = null;
    this.socket.onclose = null;
    this.socket.onerror = null;
    this.socket.onmessage = null;
    this.socket.close();
  }

  // The handler properties, not listeners: partysocket hands listeners a copy of
  // its own close events whose code is wrong.
  private listen(): void {
    this.socket.onopen = () => this.opened();
    this.socket.onclose = (event) => this.closed(event.code);
    this.socket.onmessage = (event: MessageEvent) => this.received(event.data);
  }

  private async query(): Promise<Record<string, string>> {
    const random = this.options.random ?? Math.random;
    const delay = jitter(this.attempts, random());
    if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
    this.attempts += 1;
    const position = this.options.position();
    if (!position) return {};
    return { epoch: position.epoch, offset: String(position.offset) };
  }

  private opened(): void {
    this.failedOpens = 0;
    this.attempts = 0;
    this.lastFrame = Date.now();
    this.tell({ state: "open" });
  }

  private received(frame: unknown): void {
    this.lastFrame = Date.now();
    if (frame instanceof ArrayBuffer) {
      this.options.events.onBytes?.(new Uint8Array(frame));
      return;
    }
    const message = parse(this.options.party, String(frame));
    if (message) this.options.events.onMessage(message);
  }

  private closed(code: number): void {
    if (this.isClosed) return;
    const reason = stopReason(code);
    if (reason) {
      this.tell({ state: "stopped", reason });
      return;
    }
    const wasOpen = this.isOpen;
    if (!wasOpen) this.failedOpens += 1;
    this.tell({ state: "connecting", attempt: this.failedOpens, isRefused: false });
    if (!wasOpen && this.failedOpens % OPENS_BEFORE_ASKING === 0) void this.ask();
  }

  /** A browser hides why an upgrade was refused, so ask over HTTP. */
  private async ask(): Promise<void> {
    try {
      await this.options.api.me();
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 0;
      if (this.isClosed || this.isOpen || (status !== 401 && status !== 403)) return;
      this.socket.close();
      this.tell({ state: "stopped", reason: "signed-out" });
      return;
    }
    if (this.isClosed || this.link.state !== "connecting") return;
    this.tell({ state: "connecting", attempt: this.failedOpens, isRefused: true });
  }

  private watch(silence: number): void {
    if (!this.isOpen || Date.now() - this.lastFrame < silence) return;
    // A page that slept finds its frames right behind this timer: let them in first.
    setTimeout(() => {
      if (this.isOpen && Date.now() - this.lastFrame >= silence) this.reconnect();
    }, silence / 35);
  }

  private readonly hurry = (): void => {
    if (this.link.state === "connecting") this.reconnect();
  };

  private tell(link: Link): void {
    this.link = link;
    this.options.events.onLink(link);
  }
}
