/** When to tell the server how far its output is parsed. Pure. */

export const ACK_BYTES = 64 * 1024;
export const ACK_IDLE_MS = 250;

export class Acks {
  private parsed = 0;
  private told = -1;

  /** A new connection: nothing was told on it yet. */
  restart(offset: number): void {
    this.parsed = offset;
    this.told = -1;
  }

  /** Output up to *offset* is parsed; return the offset to send now, or null. */
  painted(offset: number): number | null {
    this.parsed = Math.max(this.parsed, offset);
    if (this.told >= 0 && this.parsed - this.told < ACK_BYTES) return null;
    return this.flush();
  }

  /** Nothing came for a moment; return the offset to send, or null. */
  flush(): number | null {
    if (this.parsed === this.told) return null;
    this.told = this.parsed;
    return this.parsed;
  }
}
