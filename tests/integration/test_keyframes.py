"""
A keyframe and the bytes after it are as good as all bytes, for two terminals.

What a joiner sees is compared with what somebody sees who was there all along, after
each cut and at the end: in libghostty-vt, which makes the keyframes, and in xterm.js,
which shows them.
"""

import random
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.recordings import COLS, PROGRAMS, ROWS, cuts, recorded
from tests.integration.sequences import streams
from tests.integration.xterm import State, Xterm
from tests.rounds import rounds, seeded
from vibehq_nb.client import ghostty
from vibehq_nb.client.screen import GhosttyScreen
from vibehq_nb.core.keyframes import CANCEL

CUTS = max(12, rounds(50))
LEAVE_ALTERNATE = CANCEL + b"\x1b[?1049l\x1b[?1047l\x1b[?47l"
SMALL = (20, 8)
ASCII = re.compile(rb"\x1b[()*+]B")
"""A character set that was set to what it is without."""


@pytest.fixture(scope="module")
def xterm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Xterm]:
    found = Xterm(tmp_path_factory.mktemp("xterm"))
    yield found
    found.close()


def fed(*outputs: bytes, cols: int = COLS, rows: int = ROWS) -> GhosttyScreen:
    screen = GhosttyScreen(cols, rows)
    for output in outputs:
        screen.feed(output)
    return screen


def held(screen: GhosttyScreen) -> dict[str, Any]:
    """Return all that libghostty-vt tells of a screen, and what is behind it."""
    terminal = screen._terminal
    with ghostty.rendered(terminal) as state:
        shape = ghostty.cursor_shape(state)
    found = {
        "text": (screen.text(), screen.text(2000)),
        "cursor": screen.cursor,
        "shape": shape,
        "title": screen.title,
        "modes": screen._modes(),
        "rest": [ASCII.sub(b"", part) for part in screen._rest()],
        "is_alternate": terminal.get("ACTIVE_SCREEN", "GhosttyTerminalScreen"),
        "is_wrapping": terminal.get("CURSOR_PENDING_WRAP", "bool"),
    }
    if not found["is_alternate"]:
        return found
    cols, rows = terminal.size
    behind = fed(screen.keyframe(), LEAVE_ALTERNATE, cols=cols, rows=rows)
    return {**found, "behind": (behind.text(2000), behind.cursor)}


def shown(state: State) -> State:
    """Return what somebody sees and what keys do: answers and scrolling apart."""
    return {key: state[key] for key in state if key not in {"replies", "base"}}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_keyframe_and_tail_equal_the_whole(
    name: str, xterm: Xterm, tmp_path: Path
) -> None:
    stream = await recorded(name, tmp_path)
    places = cuts(stream, seeded(name), CUTS)

    in_ghostty(stream, places)
    in_xterm(stream, places, xterm)


def in_ghostty(stream: bytes, places: list[int]) -> None:
    whole = held(fed(stream))
    for cut in places:
        before = fed(stream[:cut])
        joined = fed(before.keyframe())
        assert held(joined) == held(before), cut
        joined.feed(stream[cut:])
        assert held(joined) == whole, cut


def in_xterm(stream: bytes, places: list[int], xterm: Xterm) -> None:
    ends = [0, *places, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(ends)]
    [whole] = xterm.states([pieces], COLS, ROWS)
    cases = [[fed(stream[:cut]).keyframe(), stream[cut:]] for cut in places]

    joins = xterm.states(cases, COLS, ROWS)

    for cut, before, (joined, after) in zip(places, whole, joins, strict=False):
        assert joined["replies"] == "", cut
        assert shown(joined) == shown(before), cut
        assert shown(after) == shown(whole[-1]), cut


@pytest.mark.timeout(900)  # the full rounds take minutes
@settings(
    max_examples=rounds(1000),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(streams(), st.floats(0, 1))
def test_keyframe_and_tail_equal_the_whole_for_random_sequences(
    xterm: Xterm, stream: bytes, place: float
) -> None:
    cols, rows = SMALL
    cut = int(len(stream) * place)
    before = fed(stream[:cut], cols=cols, rows=rows)
    frame = before.keyframe()

    joined = fed(frame, cols=cols, rows=rows)
    assert held(joined) == held(before)
    joined.feed(stream[cut:])
    assert held(joined) == held(fed(stream, cols=cols, rows=rows))

    pieces = [stream[:cut], stream[cut:]], [frame, stream[cut:]]
    whole, join = xterm.states(pieces, cols, rows)
    assert join[0]["replies"] == ""
    assert shown(join[0]) == shown(whole[0])
    assert shown(join[1]) == shown(whole[1])


async def test_leaving_vim_after_joining_shows_what_was_there_before(
    xterm: Xterm, tmp_path: Path
) -> None:
    before = b"one\r\n\x1b[32mtwo\x1b[0m\r\n$ vim"
    vim = await recorded("vim", tmp_path)
    cut = vim.index(b"\x1b[?1049l")

    for at in cuts(vim[:cut], random.Random(0), 6):
        [[_, joined]] = xterm.states(
            [[fed(before, vim[:at]).keyframe(), b"\x18\x1b[?1049l"]], COLS, ROWS
        )
        assert [row[0] for row in joined["normal"]] == ["one", "two", "$ vim"]
        assert joined["cursor"] == [5, 2]
