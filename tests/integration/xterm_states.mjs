// What xterm.js holds after being fed: one JSON request a line in, one answer a line
// out. A request is {cols, rows, cases}; a case is a list of base64 pieces, written one
// after another to one terminal, and its answer is the terminal's state after each.
import { createInterface } from "node:readline";
import unicode11 from "@xterm/addon-unicode11";
import headless from "@xterm/headless";

const SCROLLBACK = 10_000;
/** xterm.js's names for a colour of the first 16, and of the 256. */
const [P16, P256] = [1 << 24, 2 << 24];

/** A colour; the first 16 are the same ones by both names. */
function colour(mode, value) {
  return `${mode === P256 && value < 16 ? P16 : mode},${value}`;
}

function style(cell) {
  const flags = [
    cell.isBold(),
    cell.isItalic(),
    cell.isDim(),
    cell.isUnderline(),
    cell.isBlink(),
    cell.isInverse(),
    cell.isInvisible(),
    cell.isStrikethrough(),
    cell.isOverline(),
  ].map((flag) => (flag ? 1 : 0));
  const foreground = colour(cell.getFgColorMode(), cell.getFgColor());
  const background = colour(cell.getBgColorMode(), cell.getBgColor());
  return `${foreground},${background},${flags.join("")}`;
}

function row(line) {
  const text = line.translateToString(true).replace(/ +$/u, "");
  const length = line.translateToString(false).startsWith(text) ? text.length : 0;
  const styles = [];
  let last = "";
  for (let x = 0, at = 0; x < line.length && at < length; x += 1) {
    const cell = line.getCell(x);
    at += cell.getWidth() === 0 ? 0 : cell.getChars().length || 1;
    const now = style(cell);
    if (now !== last) styles.push(`${x}:${now}`);
    last = now;
  }
  return [text, styles.join(" ")];
}

function rows(buffer) {
  const found = [];
  for (let y = 0; y < buffer.length; y += 1) found.push(row(buffer.getLine(y)));
  while (found.length > 0 && found.at(-1)[0] === "") found.pop();
  return found;
}

function state(terminal, titles, replies) {
  const { active, normal, alternate } = terminal.buffer;
  const core = terminal._core;
  const { scrollTop, scrollBottom, tabs } = core.buffer;
  return {
    active: active.type,
    normal: rows(normal),
    alternate: active.type === "alternate" ? rows(alternate) : [],
    cursor: [active.cursorX, active.cursorY],
    base: normal.baseY,
    margins: [scrollTop, scrollBottom],
    tabs: Object.keys(tabs).map(Number).filter(Boolean), // one at 0 does nothing
    modes: terminal.modes,
    isCursorHidden: core.coreService.isCursorHidden,
    cursorStyle: core.coreService.decPrivateModes.cursorStyle ?? "block",
    cursorBlink: core.coreService.decPrivateModes.cursorBlink ?? false,
    mouseEncoding: core.coreMouseService.activeEncoding,
    title: titles.at(-1) ?? "",
    replies: replies.splice(0).join(""),
  };
}

async function run({ cols, rows, cases }) {
  const answers = [];
  for (const pieces of cases) {
    const terminal = new headless.Terminal({
      ...{ cols, rows, scrollback: SCROLLBACK, allowProposedApi: true },
    });
    terminal.loadAddon(new unicode11.Unicode11Addon());
    terminal.unicode.activeVersion = "11"; // as the terminal view does
    const titles = [];
    const replies = [];
    terminal.onTitleChange((title) => titles.push(title));
    terminal.onData((data) => replies.push(data));
    const states = [];
    for (const piece of pieces) {
      await new Promise((done) => terminal.write(Buffer.from(piece, "base64"), done));
      states.push(state(terminal, titles, replies));
    }
    terminal.dispose();
    answers.push(states);
  }
  return answers;
}

for await (const line of createInterface({ input: process.stdin }))
  console.log(JSON.stringify(await run(JSON.parse(line))));
