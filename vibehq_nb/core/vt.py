"""
Terminal bytes as people read them: plain text, and the marks that shells leave.

Pure. No screen is kept here: :func:`plain_text` follows one line-oriented cursor,
which is right for what commands print, and leaves out what full-screen programs draw.
"""

import re
from functools import lru_cache
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

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f]")

MAX_OSC_BYTES = 16 * 1024
"""The longest string that is taken for one: 4 KiB, percent-encoded, and some more."""


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

    def option(self, name: str) -> str | None:
        """Return the value of the field ``name=value``, if there is one."""
        head = f"{name}="
        for field in self.fields:
            if field.startswith(head):
                return field[len(head) :]
        return None

    @property
    def shell(self) -> str | None:
        """Which shell it is of, if it tells."""
        return self.option("aid")


class Osc(NamedTuple):
    """One whole OSC string: its number, its body, and its length in the stream."""

    number: int
    body: bytes
    size: int


class OscScanner:
    """
    Splits a byte stream into output and the OSC strings of some numbers.

    Wherever its chunks are cut. Holds back at most the beginning of one string (about
    16 KiB); what turns out to be none comes out as output.
    """

    def __init__(self, *numbers: int) -> None:
        """Look for strings of *numbers*."""
        self._held = b""
        self._heads = [b"\x1b]%d;" % number for number in numbers]
        self._whole, self._open = _osc_patterns(numbers)

    def feed(self, data: bytes) -> list[bytes | Osc]:
        """Return what *data* completes: runs of output, and strings."""
        if not self._held and not self._may_begin(data):
            return [data] if data else []
        text = self._held + data
        found: list[bytes | Osc] = []
        at = 0
        for match in self._whole.finditer(text):
            if match.start() > at:
                found.append(text[at : match.start()])
            size = match.end() - match.start()
            found.append(Osc(int(match[1]), match[2], size))
            at = match.end()
        partial = self._open.search(text, max(at, len(text) - MAX_OSC_BYTES - 16))
        end = partial.start() if partial else len(text)
        if end > at:
            found.append(text[at:end])
        self._held = text[end:]
        return found

    def _may_begin(self, data: bytes) -> bool:
        # A single byte is looked for ten times as fast as several.
        if b"\x1b" not in data:
            return False
        if any(head in data for head in self._heads):
            return True
        tail = data[max(data.rfind(b"\x1b"), len(data) - 8) :]
        return any(head.startswith(tail) for head in self._heads)


@lru_cache
def _osc_patterns(
    numbers: tuple[int, ...],
) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    words = [str(number) for number in numbers]
    begun = {word[:length] for word in words for length in range(1, len(word) + 1)}
    number = "|".join(words)
    body = rf"[^\x07\x1b\x18\x1a]{{0,{MAX_OSC_BYTES}}}"
    whole = rf"\x1b\]({number});({body})(?:\x07|\x1b\\)"
    part = rf"(?:{number});{body}\x1b?|{'|'.join(sorted(begun))}"
    opened = rf"\x1b(?:\](?:{part})?)?\Z"
    return re.compile(whole.encode()), re.compile(opened.encode())


class MarkScanner:
    """Splits a byte stream into output and marks, as :class:`OscScanner` does."""

    def __init__(self) -> None:
        """Begin outside any mark."""
        self._scanner = OscScanner(133)

    def feed(self, data: bytes) -> list[bytes | Mark]:
        """Return what *data* completes: runs of output without marks, and marks."""
        return [
            item if isinstance(item, bytes) else decode_mark(item.body)
            for item in self._scanner.feed(data)
        ]


def decode_mark(body: bytes) -> Mark:
    """Return the mark that an OSC 133 with this *body* is."""
    kind, *fields = body.decode(errors="replace").split(";")
    return Mark(kind, tuple(fields))


def plain_text(data: bytes) -> str:
    """
    Return what *data* leaves on an endless screen, without colours and controls.

    Carriage returns and backspaces overwrite, as a progress bar means them to; what
    is drawn on the alternate screen is left out. Trailing blanks of a line go.
    """
    text = data.decode(errors="replace")
    # What is nothing but lines and colours takes a hundredth of the time this way.
    lines = _COLOUR.sub("", text).split("\r\n")
    if not any(map(_NOT_TEXT.search, lines)):
        return "\n".join(line.rstrip() for line in lines)
    paper = _Paper()
    for token in _TOKEN.finditer(text):
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
