"""
Terminal bytes as people read them: plain text, and the marks that shells leave.

Pure. No screen is kept here: :func:`plain_text` follows one line-oriented cursor,
which is right for what commands print, and leaves out what full-screen programs draw.
"""

import re
from typing import NamedTuple

MAX_COLUMN = 4096
"""No cursor movement goes beyond this column, so that no output costs more memory."""

_TOKEN = re.compile(
    r"\x1b\[(?P<args>[0-?]*)[ -/]*(?P<final>[@-~])"  # CSI
    r"|\x1b[\]PX^_][^\x07\x1b\x18\x1a]*(?:\x07|\x1b\\|\x18|\x1a|(?=\x1b)|\Z)"  # strings
    r"|\x1b\[[ -?]*\Z|\x1b[ -/]*(?:[0-~]|\Z)"  # other escapes, an open end
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f-\x9f])"
    r"|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
)
_ALTERNATE = frozenset({"?1049", "?1047", "?47"})

_MARK = re.compile(rb"\x1b\]133;([^\x07\x1b\x18\x1a]{0,1024})(?:\x07|\x1b\\)")
_OPEN_MARK = re.compile(
    rb"\x1b(?:\](?:1(?:3(?:3(?:;[^\x07\x1b\x18\x1a]{0,1024}\x1b?)?)?)?)?)?\Z"
)
_LONGEST_OPEN = 1040


class Mark(NamedTuple):
    """
    One shell integration mark, ``ESC ] 133 ; kind ; fields ST``.

    ``A`` begins a prompt, ``B`` ends it, ``C`` begins a command's output and ``D``
    ends it, with the exit code as its first field.
    """

    kind: str
    fields: tuple[str, ...]

    @property
    def exit_code(self) -> int | None:
        """The exit code a ``D`` mark tells, if it tells one."""
        first = self.fields[0] if self.fields else ""
        return int(first) if re.fullmatch(r"-?[0-9]{1,9}", first) else None


class MarkScanner:
    """
    Splits a byte stream into output and marks, wherever its frames are cut.

    Holds back at most the beginning of one mark (about 1 KiB); what turns out to be
    none comes out as output.
    """

    def __init__(self) -> None:
        """Begin outside any mark."""
        self._held = b""

    def feed(self, data: bytes) -> list[bytes | Mark]:
        """Return what *data* completes: runs of output without marks, and marks."""
        text = self._held + data
        found: list[bytes | Mark] = []
        at = 0
        for match in _MARK.finditer(text):
            if match.start() > at:
                found.append(text[at : match.start()])
            found.append(_mark(match[1]))
            at = match.end()
        partial = _OPEN_MARK.search(text, max(at, len(text) - _LONGEST_OPEN))
        end = partial.start() if partial else len(text)
        if end > at:
            found.append(text[at:end])
        self._held = text[end:]
        return found


def _mark(body: bytes) -> Mark:
    kind, *fields = body.decode(errors="replace").split(";")
    return Mark(kind, tuple(fields))


def plain_text(data: bytes) -> str:
    """
    Return what *data* leaves on an endless screen, without colours and controls.

    Carriage returns and backspaces overwrite, as a progress bar means them to; what
    is drawn on the alternate screen is left out. Trailing blanks of a line go.
    """
    paper = _Paper()
    for token in _TOKEN.finditer(data.decode(errors="replace")):
        if token["text"] is not None:
            paper.write(token["text"])
        elif token["control"] is not None:
            paper.control(token["control"])
        elif token["final"] is not None:
            paper.move(token["args"], token["final"])
    return paper.text()


class _Paper:
    """Lines that only grow, and a cursor on them."""

    def __init__(self) -> None:
        self._lines: list[list[str]] = [[]]
        self._row = 0
        self._column = 0
        self._alternate = False

    def text(self) -> str:
        return "\n".join("".join(line).rstrip() for line in self._lines)

    def write(self, text: str) -> None:
        if self._alternate:
            return
        line = self._lines[self._row]
        line.extend(" " * (self._column - len(line)))
        line[self._column : self._column + len(text)] = text
        self._column += len(text)

    def control(self, char: str) -> None:
        if self._alternate:
            return
        if char == "\r":
            self._column = 0
        elif char == "\b":
            self._column = max(self._column - 1, 0)
        elif char == "\t":
            self._to_column((self._column // 8 + 1) * 8)
        elif char in "\n\v\f":
            self._down(1)

    def move(self, args: str, final: str) -> None:
        if args.startswith("?"):
            self._switch(args, final)
        elif self._alternate:
            return
        elif final in "JK":
            self._erase(final, _first_number(args, 0))
        else:
            self._go(final, _first_number(args, 1))

    def _switch(self, args: str, final: str) -> None:
        if final in "hl" and args in _ALTERNATE:
            self._alternate = final == "h"

    def _go(self, final: str, count: int) -> None:
        match final:
            case "A":
                self._row = max(self._row - count, 0)
            case "B":
                self._row = min(self._row + count, len(self._lines) - 1)
            case "C":
                self._to_column(self._column + count)
            case "D":
                self._to_column(self._column - count)
            case "G":
                self._to_column(count - 1)

    def _erase(self, final: str, how: int) -> None:
        if final == "K":
            self._erase_line(how)
        elif how == 0:  # below; erasing a whole screen keeps what was printed
            self._erase_line(0)
            del self._lines[self._row + 1 :]

    def _to_column(self, column: int) -> None:
        # A long line may already reach beyond the bound; it is never cut.
        self._column = max(0, min(column, max(MAX_COLUMN, self._column)))

    def _down(self, count: int) -> None:
        self._row += count
        self._lines.extend([] for _ in range(self._row - len(self._lines) + 1))
        # The kernel's line discipline sends CR LF; a bare LF keeps the column.

    def _erase_line(self, how: int) -> None:
        line = self._lines[self._row]
        if how == 0:
            del line[self._column :]
        elif how == 1:
            line[: self._column + 1] = " " * min(self._column + 1, len(line))
        else:
            line.clear()


def _first_number(args: str, default: int) -> int:
    first = args.partition(";")[0]
    if not first.isdigit() or len(first) > 6:
        return default
    return int(first) or default
