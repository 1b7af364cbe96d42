/**
 * A viewer's replica of one terminal: what to paint, and how much is held.
 *
 * Pure. Frames go in, actions come out; nothing is painted twice and nothing is
 * skipped in silence.
 */

import type { Downstream, Position } from "./wire.ts";

export type TerminalMessage = Downstream<"terminal">;

export type Action =
  /** Empty the screen: a keyframe follows. */
  | { do: "reset" }
  | { do: "resize"; cols: number; rows: number }
  /** Paint; `until` is the offset held once painted, null inside a keyframe. */
  | { do: "write"; bytes: Uint8Array; until: number | null; isReplay: boolean }
  /** Output from `from` to `to` is gone. */
  | { do: "gap"; from: number; to: number; reason: string }
  /** This connection does not fit what is held: open another one. */
  | { do: "reconnect" };

export type Phase =
  /** No first frame yet, or no connection. */
  | "unconnected"
  /** The worker is not there; the screen stays. */
  | "waiting"
  /** A snapshot was announced. */
  | "announced"
  /** Inside a keyframe. */
  | "keyframe"
  | "live";

export class TerminalReplica {
  phase: Phase = "unconnected";
  /** What is held, or null: the next connection starts afresh. */
  position: Position | null = null;
  private keyframeEnd: Position | null = null;
  private keyframeLeft = 0;
  /** Bytes up to here were written while this viewer was away. */
  private replayEnd = 0;

  /** Forget the connection, keep the screen. */
  disconnected(): void {
    this.phase = "unconnected";
    this.keyframeLeft = 0;
  }

  /** Take a message in. */
  message(message: TerminalMessage): Action[] {
    switch (message.type) {
      case "connected":
        return this.connected(message);
      case "gap":
        return [
          { do: "gap", from: message.from, to: message.to, reason: message.reason },
        ];
      case "snapshot":
        return this.snapshot(message);
      case "resized":
        return this.resized(message);
      case "tick":
        return this.isBehind(message.offset) ? this.lost() : [];
      default:
        return [];
    }
  }

  /** Take terminal bytes in. */
  bytes(bytes: Uint8Array): Action[] {
    if (this.phase === "keyframe") {
      const head = bytes.subarray(0, this.keyframeLeft);
      const tail = bytes.subarray(head.length);
      this.keyframeLeft -= head.length;
      const actions: Action[] = [
        { do: "write", bytes: head, until: null, isReplay: true },
      ];
      if (this.keyframeLeft === 0) this.finishKeyframe();
      return tail.length > 0 ? [...actions, ...this.bytes(tail)] : actions;
    }
    if (this.phase !== "live" || !this.position) return this.lost();
    return this.output(bytes, this.position);
  }

  private output(bytes: Uint8Array, position: Position): Action[] {
    const replayed = Math.max(0, this.replayEnd - position.offset);
    this.position = { ...position, offset: position.offset + bytes.length };
    const parts = [
      { part: bytes.subarray(0, replayed), isReplay: true },
      { part: bytes.subarray(replayed), isReplay: false },
    ];
    let until = position.offset;
    const actions: Action[] = [];
    for (const { part, isReplay } of parts) {
      if (part.length === 0) continue;
      until += part.length;
      actions.push({ do: "write", bytes: part, until, isReplay });
    }
    return actions;
  }

  private connected(message: Extract<TerminalMessage, { type: "connected" }>) {
    this.replayEnd = message.offset;
    switch (message.resume) {
      case "waiting":
        this.phase = "waiting";
        return [];
      case "resumed":
        if (this.position?.epoch !== message.epoch) {
          this.position = null;
          return this.lost();
        }
        this.phase = "live";
        return [];
      default:
        this.phase = "announced";
        return [];
    }
  }

  private snapshot(message: Extract<TerminalMessage, { type: "snapshot" }>): Action[] {
    if (this.phase === "unconnected") return this.lost();
    const { epoch, offset, cols, rows, bytes } = message;
    // A half-painted keyframe is worth nothing: until its end nothing is held.
    this.position = null;
    this.keyframeEnd = { epoch, offset };
    this.keyframeLeft = bytes;
    this.replayEnd = Math.max(this.replayEnd, offset);
    this.phase = "keyframe";
    if (bytes === 0) this.finishKeyframe();
    return [{ do: "reset" }, { do: "resize", cols, rows }];
  }

  private finishKeyframe(): void {
    this.position = this.keyframeEnd;
    this.phase = "live";
  }

  private resized(message: Extract<TerminalMessage, { type: "resized" }>): Action[] {
    if (this.phase !== "live") return [];
    if (this.isBehind(message.offset)) return this.lost();
    return [{ do: "resize", cols: message.cols, rows: message.rows }];
  }

  /** Frames are in order, so bytes that are missing now will not come. */
  private isBehind(served: number): boolean {
    return this.phase === "live" && served > (this.position?.offset ?? 0);
  }

  private lost(): Action[] {
    this.phase = "unconnected";
    return [{ do: "reconnect" }];
  }
}
