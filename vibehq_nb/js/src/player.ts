/** Plays a recording: when what is shown, and where it stands. Knows no page. */

import { type CastEvent, sizeOf } from "./cast.ts";

export interface Source {
  /** Yield what is needed to know the screen at *start* seconds, then all behind it. */
  open(start: number, signal: AbortSignal): AsyncIterable<CastEvent[]>;
}

export interface Stage {
  reset(): void;
  resize(cols: number, rows: number): void;
  /** Call *painted* once *text* is on the screen. */
  write(text: string, painted: () => void): void;
}

export interface Clock {
  now(): number;
  after(ms: number, call: () => void): () => void;
}

export interface Playing {
  state: "loading" | "playing" | "paused" | "ended" | "failed";
  position: number;
  speed: number;
  skipsPauses: boolean;
  text: string;
}

/** Characters on their way to the screen; more of them wait. */
const PAINTING = 512 * 1024;
/** With pauses skipped, none is longer. */
const LONGEST_PAUSE = 1;
/** This soon after its beginning, the command before is meant. */
const GRACE = 1.5;
export const SPEEDS = [0.5, 1, 2, 5, 10];

export const pageClock: Clock = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};

export class Player {
  readonly status: Playing = {
    state: "paused",
    position: 0,
    speed: 1,
    skipsPauses: false,
    text: "",
  };
  private running: AbortController | null = null;
  private since = 0;
  private due: { time: number; go: () => void } | null = null;
  private disarm = () => {};
  private painting = 0;
  private roomy = () => {};

  constructor(
    private readonly source: Source,
    private readonly stage: Stage,
    private readonly duration: number,
    private readonly marks: readonly number[],
    private readonly changed: (status: Playing) => void,
    private readonly clock: Clock = pageClock,
  ) {}

  /** Where it is now, in seconds. */
  get position(): number {
    const { state, position, speed } = this.status;
    if (state !== "playing" || !this.due) return position;
    const gone = ((this.clock.now() - this.since) / 1000) * speed;
    return Math.min(position + gone, this.due.time);
  }

  toggle(): void {
    const { state } = this.status;
    if (state === "ended" || state === "failed") this.seek(0, true);
    else if (state === "paused" && !this.running) this.seek(this.status.position, true);
    else if (state === "paused") this.rearm({ state: "playing" });
    else if (state === "playing") this.rearm({ state: "paused" });
  }

  setSpeed(speed: number): void {
    this.rearm({ speed });
  }

  faster(by: 1 | -1): void {
    const at = SPEEDS.indexOf(this.status.speed) + by;
    const speed = SPEEDS[at];
    if (speed !== undefined) this.setSpeed(speed);
  }

  skipPauses(skipsPauses: boolean): void {
    this.rearm({ skipsPauses });
  }

  /** Show the screen at *time*; go on from there if it plays, or as *plays* says. */
  seek(time: number, plays = this.status.state === "playing"): void {
    const start = Math.max(0, Math.min(time, this.duration));
    void this.run(start, plays);
  }

  /** Go to the beginning of the next command, or of the one before. */
  jump(by: 1 | -1): void {
    const here = this.position;
    if (by > 0) {
      const later = this.marks.filter((mark) => mark > here + 0.001);
      if (later.length > 0) this.seek(Math.min(...later));
      return;
    }
    this.seek(Math.max(0, ...this.marks.filter((mark) => mark < here - GRACE)));
  }

  stop(): void {
    this.running?.abort();
    this.running = null;
    this.disarm();
  }

  private async run(start: number, plays: boolean): Promise<void> {
    this.stop();
    const running = new AbortController();
    this.running = running;
    this.due = null;
    this.set({ state: "loading", position: start, text: "" });
    const isOver = () => running.signal.aborted;
    try {
      let hasBegun = false;
      for await (const events of this.source.open(start, running.signal)) {
        if (isOver()) return;
        if (!hasBegun) {
          hasBegun = true;
          this.stage.reset();
          this.set({ state: plays ? "playing" : "paused" });
        }
        for (const event of events) {
          if (event.time > this.status.position) await this.until(event.time);
          if (isOver()) return;
          await this.show(event);
          if (isOver()) return;
        }
      }
      this.running = null;
      this.set({ state: "ended", position: Math.max(this.duration, start) });
    } catch (error) {
      if (isOver()) return;
      this.running = null;
      const text = error instanceof Error ? error.message : "It cannot be read.";
      this.set({ state: "failed", text });
    }
  }

  private async show(event: CastEvent): Promise<void> {
    if (event.code === "r") {
      const size = sizeOf(event.text);
      if (size) this.stage.resize(size.cols, size.rows);
    } else if (event.code === "o") {
      const { length } = event.text;
      this.painting += length;
      this.stage.write(event.text, () => {
        this.painting -= length;
        this.roomy();
      });
      while (this.painting > PAINTING)
        await new Promise<void>((resolve) => {
          this.roomy = resolve;
        });
    }
  }

  /** Await that the position is *time*, at the pace that is set meanwhile. */
  private until(time: number): Promise<void> {
    return new Promise((resolve) => {
      this.due = { time, go: resolve };
      this.since = this.clock.now();
      this.arm();
    });
  }

  /** Change how it plays; what is waited for is reckoned anew. */
  private rearm(change: Partial<Playing>): void {
    const position = this.position;
    this.since = this.clock.now();
    this.set({ ...change, position });
    this.arm();
  }

  private arm(): void {
    this.disarm();
    this.disarm = () => {};
    const { due, status } = this;
    if (!due || status.state !== "playing") return;
    if (status.skipsPauses)
      status.position = Math.max(status.position, due.time - LONGEST_PAUSE);
    const ms = ((due.time - status.position) / status.speed) * 1000;
    // A timer of more than some 24 days would go off at once.
    const wait = Math.min(Math.max(ms, 0), 1e9);
    this.disarm = this.clock.after(wait, () => {
      this.due = null;
      this.set({ position: due.time });
      due.go();
    });
  }

  private set(change: Partial<Playing>): void {
    Object.assign(this.status, change);
    this.changed(this.status);
  }
}
