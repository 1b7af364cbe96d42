/**
 * Terminal replies are not keystrokes.
 *
 * A program can ask a terminal for its colours, its state, its cursor; with many
 * viewers, or when a keyframe is painted, every answer would be typed into the
 * shell. So no viewer answers, but the one who types, to live output, and only to
 * the two questions that line editors need.
 */

import type { IParser, Terminal } from "@xterm/xterm";

/** What xterm.js answers to, for which no answer is ever given. */
const NEVER_CSI = [
  { final: "t" },
  { prefix: ">", final: "q" },
  { prefix: "=", final: "c" },
  { prefix: "?", final: "n" },
  { prefix: "?", final: "u" },
  { intermediates: "$", final: "p" },
  { prefix: "?", intermediates: "$", final: "p" },
];
const NEVER_DCS = [
  { intermediates: "$", final: "q" },
  { intermediates: "+", final: "q" },
];
/** Device attributes and cursor position: one answer each, from the writer. */
const WRITER_CSI = [{ final: "c" }, { prefix: ">", final: "c" }, { final: "n" }];
const COLOURS = [4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
const CLIPBOARD = 52;

/** Silence the terminal's own answers. */
export function silence(
  parser: IParser,
  mayReply: () => boolean,
  onClipboard: () => void,
): void {
  for (const id of NEVER_CSI) parser.registerCsiHandler(id, () => true);
  for (const id of NEVER_DCS) parser.registerDcsHandler(id, () => true);
  for (const id of WRITER_CSI) parser.registerCsiHandler(id, () => !mayReply());
  for (const id of COLOURS)
    parser.registerOscHandler(id, (data) => data.split(";").includes("?"));
  parser.registerEscHandler({ final: "Z" }, () => true);
  parser.registerOscHandler(CLIPBOARD, () => {
    onClipboard();
    return true;
  });
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: this is about them
const REPLY = /^\x1b(?:\[[?>=]?[\d;]*[cnRtx]$|\[\??[\d;]*\$y|[P\]_^])/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: this is about them
const SHIFT_F3 = /^\x1b\[1;\dR$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: this is about them
const FOCUS = /^\x1b\[[IO]$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: this is about them
const MOUSE = /^\x1b\[<(\d+);/;
const MOTION_OR_WHEEL = 32 | 64;

export type Sort = "keys" | "reply" | "gesture";

/** Tell keystrokes from replies, and from gestures that only a writer means. */
export function sortOf(data: string): Sort {
  if (FOCUS.test(data)) return "gesture";
  const mouse = MOUSE.exec(data);
  if (mouse) return Number(mouse[1]) & MOTION_OR_WHEEL ? "gesture" : "keys";
  return REPLY.test(data) && !SHIFT_F3.test(data) ? "reply" : "keys";
}

/** Write live and replayed bytes so that it is known which ones are being parsed. */
export class ReplayMarks {
  /** True while the parser is inside bytes that were written before. */
  isReplay = true;
  private last = true;

  constructor(private readonly terminal: Pick<Terminal, "write">) {}

  write(bytes: Uint8Array, isReplay: boolean, painted: () => void): void {
    if (isReplay !== this.last) {
      this.last = isReplay;
      // An empty write's callback runs in its place between the others.
      this.terminal.write("", () => {
        this.isReplay = isReplay;
      });
    }
    this.terminal.write(bytes, painted);
  }
}
