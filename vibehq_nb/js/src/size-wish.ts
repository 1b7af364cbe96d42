/** When a view tells the server which size would fit it. */

const SETTLE_MS = 100;

export class SizeWish {
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** The wish that was told or found fulfilled; "" for none yet. */
  private asked = "";
  private is = "";
  /** True while this view's size is the one that counts: last used, or first here. */
  private isLeading = false;
  /** True while the smallest screen decides: every one that is seen is told. */
  private isEachTold = false;
  private told: { cols: number; rows: number } | null = null;

  constructor(
    private readonly wanted: () => { cols: number; rows: number } | null,
    private readonly ask: (cols: number, rows: number, isHidden?: boolean) => void,
  ) {}

  /** The room said who decides: at each connection, and when it changes. */
  decidedBy(policy: string): void {
    this.isEachTold = policy === "smallest";
    this.told = null;
    this.changed();
  }

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
    if (this.isEachTold) {
      this.tell(this.wanted());
      return;
    }
    const size = this.isLeading ? this.wanted() : null;
    if (!size) return;
    const wish = `${size.cols}x${size.rows}`;
    if (wish === this.asked) return;
    this.asked = wish;
    if (wish !== this.is) this.ask(size.cols, size.rows);
  }

  private tell(size: { cols: number; rows: number } | null): void {
    const { told } = this;
    if (size?.cols === told?.cols && size?.rows === told?.rows) return;
    if (size) this.ask(size.cols, size.rows);
    else if (told) this.ask(told.cols, told.rows, true);
    this.told = size;
  }
}
