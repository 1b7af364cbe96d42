"""
How a keyframe is put together from what a terminal formatter writes.

Order matters to a real terminal: modes that change how painting comes out follow the
painting, margins and origin mode come after the cells they would shift, and the
cursor after both, because each of them moves it.
"""

import re
from typing import NamedTuple

CANCEL = b"\x18"
"""Ends an open sequence without effect."""
SWALLOW = b"\x1b]9999;"
"""Opens a sequence that hides all up to its end, in place of one too long to keep."""
PLAIN_STATE = b'\x1b[0m\x1b[0"q\x1b[?6l\x1b(B\x1b)B\x1b*B\x1b+B\x0f'
"""Plain style, no protection, no origin mode, ASCII."""
SAVE_CURSOR = b"\x1b7"
RESTORE_CURSOR = b"\x1b8"

_MODES = re.compile(rb"(?:\x1b\[\??\d+[hl])*")
_MODE = re.compile(rb"\x1b\[\??\d+[hl]")
_CURSOR = re.compile(rb"\x1b\[(\d+);(\d+)H")
_MARGINS = re.compile(rb"\x1b\[(\d+);\d+r")
_LEFT = re.compile(rb"\x1b\[(\d+);\d+s")

_DROPPED = frozenset({b"?3", b"?6", b"?47", b"?1047", b"?1048", b"?1049", b"?2048"})
"""Modes that move, clear or answer when they are set: set by hand, or not at all."""
_LATE = frozenset({b"4", b"?7", b"?2026"})
"""Modes that change how the painting itself would come out: set after it."""


class Parts(NamedTuple):
    """A formatted screen: modes, cells, margins, and the cursor with its style."""

    modes: list[bytes]
    cells: bytes
    margins: bytes
    cursor: bytes

    @property
    def early_modes(self) -> bytes:
        """The modes to set before the cells."""
        late = _LATE | _DROPPED
        return b"".join(mode for mode in self.modes if mode[2:-1] not in late)

    @property
    def late_modes(self) -> bytes:
        """The modes to set after everything."""
        return b"".join(mode for mode in self.modes if mode[2:-1] in _LATE)


def split(cells: bytes, whole: bytes, is_origin: bool) -> Parts:
    """
    Take apart what the formatter wrote.

    Args:
        cells: Modes and cells alone.
        whole: The same, followed by margins, cursor and style.
        is_origin: Whether origin mode is on; the formatter's cursor ignores it.
    """
    found = _MODES.match(cells)
    cells_at = found.end() if found else 0
    rest = whole[len(cells) :]
    modes = _MODE.findall(cells[:cells_at])
    cursor = _CURSOR.search(rest)
    if cursor is None:
        return Parts(modes, cells[cells_at:], rest, b"")
    margins, end = rest[: cursor.start()], rest[cursor.start() :]
    if is_origin:
        end = _from_origin(margins, cursor) + rest[cursor.end() :]
    return Parts(modes, cells[cells_at:], margins, end)


def _from_origin(margins: bytes, cursor: re.Match[bytes]) -> bytes:
    """Return the cursor's place in origin mode, counted from the margins."""
    top, left = _MARGINS.search(margins), _LEFT.search(margins)
    row = int(cursor[1]) - (int(top[1]) - 1 if top else 0)
    column = int(cursor[2]) - (int(left[1]) - 1 if left else 0)
    return b"\x1b[?6h\x1b[%d;%dH" % (max(row, 1), max(column, 1))


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
