"""
What is asked of libghostty-vt beneath pyghostty's own calls: formats, cells, cursor.

Everything here reads. Facts of the library this rests on (pyghostty 0.1.3) are next to
where they matter.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from vibehq_nb.core.keyframes import EMPTY, STYLED, TEXT

try:
    from pyghostty import Terminal as GhosttyTerminal
    from pyghostty._ffi import check, ffi, lib
    from pyghostty.core import init_sized
except (ImportError, OSError):  # no library for this platform
    HAS_GHOSTTY = False
else:
    HAS_GHOSTTY = True

SHAPES = {(2, True): 3, (2, False): 4, (0, True): 5, (0, False): 6, (1, True): 1}
"""The number DECSCUSR has for a shape, bar 0, block 1 or underline 2, that blinks."""


def new_terminal(cols: int, rows: int, **options: int) -> Any:
    """Return a terminal with *options* set, by their names in the library."""
    terminal = GhosttyTerminal(cols, rows)
    for name, value in options.items():
        set_option(terminal, name, "size_t", value)
    return terminal


def set_option(terminal: Any, name: str, kind: str, value: Any) -> None:
    """Set an option of *terminal* to *value* of the C type *kind*."""
    option = getattr(lib, f"GHOSTTY_TERMINAL_OPT_{name}")
    check(
        lib.ghostty_terminal_set(terminal._t[0], option, ffi.new(f"{kind}*", value)),
        name,
    )


def set_mode(terminal: Any, number: int, value: bool) -> None:
    """Set the flag of a DEC mode alone: no switch, no clearing."""
    set_option(terminal, "MODE", "GhosttyTerminalModeConfig", (number, value))


def string(terminal: Any, name: str) -> bytes:
    """Return what *terminal* keeps as a string."""
    found = terminal.get(name, "GhosttyString")
    return bytes(ffi.buffer(found.ptr, found.len)) if found.len else b""


def open_sequence(terminal: Any, limit: int) -> bytes | None:
    """Return the sequence the parser is in; None if it is longer than *limit*."""
    if terminal.get("VT_GROUND", "bool"):
        return b""
    buffer, count = ffi.new("uint8_t[]", limit), ffi.new("size_t*")
    failed = lib.ghostty_terminal_continuation_buf(terminal._t[0], buffer, limit, count)
    return None if failed else bytes(ffi.buffer(buffer, count[0]))


# Formats


def formatted(
    terminal: Any, kind: str, scrollback_lines: int, unwrap: bool = False
) -> bytes:
    """Return the screen and the newest lines above it as PLAIN, HTML or VT."""
    above = terminal.get("SCROLLBACK_ROWS", "size_t")
    first = max(above - scrollback_lines, 0)
    return _format(terminal, kind, (0, first), unwrap=unwrap)


def modes(terminal: Any) -> bytes:
    """Return what sets the modes and the tab stops; behind them may be a cell."""
    return _format(terminal, "VT", extra=("modes", "tabstops"))


def rest(terminal: Any) -> bytes:
    """Return what sets the margins, and the cursor with its style."""
    cell = _format(terminal, "VT")
    whole = _format(terminal, "VT", extra=_REST, screen=_SCREEN_REST)
    return whole[len(cell) :]


_REST = ("scrolling_region", "pwd", "keyboard")
_SCREEN_REST = (
    *("cursor", "style", "hyperlink", "protection", "kitty_keyboard", "charsets"),
)


def _format(
    terminal: Any,
    kind: str,
    start: tuple[int, int] | None = None,
    unwrap: bool = False,
    extra: Sequence[str] = (),
    screen: Sequence[str] = (),
) -> bytes:
    """Format the cells from *start* on; without one, the last cell alone."""
    cols, rows = terminal.size
    end = (cols - 1, terminal.get("SCROLLBACK_ROWS", "size_t") + rows - 1)
    selection = init_sized("GhosttySelection")
    selection.start = terminal.ref(*(start or end), "screen")[0]
    selection.end = terminal.ref(*end, "screen")[0]
    options = init_sized("GhosttyFormatterTerminalOptions")
    options.emit = getattr(lib, f"GHOSTTY_FORMATTER_FORMAT_{kind}")
    options.unwrap = unwrap
    options.trim = kind != "VT"
    options.selection = selection
    for name in extra:
        setattr(options.extra, name, True)
    for name in screen:
        setattr(options.extra.screen, name, True)
    with _formatter(terminal, options) as formatter:
        return _output(formatter)


@contextmanager
def _formatter(terminal: Any, options: Any) -> Iterator[Any]:
    formatter = ffi.new("GhosttyFormatter*")
    check(
        lib.ghostty_formatter_terminal_new(
            ffi.NULL, formatter, terminal._t[0], options[0]
        ),
        "formatter",
    )
    try:
        yield formatter[0]
    finally:
        lib.ghostty_formatter_free(formatter[0])


def _output(formatter: Any) -> bytes:
    pointer, count = ffi.new("uint8_t**"), ffi.new("size_t*")
    failed = lib.ghostty_formatter_format_alloc(formatter, ffi.NULL, pointer, count)
    check(failed, "format")
    try:
        return bytes(ffi.buffer(pointer[0], count[0]))
    finally:
        lib.ghostty_free(ffi.NULL, pointer[0], count[0])


# Cells and cursor of the screen


@contextmanager
def rendered(terminal: Any) -> Iterator[Any]:
    """Yield the library's copy of the screen as it is now, for the functions below."""
    state = ffi.new("GhosttyRenderState*")
    check(lib.ghostty_render_state_new(ffi.NULL, state), "render state")
    try:
        check(lib.ghostty_render_state_update(state[0], terminal._t[0]), "update")
        yield state[0]
    finally:
        lib.ghostty_render_state_free(state[0])


def cursor_shape(state: Any) -> int:
    """Return the cursor's shape as DECSCUSR counts them; 0 is the default."""
    cursor = init_sized("GhosttyRenderStateCursor")
    key = lib.GHOSTTY_RENDER_STATE_DATA_CURSOR
    check(lib.ghostty_render_state_get(state, key, cursor), "cursor")
    return SHAPES.get((int(cursor.visual_style), bool(cursor.blinking)), 0)


def cell_rows(state: Any) -> Iterator[list[bytes]]:
    """Yield what each cell of each row holds, as :mod:`core.keyframes` names it."""
    rows = ffi.new("GhosttyRenderStateRowIterator*")
    check(lib.ghostty_render_state_row_iterator_new(ffi.NULL, rows), "rows")
    try:
        key = lib.GHOSTTY_RENDER_STATE_DATA_ROW_ITERATOR
        check(lib.ghostty_render_state_get(state, key, rows), "rows")
        view = ffi.new("GhosttyCellsView*")
        key = lib.GHOSTTY_RENDER_STATE_ROW_DATA_CELLS_RAW
        while lib.ghostty_render_state_row_iterator_next(rows[0]):
            check(lib.ghostty_render_state_row_get(rows[0], key, view), "cells")
            yield [_held(cell) for cell in ffi.unpack(view.ptr, view.len)]
    finally:
        lib.ghostty_render_state_row_iterator_free(rows[0])


# A cell is a packed struct: 2 bits of tag, 24 of content, 16 of style, 2 of width.
_IS_COLOR = 0b10
_CONTENT_OR_WIDTH = 0b11 << 42 | (1 << 26) - 1
_STYLE = 0xFFFF << 26


def _held(cell: int) -> bytes:
    if cell & _IS_COLOR:
        return _background(cell)
    if cell & _STYLE:
        return STYLED
    return TEXT if cell & _CONTENT_OR_WIDTH else EMPTY


@lru_cache(maxsize=1024)
def _background(cell: int) -> bytes:
    if cell & 1:
        rgb = ffi.new("GhosttyColorRgb*")
        check(lib.ghostty_cell_get(cell, lib.GHOSTTY_CELL_DATA_COLOR_RGB, rgb), "color")
        return b"48;2;%d;%d;%d" % (rgb.r, rgb.g, rgb.b)
    index = ffi.new("uint8_t*")
    check(
        lib.ghostty_cell_get(cell, lib.GHOSTTY_CELL_DATA_COLOR_PALETTE, index), "color"
    )
    return b"48;5;%d" % index[0]
