import headless from "@xterm/headless";
import type { Terminal } from "@xterm/xterm";
import { afterEach, describe, expect, it } from "vitest";
import { guard } from "../src/terminal-guards.ts";
import { ReplayMarks, silence, sortOf } from "../src/terminal-replies.ts";

const opened: headless.Terminal[] = [];

afterEach(() => {
  for (const terminal of opened.splice(0)) terminal.dispose();
});

function open(cols = 20, rows = 8): Terminal {
  const terminal = new headless.Terminal({ cols, rows, allowProposedApi: true });
  opened.push(terminal);
  return terminal as unknown as Terminal;
}

function written(terminal: Terminal, text: string): Promise<void> {
  return new Promise((done) => terminal.write(text, done));
}

function lines(terminal: Terminal): string[] {
  const { active } = terminal.buffer;
  const found = [];
  for (let y = 0; y < active.length; y += 1)
    found.push(active.getLine(y)?.translateToString(true) ?? "");
  return found;
}

/** A viewer as the terminal view makes one, and what it would type by itself. */
function viewer({ isWriter }: { isWriter: boolean }) {
  const terminal = open();
  const marks = new ReplayMarks(terminal);
  const answers: string[] = [];
  let refusals = 0;
  const mayReply = () => isWriter && !marks.isReplay;
  silence(terminal.parser, mayReply, () => {
    refusals += 1;
  });
  terminal.onData((data) => {
    if (sortOf(data) !== "reply" || mayReply()) answers.push(data);
  });
  const write = (text: string, isReplay: boolean) =>
    new Promise<void>((done) =>
      marks.write(new TextEncoder().encode(text), isReplay, done),
    );
  return { terminal, answers, write, refusals: () => refusals };
}

const NEVER_ANSWERED = {
  "secondary state": "\x1b[>q",
  "tertiary attributes": "\x1b[=c",
  title: "\x1b[21t",
  "size in cells": "\x1b[18t",
  "size in pixels": "\x1b[14t",
  "a private cursor position": "\x1b[?6n",
  "a mode": "\x1b[?2004$p",
  "an ANSI mode": "\x1b[4$p",
  DECRQSS: "\x1bP$qm\x1b\\",
  XTGETTCAP: "\x1bP+q544e\x1b\\",
  foreground: "\x1b]10;?\x07",
  background: "\x1b]11;?\x1b\\",
  "the cursor's colour": "\x1b]12;?\x07",
  "a palette colour": "\x1b]4;1;?\x07",
  clipboard: "\x1b]52;c;?\x07",
  keyboard: "\x1b[?u",
  DECREQTPARM: "\x1b[x",
  DECID: "\x1bZ",
  ENQ: "\x05",
};
const WRITER_ANSWERS = {
  "primary attributes": "\x1b[c",
  "secondary attributes": "\x1b[>c",
  status: "\x1b[5n",
  "cursor position": "\x1b[6n",
};
const QUERIES = Object.entries({ ...NEVER_ANSWERED, ...WRITER_ANSWERS });

describe("a question a program asks a terminal", () => {
  it.each(QUERIES)("about %s is answered by nobody who watches", async (_, query) => {
    const { answers, write } = viewer({ isWriter: false });
    await write(query, true);
    await write(query, false);
    expect(answers).toEqual([]);
  });

  it.each(QUERIES)("about %s is not answered in a replay", async (_, query) => {
    const { answers, write } = viewer({ isWriter: true });
    await write(query, true);
    expect(answers).toEqual([]);
  });

  it.each(Object.entries(NEVER_ANSWERED))(
    "about %s is not answered by the writer either",
    async (_, query) => {
      const { answers, write } = viewer({ isWriter: true });
      await write(query, false);
      expect(answers).toEqual([]);
    },
  );

  it.each(Object.entries(WRITER_ANSWERS))(
    "about %s is answered by the writer, once, when it is live",
    async (_, query) => {
      const { answers, write } = viewer({ isWriter: true });
      await write(query, true);
      await write(query, false);
      expect(answers).toHaveLength(1);
    },
  );

  it("is told from a replay though both are written at once", async () => {
    const { answers, write } = viewer({ isWriter: true });
    void write("\x1b[6n replayed \x1b[6n", true);
    void write("\x1b[6n", false);
    await write("\x1b[6n", true);
    expect(answers).toHaveLength(1);
  });
});

describe("the clipboard", () => {
  it.each(["\x1b]52;c;cm0gLXJmIC8=\x07", "\x1b]52;c;?\x1b\\"])(
    "is not reached by %j, and that is said",
    async (sequence) => {
      const { answers, write, refusals } = viewer({ isWriter: true });
      await write(sequence, false);
      expect(answers).toEqual([]);
      expect(refusals()).toBe(1);
    },
  );
});

describe("guard", () => {
  const ENDLESS = ["L", "M", "S", "T", "I", "Z", "b"];

  it.each(ENDLESS)("lets CSI %s with any number end at once", async (final) => {
    const [guarded, usual] = [open(), open()];
    guard(guarded);
    const text = "one\r\ntwo\x1b[2;2Hx";
    await written(guarded, `${text}\x1b[2147483647${final}!`);
    await written(usual, `${text}\x1b[160${final}!`);
    expect(lines(guarded)).toEqual(lines(usual));
    expect(guarded.buffer.active.cursorX).toBe(usual.buffer.active.cursorX);
  });

  it.each(ENDLESS)("leaves CSI %s with a small number alone", async (final) => {
    const [guarded, usual] = [open(), open()];
    guard(guarded);
    for (const terminal of [guarded, usual])
      await written(terminal, `one\r\ntwo\x1b[2;2Hx\x1b[2${final}!`);
    expect(lines(guarded)).toEqual(lines(usual));
  });

  it.each(["\x1b[8;20H", "\x1b[8;20Hx"])(
    "erases all from the last cell (%j)",
    async (place) => {
      const terminal = open();
      guard(terminal);
      await written(terminal, `text${place}\x1b[1J`);
      await written(terminal, "\x1b[Hafter");
      expect(lines(terminal)).toEqual(["after", ...Array(7).fill("")]);
    },
  );

  it("erases up to the cursor elsewhere", async () => {
    const terminal = open();
    guard(terminal);
    await written(terminal, "one\r\ntwo three\x1b[2;3H\x1b[1J");
    expect(lines(terminal).slice(0, 2)).toEqual(["", "    three"]);
  });
});
