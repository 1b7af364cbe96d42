"""
The screen of a terminal, kept without one by libghostty-vt.

Facts of the library this rests on (pyghostty 0.1.3) are next to where they matter.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from vibehq_nb.core.keyframes import (
    CANCEL,
    PLAIN_STATE,
    RESTORE_CURSOR,
    SAVE_CURSOR,
    SWALLOW,
    Parts,
    open_character,
    split,
)
from vibehq_nb.core.screen import (
    PRE,
    RESET,
    SCROLLBACK_LINES,
    Screen,
    TailScreen,
    palette_color,
)

try:
    from pyghostty import Terminal as GhosttyTerminal
    from pyghostty._ffi import check, ffi, lib
    from pyghostty.core import init_sized
except (ImportError, OSError):  # no library for this platform
    HAS_GHOSTTY = False
else:
    HAS_GHOSTTY = True

__all__ = ["GhosttyScreen", "Screen", "TailScreen", "make_screen"]

KEYFRAME_BYTES = 256 * 1024
OPEN_SEQUENCE_BYTES = 64 * 1024
KEPT_LINES = SCROLLBACK_LINES + 1000
"""It drops lines by the page, some hundreds at once."""
SCROLLBACK_BYTES = 32 * 1024 * 1024

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
        self._terminal: Any = GhosttyTerminal(cols, rows, scrollback=KEPT_LINES)
        self._handle = self._terminal._t[0]
        self.title = ""
        self._held = b""  # at most 3 bytes of a character that is cut
        # Left alone, it keeps 10,000 bytes of scrollback and no open sequence.
        self._set("SCROLLBACK_MAX_BYTES", ffi.new("size_t*", SCROLLBACK_BYTES))
        self._set("CONTINUATION_MAX_BYTES", ffi.new("size_t*", OPEN_SEQUENCE_BYTES))

    def _set(self, name: str, value: Any) -> None:
        option = getattr(lib, f"GHOSTTY_TERMINAL_OPT_{name}")
        check(lib.ghostty_terminal_set(self._handle, option, value), name)

    # Feeding

    def feed(self, output: bytes) -> None:
        """Take output, cut anywhere."""
        # A cut character is held back: a keyframe may have to switch screens for a
        # moment, which the parser must not see inside a character.
        output = self._held + output
        cut = len(output) - open_character(output)
        self._held = output[cut:]
        self._terminal.feed(output[:cut])
        self.title = self._read_title()

    def resize(self, cols: int, rows: int) -> None:
        """Change the size in character cells; lines are wrapped anew."""
        self._terminal.resize(cols, rows)

    def _read_title(self) -> str:
        found = self._terminal.get("TITLE", "GhosttyString")
        title: bytes = ffi.buffer(found.ptr, found.len)[:] if found.len else b""
        return title.decode(errors="replace")

    @property
    def cursor(self) -> tuple[int, int]:
        """Column and row of the cursor, from 0."""
        column, row = self._terminal.cursor
        return int(column), int(row)

    # Keyframes

    def keyframe(self, scrollback_lines: int = SCROLLBACK_LINES) -> bytes:
        """
        Return what brings a fresh terminal of the same size to this state.

        Over 256 KiB it is taken again with half the scrollback. Not in it are images,
        changed palettes, the cursor's shape, and an alternate screen that was left.
        """
        while True:
            # Wrapped rows are painted as one line, so that they wrap anew after a
            # resize, unless the program has torn such rows apart.
            frame = self._paint(scrollback_lines, unwrap=True)
            if not self._is_painted_by(frame, scrollback_lines):
                frame = self._paint(scrollback_lines, unwrap=False)
            if len(frame) <= KEYFRAME_BYTES or scrollback_lines == 0:
                return frame
            scrollback_lines //= 2

    def _is_painted_by(self, frame: bytes, scrollback_lines: int) -> bool:
        other = GhosttyScreen(*self._terminal.size)
        other.feed(frame)
        same = all(
            other.text(lines) == self.text(lines) for lines in (0, scrollback_lines)
        )
        other.close()
        return same

    def close(self) -> None:
        """Free the library's memory now."""
        self._terminal.close()

    def _paint(self, scrollback_lines: int, unwrap: bool) -> bytes:
        open_sequence = self._open_sequence()
        parts = self._format_screen(scrollback_lines, unwrap)
        primary = saved = b""
        if open_sequence is not None:
            self._terminal.feed(CANCEL if open_sequence else b"")
            saved = self._paint_saved_cursor(parts.cursor)
            primary = self._paint_primary(scrollback_lines, unwrap, parts.cursor)
            self._terminal.feed(open_sequence)
        return b"".join(
            (
                *(RESET, primary, self._switch(), parts.early_modes),
                *(parts.cells, parts.margins, saved, parts.cursor, parts.late_modes),
                *(SWALLOW if open_sequence is None else open_sequence, self._held),
            )
        )

    def _open_sequence(self) -> bytes | None:
        """Return the sequence the parser is in; None if it is too long to keep."""
        if self._terminal.get("VT_GROUND", "bool"):
            return b""
        buffer = ffi.new("uint8_t[]", OPEN_SEQUENCE_BYTES)
        count = ffi.new("size_t*")
        failed = lib.ghostty_terminal_continuation_buf(
            self._handle, buffer, OPEN_SEQUENCE_BYTES, count
        )
        return None if failed else bytes(ffi.buffer(buffer, count[0]))

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

    def _format_screen(self, scrollback_lines: int, unwrap: bool = False) -> Parts:
        whole = self._format("VT", scrollback_lines, unwrap)
        cells = self._format("VT", scrollback_lines, unwrap, cells_only=True)
        parts = split(cells, whole, is_origin=self._terminal.mode(6))
        blank = b"\r\n" * self._blank_rows(scrollback_lines)
        return parts._replace(cells=parts.cells + blank)

    def _blank_rows(self, scrollback_lines: int) -> int:
        """Return how many rows at the end the formatter leaves out, if it matters."""
        above = min(self._terminal.get("SCROLLBACK_ROWS", "size_t"), scrollback_lines)
        if not above:
            return 0
        painted = self._format("VT", scrollback_lines, cells_only=True).count(b"\r\n")
        return int(above + self._terminal.size[1] - 1 - painted)

    def _paint_saved_cursor(self, end: bytes) -> bytes:
        """Return what ESC 8 will bring back; *end* brings back what is there now."""
        self._terminal.feed(RESTORE_CURSOR)
        saved = self._format_screen(0).cursor
        self._terminal.feed(PLAIN_STATE + end)
        return saved + SAVE_CURSOR + PLAIN_STATE

    def _paint_primary(self, scrollback_lines: int, unwrap: bool, end: bytes) -> bytes:
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
        primary = self._format_screen(scrollback_lines, unwrap)
        self._terminal.feed(b"\x1b[?47h" + PLAIN_STATE + end)
        self._set_mode(47, had_47)
        return primary.cells + primary.cursor

    def _set_mode(self, number: int, value: bool) -> None:
        # Sets the flag alone: no switch, no clearing.
        mode = ffi.new("GhosttyTerminalModeConfig*")
        mode.mode, mode.value = number, value
        self._set("MODE", mode)

    # Reading

    def text(self, scrollback_lines: int = 0) -> str:
        """Return the screen as plain text, with at most that much scrollback."""
        return self._format("PLAIN", scrollback_lines).decode(errors="replace")

    def html(self) -> str:
        """Return the screen as one escaped ``<pre>`` with inline styles."""
        html = self._format("HTML", 0).decode(errors="replace")
        html = _LINK.sub("", html)  # links nest wrongly and may lead anywhere
        html = html.removesuffix("</div>")
        html = html[html.find(">") + 1 :]
        html = html.replace('<div style="display: inline;', '<span style="')
        html = html.replace("</div>", "</span>")
        html = _PALETTE.sub(lambda found: palette_color(int(found[1])), html)
        return f"{PRE}{html}</pre>"

    def _format(
        self,
        kind: str,
        scrollback_lines: int,
        unwrap: bool = False,
        cells_only: bool = False,
    ) -> bytes:
        options = init_sized("GhosttyFormatterTerminalOptions")
        options.emit = getattr(lib, f"GHOSTTY_FORMATTER_FORMAT_{kind}")
        options.unwrap = unwrap
        options.trim = kind != "VT"
        selection = self._select(scrollback_lines)
        options.selection = selection
        if kind == "VT":
            _want(options.extra, cells_only)
        with _formatter(self._handle, options) as formatter:
            pointer, count = ffi.new("uint8_t**"), ffi.new("size_t*")
            check(
                lib.ghostty_formatter_format_alloc(formatter, ffi.NULL, pointer, count),
                "format",
            )
            try:
                return bytes(ffi.buffer(pointer[0], count[0]))
            finally:
                lib.ghostty_free(ffi.NULL, pointer[0], count[0])

    def _select(self, scrollback_lines: int) -> Any:
        """Select the screen and the newest lines above it."""
        cols, rows = self._terminal.size
        above = self._terminal.get("SCROLLBACK_ROWS", "size_t")
        selection = init_sized("GhosttySelection")
        first = max(above - scrollback_lines, 0)
        selection.start = self._terminal.ref(0, first, "screen")[0]
        selection.end = self._terminal.ref(cols - 1, above + rows - 1, "screen")[0]
        return selection


def _want(extra: Any, cells_only: bool) -> None:
    extra.modes = extra.tabstops = True
    for name in ("scrolling_region", "pwd", "keyboard"):
        setattr(extra, name, not cells_only)
    for name in ("cursor", "style", "protection", "kitty_keyboard", "charsets"):
        setattr(extra.screen, name, not cells_only)
    extra.screen.hyperlink = not cells_only


@contextmanager
def _formatter(handle: Any, options: Any) -> Iterator[Any]:
    formatter = ffi.new("GhosttyFormatter*")
    check(
        lib.ghostty_formatter_terminal_new(ffi.NULL, formatter, handle, options[0]),
        "formatter",
    )
    try:
        yield formatter[0]
    finally:
        lib.ghostty_formatter_free(formatter[0])
