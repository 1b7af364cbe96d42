/** A recording read from the server: from a time on, no further ahead than is needed. */

import type { Api } from "./api.ts";
import { type CastEvent, CastReader, sizeOf } from "./cast.ts";
import type { Source } from "./player.ts";

/** Characters that wait to be played; with more, the server waits. */
const AHEAD = 8 * 1024 * 1024;

export class CastSource implements Source {
  constructor(
    private readonly api: Api,
    private readonly id: string,
  ) {}

  /** Yield the size, then what is needed to know the screen at *start*, and the rest. */
  async *open(start: number, signal: AbortSignal): AsyncGenerator<CastEvent[]> {
    const path = `api/recordings/${encodeURIComponent(this.id)}/cast`;
    const query = `?version=3&from=${start.toFixed(3)}`;
    const ahead = new Ahead(await this.api.stream(path + query, signal));
    try {
      yield* ahead.events();
    } finally {
      ahead.stop();
    }
  }
}

/** Reads on while what was read before is played, so that no connection is held. */
class Ahead {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private readonly cast = new CastReader();
  private readonly decoder = new TextDecoder();
  private readonly waiting: { events: CastEvent[]; size: number }[] = [];
  private size = 0;
  private isDone = false;
  private failure: unknown = null;
  private wake = () => {};

  constructor(stream: ReadableStream<Uint8Array>) {
    this.reader = stream.getReader();
    void this.read();
  }

  async *events(): AsyncGenerator<CastEvent[]> {
    while (true) {
      const next = this.waiting.shift();
      if (next) {
        this.size -= next.size;
        this.wake();
        yield next.events;
      } else if (this.failure) throw this.failure;
      else if (this.isDone) return;
      else await this.change();
    }
  }

  stop(): void {
    this.isDone = true;
    this.wake();
    this.reader.cancel().catch(() => {});
  }

  private async read(): Promise<void> {
    let hadHeader = false;
    try {
      while (!this.isDone) {
        const { value, done } = await this.reader.read();
        const text = this.decoder.decode(value, { stream: !done });
        const events = this.cast.feed(text);
        const { header } = this.cast;
        if (header && !hadHeader) {
          hadHeader = true;
          const size = `${header.cols}x${header.rows}`;
          if (sizeOf(size)) events.unshift({ time: 0, code: "r", text: size });
        }
        if (events.length > 0) this.waiting.push({ events, size: text.length });
        this.size += events.length > 0 ? text.length : 0;
        if (done) this.isDone = true;
        this.wake();
        while (this.size > AHEAD && !this.isDone) await this.change();
      }
    } catch (error) {
      this.failure = error;
      this.wake();
    }
  }

  /** Await the next change; there is one reader and one writer. */
  private change(): Promise<void> {
    const before = this.wake;
    return new Promise((resolve) => {
      this.wake = () => {
        this.wake = () => {};
        before();
        resolve();
      };
    });
  }
}
