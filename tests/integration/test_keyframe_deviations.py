"""
Where a joiner does not see what everybody else sees: all known cases, each shown.

A case that no longer differs fails here: delete it, and let
`tests/integration/sequences.py` make its sequences.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.integration.test_keyframes import fed, held, shown
from tests.integration.xterm import Xterm
from vibehq_nb.client import ghostty

COLS, ROWS = 20, 8
AWAY = b"\r\n" * 20  # what was on the screen is in the scrollback then


class Deviation(NamedTuple):
    """What was printed before a keyframe and after it, and why that differs."""

    before: bytes
    after: bytes
    why: str


IN_BOTH = {
    "repeat": Deviation(b"xy\rz", b"\x1b[3b", "which character was last is not told"),
}
"""What a keyframe does not hold, of all that a terminal knows."""

IN_GHOSTTY = {
    "left alternate screen": Deviation(
        b"\x1b[?47hleft\x1b[?47l", b"\x1b[?47h", "it is blank when it is entered again"
    ),
    "link": Deviation(
        b"\x1b]8;;https://a.example/\x07link\x1b]8;;\x07", b"", "the words remain"
    ),
    "palette": Deviation(b"\x1b]4;1;rgb:00/ff/00\x07", b"", "colours are the viewer's"),
}
"""The same, where xterm.js does not have it or does not tell."""

IN_XTERM = {
    "style above": Deviation(
        b"\x1b[7ma\x1b[0m\tb" + AWAY,
        b"",
        "styles run on to the next text; corrected on the screen, not above it",
    ),
    "combining": Deviation(
        b"e", b"\xcc\x81", "it joins no character before a sequence"
    ),
    "two mouse modes": Deviation(
        b"\x1b[?1003h\x1b[?1000h", b"", "modes come in the order of their numbers"
    ),
    "mouse mode not set": Deviation(
        b"\x1b[?1000h\x1b[?1002l", b"", "it ends all mouse modes when one ends"
    ),
    "scroll up": Deviation(b"a\x1b[S", b"", "it keeps no line that SU moves out"),
    "saved cursor": Deviation(
        b"\x1b[8d\x1b7\x1bD\x1b8", b"", "its saved row scrolls along"
    ),
    "margins": Deviation(
        b"\x1b[?1049h\x1b[2;6r\x1b[?1049l", b"", "each screen has its own margins"
    ),
    "tab stops": Deviation(
        b"\x1b[?1049h\x1b[3g\x1b[?1049l", b"", "each screen has its own tab stops"
    ),
    "origin mode": Deviation(
        b"\x1b[?1049h\x1b[?6h\x1b[?1049l", b"", "?1049l does not bring it back"
    ),
    "moves in origin mode": Deviation(
        b"\x1b[2;6r\x1b[?6h\x1b[A", b"", "relative moves count the top margin again"
    ),
    "background of the alternate screen": Deviation(
        b"\x1b[44m\x1b[?1049h\x1b[5Cx",
        b"",
        "it is entered with the background that is set",
    ),
    "alternate screen twice": Deviation(
        b"\x1b[?1049ha\x1b[?1049h", b"", "it is not cleared the second time"
    ),
    "soft reset": Deviation(
        b"\x1b(0\x1b[!p", b"a", "it resets the character sets, too"
    ),
    "modes at a soft reset": Deviation(
        b"\x1b[?1h\x1b[!p", b"", "it ends application cursor keys, too"
    ),
    "controls in UTF-8": Deviation(
        b"\xc2\x9b31mred", b"", "U+0080 to U+009F are controls there, not here"
    ),
}
"""Where xterm.js draws something else than libghostty-vt does."""


@pytest.fixture(scope="module")
def xterm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Xterm]:
    found = Xterm(tmp_path_factory.mktemp("xterm"))
    yield found
    found.close()


def in_ghostty(*outputs: bytes) -> dict[str, Any]:
    screen = fed(*outputs, cols=COLS, rows=ROWS)
    return {
        **held(screen),
        "html": ghostty.formatted(screen._terminal, "HTML", 0),
        "palette": ghostty._format(screen._terminal, "VT", extra=("palette",)),
    }


def keyframe(before: bytes) -> bytes:
    return fed(before, cols=COLS, rows=ROWS).keyframe()


@pytest.mark.parametrize("name", IN_BOTH | IN_GHOSTTY)
def test_in_libghostty_vt_a_joiner_sees_something_else(name: str) -> None:
    before, after, why = (IN_BOTH | IN_GHOSTTY)[name]

    assert in_ghostty(keyframe(before), after) != in_ghostty(before, after), why


@pytest.mark.parametrize("name", IN_BOTH | IN_XTERM)
def test_in_xterm_js_a_joiner_sees_something_else(name: str, xterm: Xterm) -> None:
    before, after, why = (IN_BOTH | IN_XTERM)[name]

    whole, joined = xterm.states(
        [[before, after], [keyframe(before), after]], COLS, ROWS
    )

    assert shown(joined[-1]) != shown(whole[-1]), why
