/**
 * Keystrokes on their way: sent, acknowledged, held. Each is typed at most once.
 *
 * Pure: time comes in. The offset counts every byte this input session (user and
 * connection id) ever sent; after a reconnect the server says how many arrived.
 */

/** A link that is away for longer than this loses what was typed meanwhile. */
export const HOLD_MS = 5000;
/** What is typed into a lost link beyond this is refused. */
export const HELD_BYTES = 4096;

export type Discard =
  /** The link was away for too long. */
  | "late"
  /** More was typed while away than is held. */
  | "full"
  /** The terminal is frozen, or somebody else types. */
  | "refused";

export type InputAction =
  | { do: "send"; bytes: Uint8Array<ArrayBuffer> }
  | { do: "discard"; count: number; why: Discard };

export class InputSession {
  /** Sent and not acknowledged; its first byte has the offset `accepted`. */
  private unacknowledged: Uint8Array<ArrayBuffer> = new Uint8Array();
  private waiting: Uint8Array<ArrayBuffer> = new Uint8Array();
  private accepted = 0;
  private isReady = false;
  /** Something was refused: the counts no longer say which byte is which. */
  isUncertain = false;

  constructor(private lostAt: number) {}

  /** The bytes typed and not sent yet. */
  get held(): Uint8Array {
    return this.waiting;
  }

  /** How many bytes were sent and are not acknowledged. */
  get inFlight(): number {
    return this.unacknowledged.length;
  }

  /** Whether the server's count and this one may differ: a new connection tells. */
  get isUnsettled(): boolean {
    return this.isUncertain || this.unacknowledged.length > 0;
  }

  /** Take keystrokes. */
  type(bytes: Uint8Array<ArrayBuffer>, now: number): InputAction[] {
    if (bytes.length === 0) return [];
    if (this.isReady) {
      if (!this.isUncertain) this.unacknowledged = concat(this.unacknowledged, bytes);
      return [{ do: "send", bytes }];
    }
    if (now - this.lostAt > HOLD_MS) return [discard(bytes.length, "late")];
    if (this.waiting.length + bytes.length > HELD_BYTES)
      return [discard(bytes.length, "full")];
    this.waiting = concat(this.waiting, bytes);
    return [];
  }

  /** The server took every byte before *offset*. */
  acknowledged(offset: number): void {
    if (this.isUncertain) return;
    const taken = offset - this.accepted;
    if (taken <= 0) return;
    this.unacknowledged = this.unacknowledged.slice(taken);
    this.accepted = offset;
  }

  /** The link is gone, or the worker behind it. */
  lost(now: number): void {
    if (this.isReady) this.lostAt = now;
    this.isReady = false;
  }

  /** The link is back; *accepted* bytes arrived, null while nobody can tell. */
  connected(accepted: number | null, mayTypeNow: boolean, now: number): InputAction[] {
    if (accepted === null) {
      this.lost(now);
      return [];
    }
    const isTimely = now - this.lostAt <= HOLD_MS;
    // Bytes the server does not count as accepted; of a session it forgot, all.
    const done = Math.max(0, accepted - this.accepted);
    const unsent = accepted < this.accepted ? EMPTY : this.unacknowledged.slice(done);
    const rest = concat(unsent, this.waiting);
    const wasReady = this.isReady;
    this.accepted = accepted;
    this.unacknowledged = EMPTY;
    this.waiting = EMPTY;
    this.isUncertain = false;
    this.isReady = true;
    if (rest.length === 0) return [];
    if (!mayTypeNow) return [discard(rest.length, "refused")];
    if (!wasReady && !isTimely) return [discard(rest.length, "late")];
    return this.type(rest, now);
  }

  /** The worker is back and every byte ever sent was acknowledged. */
  resumed(mayTypeNow: boolean, now: number): InputAction[] {
    return this.connected(this.accepted, mayTypeNow, now);
  }

  /** The server refused what was in flight. */
  refused(): InputAction[] {
    const count = this.unacknowledged.length;
    this.unacknowledged = EMPTY;
    this.isUncertain = true;
    return count > 0 ? [discard(count, "refused")] : [];
  }

  /** Time passed: discard what is held for too long. */
  expire(now: number): InputAction[] {
    if (this.isReady || now - this.lostAt <= HOLD_MS || this.waiting.length === 0)
      return [];
    const count = this.waiting.length;
    this.waiting = EMPTY;
    return [discard(count, "late")];
  }
}

const EMPTY: Uint8Array<ArrayBuffer> = new Uint8Array();

function discard(count: number, why: Discard): InputAction {
  return { do: "discard", count, why };
}

function concat(
  first: Uint8Array<ArrayBuffer>,
  second: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  if (first.length === 0) return second;
  if (second.length === 0) return first;
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
