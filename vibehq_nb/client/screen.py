"""
The screen of a terminal, kept without one by libghostty-vt.

Facts of the library this rests on (pyghostty 0.1.3) are next to where they matter.
"""

import re
from typing import Any, Literal

from vibehq_nb.client import ghostty
from vibehq_nb.client.ghostty import HAS_GHOSTTY
from vibehq_nb.core.keyframes import (
    CANCEL,
    HOME,
    PLAIN_STATE,
    RESTORE_CURSOR,
    SAVE_CURSOR,
    Modes,
    erasures,
    last_opening,
    open_character,
    plain_cells,
    split_modes,
    split_rest,
    swallow,
    title,
)
from vibehq_nb.core.screen import (
    KEYFRAME_BYTES,
    MAX_KEYFRAME_BYTES,
    PRE,
    RESET,
    SCROLLBACK_LINES,
    Screen,
    TailScreen,
    clean_title,
    palette_color,
)

__all__ = ["GhosttyScreen", "Screen", "TailScreen", "make_screen"]

OPEN_SEQUENCE_BYTES = 32 * 1024

_LINK = re.compile(r"</?a\b[^>]*>")
_PALETTE = re.compile(r"var\(--vt-palette-(\d{1,3})\)")


def make_screen(cols: int, rows: int) -> Screen:
    """Return the best screen this platform has."""
    return GhosttyScreen(cols, rows) if HAS_GHOSTTY else TailScreen(cols, rows)


class GhosttyScreen:
    """A screen kept by libghostty-vt. It never answers what a program asks."""

    kind: Literal["vt", "tail"] = "vt"

    def __init__(self, cols: int, rows: int) -> None:
        """Begin with an empty screen."""
        self._terminal: Any = ghostty.new_terminal(
            cols,
            rows,
            # Left alone, it keeps no open sequence. It keeps no images here.
            CONTINUATION_MAX_BYTES=OPEN_SEQUENCE_BYTES,
            KITTY_IMAGE_STORAGE_LIMIT=0,
            APC_MAX_BYTES=0,
        )
        self.title = ""
        self._held = b""  # at most 3 bytes of a character that is cut
        self._opening = b""  # of the last sequence: two bytes
        self._limit_scrollback()

    def _limit_scrollback(self) -> None:
        # A limit of lines makes it feed six times slower than one of bytes. It drops
        # lines by the page, some 400 KiB at once.
        cols, rows = self._terminal.size
        limit = (SCROLLBACK_LINES + rows) * (9 * cols + 32) + 1024 * 1024
        ghostty.set_option(self._terminal, "SCROLLBACK_MAX_BYTES", "size_t", limit)

    # Feeding

    def feed(self, output: bytes) -> None:
        """Take output, cut anywhere."""
        # A cut character is held back: a keyframe may have to switch screens for a
        # moment, which the parser must not see inside a character.
        output = self._held + output
        cut = len(output) - open_character(output)
        self._held = output[cut:]
        self._opening = last_opening(self._opening, output)
        self._terminal.feed(output[:cut])
        self.title = clean_title(ghostty.string(self._terminal, "TITLE"))

    def resize(self, cols: int, rows: int) -> None:
        """Change the size in character cells; lines are wrapped anew."""
        self._terminal.resize(cols, rows)
        self._limit_scrollback()

    @property
    def cursor(self) -> tuple[int, int]:
        """Column and row of the cursor, from 0."""
        column, row = self._terminal.cursor
        return int(column), int(row)

    # Keyframes

    def keyframe(self, scrollback_lines: int = SCROLLBACK_LINES) -> bytes:
        """
        Return what brings a fresh terminal of the same size to this state.

        Over 256 KiB it is taken again with half the scrollback, until there is none; a
        screen that alone is over 2 MiB is painted without its styles. Not in it are
        images, links, changed palettes, and an alternate screen that was left.
        """
        lines = self._fitting(scrollback_lines)
        if not lines and len(self._cells(0)) > MAX_KEYFRAME_BYTES:
            return self._paint(0, is_styled=False)
        while len(frame := self._paint(lines)) > KEYFRAME_BYTES and lines:
            lines //= 2
        if len(frame) > MAX_KEYFRAME_BYTES:  # for the primary screen behind this one
            frame = self._paint(0, is_styled=False)
        return frame

    def close(self) -> None:
        """Free the library's memory now."""
        self._terminal.close()

    def _fitting(self, lines: int) -> int:
        """Halve *lines* while the cells alone are too big, beginning with few."""
        above = self._terminal.get("SCROLLBACK_ROWS", "size_t")
        for halvings in (11, 8, 6, 4, 2):
            if lines >> halvings > above:
                break
            if len(self._cells(lines >> halvings)) > KEYFRAME_BYTES:
                return lines >> halvings + 1
        return lines

    def _paint(self, lines: int, is_styled: bool = True) -> bytes:
        open_sequence = ghostty.open_sequence(self._terminal, OPEN_SEQUENCE_BYTES)
        cells = self._paint_cells(lines, is_styled)
        margins, cursor = self._rest()
        primary = saved = b""
        if open_sequence is not None:
            self._terminal.feed(CANCEL if open_sequence else b"")
            saved = self._paint_saved_cursor(cursor)
            primary = self._paint_primary(lines, is_styled, cursor)
            self._terminal.feed(open_sequence)
        else:
            open_sequence = swallow(self._opening)
        modes = self._modes()
        return b"".join(
            (
                *(RESET, modes.early, primary, self._switch()),
                *(cells, margins, saved, cursor, modes.late),
                *(self._paint_shape(), title(self.title)),
                *(open_sequence, self._held),
            )
        )

    @property
    def _is_alternate(self) -> bool:
        return bool(self._terminal.get("ACTIVE_SCREEN", "GhosttyTerminalScreen"))

    def _switch(self) -> bytes:
        """Return how the alternate screen was entered; nothing on the primary."""
        if not self._is_alternate:
            return b""
        for number in (1049, 1047):
            if self._terminal.mode(number):
                return b"\x1b[?%dh" % number + PLAIN_STATE
        return b"\x1b[?47h" + PLAIN_STATE

    def _paint_cells(self, lines: int, is_styled: bool) -> bytes:
        if not is_styled:
            return plain_cells(self.text())
        by_row = self._cells(lines)
        cells = by_row + b"\r\n" * self._blank_rows(lines, by_row)
        # Wrapped rows are painted as one line, so that they wrap anew after a resize,
        # unless the program has torn such rows apart.
        unwrapped = self._cells(lines, unwrap=True) + cells[len(by_row) :]
        if unwrapped != cells and self._is_painted_by(unwrapped, lines):
            cells = unwrapped
        with ghostty.rendered(self._terminal) as state:
            return cells + erasures(ghostty.cell_rows(state))

    def _cells(self, lines: int, unwrap: bool = False) -> bytes:
        return HOME + ghostty.formatted(self._terminal, "VT", lines, unwrap)

    def _blank_rows(self, lines: int, by_row: bytes) -> int:
        """Return how many rows at the end the formatter leaves out, if it matters."""
        above = min(self._terminal.get("SCROLLBACK_ROWS", "size_t"), lines)
        if not above:
            return 0
        return int(above + self._terminal.size[1] - 1 - by_row.count(b"\r\n"))

    def _is_painted_by(self, cells: bytes, lines: int) -> bool:
        other = GhosttyScreen(*self._terminal.size)
        other.feed(self._modes().early + cells)
        same = all(other.text(some) == self.text(some) for some in (0, lines))
        other.close()
        return same

    def _modes(self) -> Modes:
        return split_modes(ghostty.modes(self._terminal), self._terminal.size[0])

    def _rest(self) -> tuple[bytes, bytes]:
        """Return the margins, and the cursor with its style."""
        rest = ghostty.rest(self._terminal)
        return split_rest(rest, is_origin=self._terminal.mode(6))

    def _paint_shape(self) -> bytes:
        with ghostty.rendered(self._terminal) as state:
            shape = ghostty.cursor_shape(state)
        return b"\x1b[%d q" % shape if shape else b""

    def _paint_saved_cursor(self, end: bytes) -> bytes:
        """Return what ESC 8 will bring back; *end* brings back what is there now."""
        self._terminal.feed(RESTORE_CURSOR)
        _margins, saved = self._rest()
        self._terminal.feed(PLAIN_STATE + end)
        return saved + SAVE_CURSOR + PLAIN_STATE

    def _paint_primary(self, lines: int, is_styled: bool, end: bytes) -> bytes:
        """
        Return the primary screen while the alternate one is active.

        The formatter knows the active screen only. Mode 47 switches without clearing
        and copies the cursor both ways; *end* then puts the cursor back.
        """
        if not self._is_alternate:
            return b""
        had_47 = self._terminal.mode(47)
        self._terminal.feed(b"\x1b[?47l")
        if self._terminal.mode(1049):
            self._terminal.feed(RESTORE_CURSOR)  # where ?1049l will put the cursor
        cells = self._paint_cells(lines, is_styled)
        _margins, cursor = self._rest()
        self._terminal.feed(b"\x1b[?47h" + PLAIN_STATE + end)
        ghostty.set_mode(self._terminal, 47, had_47)
        return cells + cursor

    # Reading

    def text(self, scrollback_lines: int = 0) -> str:
        """Return the screen as plain text, with at most that much scrollback."""
        found = ghostty.formatted(self._terminal, "PLAIN", scrollback_lines)
        return found.decode(errors="replace")

    def html(self) -> str:
        """Return the screen as one escaped ``<pre>`` with inline styles."""
        html = ghostty.formatted(self._terminal, "HTML", 0).decode(errors="replace")
        html = _LINK.sub("", html)  # links nest wrongly and may lead anywhere
        html = html.removesuffix("</div>")
        html = html[html.find(">") + 1 :]
        html = html.replace('<div style="display: inline;', '<span style="')
        html = html.replace("</div>", "</span>")
        html = _PALETTE.sub(lambda found: palette_color(int(found[1])), html)
        return f"{PRE}{html}</pre>"
