/** When a view tells the server which size would fit it. */

const SETTLE_MS = 100;

export class SizeWish {
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** The wish that was told or found fulfilled; "" for none yet. */
  private asked = "";
  private is = "";
  /** True while this view's size is the one that counts: last used, or first here. */
  private isLeading = false;

  constructor(
    private readonly wanted: () => { cols: number; rows: number } | null,
    private readonly ask: (cols: number, rows: number) => void,
  ) {}

  /** The user is here. */
  lead(): void {
    this.isLeading = true;
    this.asked = "";
    this.changed();
  }

  /** The element may have another size. */
  changed(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.settle(), SETTLE_MS);
  }

  /** The server set this size. */
  became(cols: number, rows: number): void {
    const now = `${cols}x${rows}`;
    if (now === this.is) return;
    this.is = now;
    // Somebody else's size won: do not fight over it until the user comes back.
    if (this.asked && now !== this.asked) this.isLeading = false;
  }

  dispose(): void {
    clearTimeout(this.timer);
  }

  private settle(): void {
    const size = this.isLeading ? this.wanted() : null;
    if (!size) return;
    const wish = `${size.cols}x${size.rows}`;
    if (wish === this.asked) return;
    this.asked = wish;
    if (wish !== this.is) this.ask(size.cols, size.rows);
  }
}
