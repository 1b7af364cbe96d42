/** asciicast version 3, read as it arrives. Pure. */

export interface CastHeader {
  cols: number;
  rows: number;
}

export interface CastEvent {
  /** Seconds since the beginning. */
  time: number;
  /** `o` output, `r` size, `m` mark, `x` exit. */
  code: string;
  text: string;
}

/** No line of a recording is longer, in characters. */
const LONGEST_LINE = 16 * 1024 * 1024;

/** Takes text cut anywhere, and gives the events of whole lines. */
export class CastReader {
  header: CastHeader | null = null;
  private rest = "";
  private time = 0;

  /** Return what *text* completes; throws where it is no asciicast of version 3. */
  feed(text: string): CastEvent[] {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop() ?? "";
    if (this.rest.length > LONGEST_LINE) throw new Error("A line is too long.");
    return lines.flatMap((line) => this.line(line) ?? []);
  }

  private line(line: string): CastEvent | null {
    if (!line.trim() || line.startsWith("#")) return null;
    const value: unknown = JSON.parse(line);
    if (this.header === null) {
      this.header = headerOf(value);
      return null;
    }
    if (!Array.isArray(value)) throw new Error("This is no event of a recording.");
    const [interval, code, content] = value as unknown[];
    if (typeof interval !== "number" || typeof code !== "string")
      throw new Error("This is no event of a recording.");
    this.time += Math.max(interval, 0);
    return { time: this.time, code, text: String(content ?? "") };
  }
}

function headerOf(value: unknown): CastHeader {
  const { version, term } = (value ?? {}) as {
    version?: unknown;
    term?: { cols?: unknown; rows?: unknown };
  };
  const size = sizeOf(`${term?.cols}x${term?.rows}`);
  if (version !== 3 || size === null)
    throw new Error("This is no recording that can be played here.");
  return size;
}

/** Return the size that `80x24` names, within what a terminal may have, or null. */
export function sizeOf(text: string): CastHeader | null {
  const found = /^(\d{1,4})x(\d{1,4})$/.exec(text);
  if (!found) return null;
  const [cols, rows] = [Number(found[1]), Number(found[2])];
  return cols >= 1 && cols <= 500 && rows >= 1 && rows <= 500 ? { cols, rows } : null;
}
