"""
How a keyframe is put together from what a terminal formatter writes.

Order matters to a real terminal: modes that change how painting comes out follow the
painting, margins and origin mode come after the cells they would shift, and the
cursor after both, because each of them moves it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple
from unicodedata import category, combining

CANCEL = b"\x18"
"""Ends an open sequence without effect."""
SWALLOW = {
    b"\x1b]": b"\x1b]9999;",
    b"\x1bP": b"\x1bPz",
    b"\x1b_": b"\x1b_z",
    b"\x1b[": b"\x1b[0<",
}
"""What hides all up to a sequence's end, by its first bytes, and asks for nothing."""
PLAIN_STATE = b'\x1b[0m\x1b[0"q\x1b[?6l\x1b(B\x1b)B\x1b*B\x1b+B\x0f'
"""Plain style, no protection, no origin mode, ASCII."""
SAVE_CURSOR = b"\x1b7"
RESTORE_CURSOR = b"\x1b8"
HOME = b"\x1b[H"

EMPTY = b""
TEXT = b"text"
STYLED = b"styled text"
"""What a cell holds; where it is none of these: its background, as SGR has it."""

_MODES = re.compile(rb"(?:\x1b\[\??\d+[hl])*")
_MODE = re.compile(rb"\x1b\[\??\d+[hl]")
_TABS = re.compile(rb"\x1b\[3g(?:\x1b\[\d+G\x1bH)*")
_CURSOR = re.compile(rb"\x1b\[(\d+);(\d+)H")
_MARGINS = re.compile(rb"\x1b\[(\d+);\d+r")
_LEFT = re.compile(rb"\x1b\[(\d+);\d+s")

_DROPPED = frozenset({b"?3", b"?6", b"?47", b"?1047", b"?1048", b"?1049", b"?2048"})
"""Modes that move, clear or answer when they are set: set by hand, or not at all."""
_LATE = frozenset({b"4", b"?7", b"?2026"})
"""Modes that change how the painting itself would come out: set after it."""
_JOINERS = frozenset({"Mn", "Me", "Cf"})


class Modes(NamedTuple):
    """What sets the modes of a terminal."""

    early: bytes
    """Before the cells, tab stops among them."""
    late: bytes
    """After everything."""


def split_modes(found: bytes, cols: int) -> Modes:
    """Sort the modes and tab stops that the formatter wrote for *cols* columns."""
    set_modes = _MODES.match(found)
    assert set_modes is not None  # it matches nothing, too
    early, late = [], []
    for mode in _MODE.findall(set_modes[0]):
        name = mode[2:-1]
        if name in _LATE:
            late.append(mode)
        elif name not in _DROPPED:
            early.append(mode)
    tabs = _TABS.match(found, set_modes.end())
    if tabs and tabs[0] != default_tabs(cols):
        early.append(tabs[0])
    return Modes(b"".join(early), b"".join(late))


def default_tabs(cols: int) -> bytes:
    """Return how the formatter writes the tab stops that a reset sets anyway."""
    stops = (b"\x1b[%dG\x1bH" % column for column in range(9, cols + 1, 8))
    return b"\x1b[3g" + b"".join(stops)


def split_rest(rest: bytes, is_origin: bool) -> tuple[bytes, bytes]:
    """
    Return the margins, and the cursor with its style.

    Args:
        rest: What the formatter writes after the cells.
        is_origin: Whether origin mode is on; the formatter's cursor ignores it.
    """
    rest = rest.replace(b"\0", b"")  # it ends a directory with one
    cursor = _CURSOR.search(rest)
    if cursor is None:
        return rest, b""
    margins, end = rest[: cursor.start()], rest[cursor.start() :]
    if is_origin:
        end = _from_origin(margins, cursor) + rest[cursor.end() :]
    return margins, end


def _from_origin(margins: bytes, cursor: re.Match[bytes]) -> bytes:
    """Return the cursor's place in origin mode, counted from the margins."""
    top, left = _MARGINS.search(margins), _LEFT.search(margins)
    row = int(cursor[1]) - (int(top[1]) - 1 if top else 0)
    column = int(cursor[2]) - (int(left[1]) - 1 if left else 0)
    return b"\x1b[?6h\x1b[%d;%dH" % (max(row, 1), max(column, 1))


def swallow(opening: bytes) -> bytes:
    """Return what opens a sequence that is hidden, in place of one too long to keep."""
    return SWALLOW.get(opening, opening)


def erasures(rows: Iterable[Sequence[bytes]]) -> bytes:
    """
    Return what corrects empty cells, which the formatter paints with what is before.

    It leaves out rows without text, whatever their background, and lets the style of
    text run on through empty cells up to the next text.

    Args:
        rows: What each cell of each row of the screen holds.
    """
    found = []
    for number, row in enumerate(rows, 1):
        for column, count, held in _erased(row):
            found.append(b"\x1b[%d;%dH" % (number, column))
            if held == EMPTY:
                found.append(b"\x1b[0m" + b" " * count)
            else:
                found.append(b"\x1b[0;%bm\x1b[%dX" % (held, count))
    return b"".join((*found, b"\x1b[0m")) if found else b""


def _erased(row: Sequence[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Yield column, length and content of the runs to be corrected."""
    has_text = TEXT in row or STYLED in row
    column, before = 1, TEXT
    for held, run in groupby(row):
        count = len(list(run))
        is_last = column + count > len(row)
        if held == EMPTY:
            if before != TEXT and has_text and not is_last:
                yield column, count, held
            # Empty cells after empty cells are painted as these are.
        else:
            if held not in {TEXT, STYLED} and not has_text:
                yield column, count, held
            before = held
        column += count


def plain_cells(text: str) -> bytes:
    """Return what paints *text* line by line, without what combines with others."""
    plain = "".join(c for c in text if not combining(c) and category(c) not in _JOINERS)
    return HOME + plain.replace("\n", "\r\n").encode()


def title(text: str) -> bytes:
    """Return what sets a title, if there is one."""
    return b"\x1b]2;%b\x1b\\" % text.encode() if text else b""


def last_opening(before: bytes, output: bytes) -> bytes:
    """Return the first two bytes of the last sequence, which was *before* so far."""
    at = output.rfind(b"\x1b")
    if at >= 0:
        return output[at : at + 2]
    return before + output[: 2 - len(before)] if before else b""


def open_character(output: bytes) -> int:
    """Return how many bytes at the end are the first ones of a UTF-8 character."""
    for back in range(1, min(len(output), 3) + 1):
        byte = output[-back]
        if byte < 0x80:
            return 0
        if byte >= 0xC0:
            return back if _length(byte) > back else 0
    return 0


def _length(first: int) -> int:
    if first >= 0xF5:
        return 1
    return 2 if first < 0xE0 else 3 if first < 0xF0 else 4
