"""
The screen of a terminal, kept without one by libghostty-vt.

Facts of the library this rests on (pyghostty 0.1.3) are next to where they matter.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from vibehq_nb.core.screen import (
    PRE,
    RESET,
    SCROLLBACK_LINES,
    Screen,
    TailScreen,
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

SWALLOW = b"\x1b]9999;"
"""Opens a sequence that hides all up to its end, in place of one too long to keep."""
CANCEL = b"\x18"
PLAIN_STYLE = b'\x1b[0m\x1b[0"q\x1b[?6l'
PLAIN_STATE = PLAIN_STYLE + b"\x1b(B\x1b)B\x1b*B\x1b+B\x0f"

_MODES = re.compile(rb"(?:\x1b\[\??\d+[hl])*")
_MODE = re.compile(rb"\x1b\[\??\d+[hl]")
_CURSOR = re.compile(rb"\x1b\[(\d+);(\d+)H")
_MARGINS = re.compile(rb"\x1b\[(\d+);\d+r")
_LEFT = re.compile(rb"\x1b\[(\d+);\d+s")

_DROPPED = frozenset({b"?3", b"?6", b"?47", b"?1047", b"?1048", b"?1049", b"?2048"})
"""Modes that move, clear or answer when they are set: set by hand, or not at all."""
_LATE = frozenset({b"4", b"?7", b"?2026"})
"""Modes that change how the painting itself would come out: set after it."""

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
        self._terminal: Any = GhosttyTerminal(cols, rows, scrollback=SCROLLBACK_LINES)
        self._handle = self._terminal._t[0]
        self._held = b""  # at most 3 bytes of a character that is cut
        limit = ffi.new("size_t*", OPEN_SEQUENCE_BYTES)
        option = lib.GHOSTTY_TERMINAL_OPT_CONTINUATION_MAX_BYTES
        check(lib.ghostty_terminal_set(self._handle, option, limit), "open sequences")

    # Feeding

    def feed(self, output: bytes) -> None:
        """Take output, cut anywhere."""
        # A cut character is held back: a keyframe may have to switch screens for a
        # moment, which the parser must not see inside a character.
        output = self._held + output
        cut = len(output) - _open_character(output)
        self._held = output[cut:]
        self._terminal.feed(output[:cut])

    def resize(self, cols: int, rows: int) -> None:
        """Change the size in character cells; lines are wrapped anew."""
        self._terminal.resize(cols, rows)

    @property
    def title(self) -> str:
        """The title as the program set it last."""
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

        Over 256 KiB it is taken again with half the scrollback. Beyond it are: images,
        changed palettes, and an alternate screen that is left but not cleared.
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
        same = other.text(scrollback_lines) == self.text(scrollback_lines)
        other.close()
        return same

    def close(self) -> None:
        """Free the library's memory now."""
        self._terminal.close()

    def _paint(self, scrollback_lines: int, unwrap: bool) -> bytes:
        open_sequence = self._open_sequence()
        modes, cells, end = self._format_screen(scrollback_lines, unwrap)
        primary = saved = b""
        if open_sequence is not None:
            self._terminal.feed(CANCEL if open_sequence else b"")
            saved = self._paint_saved_cursor(end)
            primary = self._paint_primary(scrollback_lines, unwrap, end)
            self._terminal.feed(open_sequence)
        early = b"".join(mode for mode in modes if mode[2:-1] not in _LATE | _DROPPED)
        late = b"".join(mode for mode in modes if mode[2:-1] in _LATE)
        rest = SWALLOW if open_sequence is None else open_sequence
        screen = self._switch(), early, cells, saved, end, self._cursor_shape(), late
        return b"".join((RESET, primary, *screen, rest, self._held))

    def _cursor_shape(self) -> bytes:
        style = self._terminal.get("CURSOR_STYLE", "GhosttyTerminalCursorStyle")
        steady = {
            lib.GHOSTTY_TERMINAL_CURSOR_STYLE_BAR: 6,
            lib.GHOSTTY_TERMINAL_CURSOR_STYLE_UNDERLINE: 4,
        }.get(style)
        if steady is None:
            return b""
        return b"\x1b[%d q" % (steady - self._terminal.mode(12))

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

    def _format_screen(
        self, scrollback_lines: int, unwrap: bool = False
    ) -> tuple[list[bytes], bytes, bytes]:
        """Return the active screen's modes, its cells, and its cursor with style."""
        frame = self._format("VT", scrollback_lines, unwrap)
        found = _MODES.match(frame)
        cells_at = found.end() if found else 0
        cursor = None
        for cursor in _CURSOR.finditer(frame, cells_at):
            pass  # the last one is the cursor: cells are painted without any
        end_at = cursor.start() if cursor else len(frame)
        cells, end = frame[cells_at:end_at], frame[end_at:]
        if self._terminal.mode(6) and cursor is not None:
            end = _from_origin(cells, cursor) + end[cursor.end() - end_at :]
        return _MODE.findall(frame[:cells_at]), cells, end

    def _paint_saved_cursor(self, end: bytes) -> bytes:
        """Return what ESC 8 will bring back; *end* brings back what is there now."""
        self._terminal.feed(b"\x1b8")
        _modes, _cells, saved = self._format_screen(0)
        self._terminal.feed(PLAIN_STATE + end)
        return saved + b"\x1b7" + PLAIN_STATE

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
            self._terminal.feed(b"\x1b8")  # where ?1049l will put the cursor
        _modes, cells, cursor = self._format_screen(scrollback_lines, unwrap)
        self._terminal.feed(b"\x1b[?47h" + PLAIN_STATE + end)
        self._set_mode(47, had_47)
        return _MARGINS.sub(b"", cells) + cursor

    def _set_mode(self, number: int, value: bool) -> None:
        # Sets the flag alone: no switch, no clearing.
        mode = ffi.new("GhosttyTerminalModeConfig*")
        mode.mode, mode.value = number, value
        option = lib.GHOSTTY_TERMINAL_OPT_MODE
        check(lib.ghostty_terminal_set(self._handle, option, mode), "mode")

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
        return f"{PRE}{_PALETTE.sub(self._color, html)}</pre>"

    def _color(self, found: re.Match[str]) -> str:
        palette = self._terminal.get("COLOR_PALETTE", "GhosttyColorRgb[256]")
        color = palette[min(int(found[1]), 255)]
        return f"#{color.r:02x}{color.g:02x}{color.b:02x}"

    def _format(self, kind: str, scrollback_lines: int, unwrap: bool = False) -> bytes:
        options = init_sized("GhosttyFormatterTerminalOptions")
        options.emit = getattr(lib, f"GHOSTTY_FORMATTER_FORMAT_{kind}")
        options.unwrap = unwrap
        options.trim = kind != "VT"
        selection = self._select(scrollback_lines)
        options.selection = selection
        if kind == "VT":
            _want_all(options.extra)
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


def _open_character(output: bytes) -> int:
    """Return how many bytes at the end are a UTF-8 character's first ones."""
    for back in range(1, min(len(output), 3) + 1):
        byte = output[-back]
        if byte < 0x80:
            return 0
        if byte >= 0xC0:
            wanted = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4 if byte < 0xF5 else 1
            return back if wanted > back else 0
    return 0


def _from_origin(cells: bytes, cursor: re.Match[bytes]) -> bytes:
    """Return the cursor's place in origin mode, counted from the margins."""
    top, left = _MARGINS.search(cells), _LEFT.search(cells)
    row = int(cursor[1]) - (int(top[1]) - 1 if top else 0)
    column = int(cursor[2]) - (int(left[1]) - 1 if left else 0)
    return b"\x1b[?6h\x1b[%d;%dH" % (max(row, 1), max(column, 1))


def _want_all(extra: Any) -> None:
    for name in ("modes", "scrolling_region", "tabstops", "pwd", "keyboard"):
        setattr(extra, name, True)
    for name in ("cursor", "style", "protection", "kitty_keyboard", "charsets"):
        setattr(extra.screen, name, True)
    extra.screen.hyperlink = True


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
