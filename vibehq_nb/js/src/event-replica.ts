/**
 * A client's replica of an event room: a snapshot, then its entries, each once.
 *
 * Pure. What an entry changes is the reducer's, what is held is decided here.
 */

import type { JsonObject, Position } from "./wire.ts";

/** What every event room may send, as far as the replica looks at it. */
export interface RoomMessage {
  type: string;
  offset?: number;
  [field: string]: unknown;
}

/** Folds one message into the state; ephemeral ones too. Returns the new state. */
export type Reducer<S> = (state: S, message: RoomMessage) => S;

export interface EventRoomKind<S> {
  /** Read a snapshot's state, whatever of it is missing. */
  load(state: JsonObject): S;
  apply: Reducer<S>;
}

const PROTOCOL_TYPES = new Set(["connected", "gap", "tick", "accepted", "error"]);

export class EventReplica<S> {
  position: Position | null = null;
  state: S;
  /** False until the first snapshot, and while one is awaited. */
  isCurrent = false;

  constructor(private readonly kind: EventRoomKind<S>) {
    this.state = kind.load({});
  }

  /** The connection is gone; the state stays, as of then. */
  disconnected(): void {
    this.isCurrent = false;
  }

  /** Take a message in; return whether the state may have changed. */
  receive(message: RoomMessage): boolean {
    if (message.type === "connected") {
      this.isCurrent =
        message.resume === "resumed" && this.position?.epoch === message.epoch;
      return true;
    }
    if (message.type === "snapshot") return this.snapshot(message);
    if (!this.isCurrent || !this.position) return false;
    if (message.type === "tick") {
      this.advance(message.offset ?? 0);
      return false;
    }
    if (PROTOCOL_TYPES.has(message.type)) return false;
    const { offset } = message;
    // Offset 0 marks an entry's ephemeral twin: it never moves a position.
    if (offset) {
      if (offset <= this.position.offset) return false;
      this.advance(offset);
    }
    this.state = this.kind.apply(this.state, message);
    return true;
  }

  private snapshot(message: RoomMessage): boolean {
    this.state = this.kind.load((message.state ?? {}) as JsonObject);
    this.position = { epoch: String(message.epoch), offset: message.offset ?? 0 };
    this.isCurrent = true;
    return true;
  }

  private advance(offset: number): void {
    if (this.position && offset > this.position.offset)
      this.position = { epoch: this.position.epoch, offset };
  }
}
