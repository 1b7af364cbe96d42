/**
 * Sequences that stop xterm.js 6.0 for good, and with it the page.
 *
 * It counts to whatever number a program prints (`CSI 2147483647 S` takes it an hour),
 * and it throws where `CSI 1 J` comes at the last cell before anything has scrolled;
 * after that it paints nothing more. Here the number is cut to what makes a difference.
 */

import type { IFunctionIdentifier, Terminal } from "@xterm/xterm";

type Guarded = Pick<Terminal, "parser" | "buffer" | "cols" | "rows">;
type Params = (number | number[])[];

interface Limit {
  id: IFunctionIdentifier;
  /** What xterm.js calls what it does. */
  does: string;
  most(terminal: Guarded): number;
}

const rows = (terminal: Guarded) => terminal.rows;
const cols = (terminal: Guarded) => terminal.cols;
const cells = (terminal: Guarded) => terminal.cols * terminal.rows;

const LIMITS: Limit[] = [
  { id: { final: "L" }, does: "insertLines", most: rows },
  { id: { final: "M" }, does: "deleteLines", most: rows },
  { id: { final: "S" }, does: "scrollUp", most: rows },
  { id: { final: "T" }, does: "scrollDown", most: rows },
  { id: { final: "I" }, does: "cursorForwardTab", most: cols },
  { id: { final: "Z" }, does: "cursorBackwardTab", most: cols },
  { id: { final: "b" }, does: "repeatPrecedingCharacter", most: cells },
];

/** Keep what programs print from stopping *terminal*. */
export function guard(terminal: Guarded): void {
  for (const { id, does, most } of LIMITS)
    terminal.parser.registerCsiHandler(id, ([count]: Params) => {
      if (typeof count !== "number" || count <= most(terminal)) return false;
      perform(terminal, does, most(terminal));
      return true;
    });
  terminal.parser.registerCsiHandler({ final: "J" }, ([what]: Params) => {
    if (what !== 1 || !isAtEnd(terminal)) return false;
    perform(terminal, "eraseInDisplay", 2); // all of it, as it is
    return true;
  });
}

function isAtEnd({ buffer, cols, rows }: Guarded): boolean {
  const { cursorX, cursorY } = buffer.active;
  return cursorX >= cols - 1 && cursorY >= rows - 1;
}

/** Do what xterm.js would; a version that calls it otherwise leaves it undone. */
function perform(terminal: Guarded, does: string, count: number): void {
  const { _core: core } = terminal as {
    _core?: { _inputHandler?: Record<string, unknown> };
  };
  const handler = core?._inputHandler;
  const method = handler?.[does];
  if (typeof method === "function")
    method.call(handler, { params: [count], length: 1 });
}
