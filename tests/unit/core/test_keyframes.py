"""A keyframe's parts, in the order a real terminal needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.keyframes import open_character, split


def test_modes_that_move_or_clear_are_dropped_and_painting_modes_come_late() -> None:
    cells = b"\x1b[4h\x1b[?6h\x1b[?7l\x1b[?25l\x1b[?1049h\x1b[Htext"

    parts = split(cells, cells + b"\x1b[1;5H\x1b[0m", is_origin=False)

    assert parts.early_modes == b"\x1b[?25l"
    assert parts.late_modes == b"\x1b[4h\x1b[?7l"
    assert parts.cells == b"\x1b[Htext"
    assert parts.margins == b""
    assert parts.cursor == b"\x1b[1;5H\x1b[0m"


def test_the_cursor_in_origin_mode_counts_from_the_margins() -> None:
    cells = b"text"
    rest = b"\x1b[5;20r\x1b[3;60s\x1b[7;10H\x1b[31m"

    parts = split(cells, cells + rest, is_origin=True)

    assert parts.margins == b"\x1b[5;20r\x1b[3;60s"
    assert parts.cursor == b"\x1b[?6h\x1b[3;8H\x1b[31m"


def test_a_screen_without_a_cursor_is_all_cells() -> None:
    parts = split(b"text", b"text", is_origin=True)

    assert parts == ([], b"text", b"", b"")


@pytest.mark.parametrize(
    ("output", "count"),
    [
        *[(b"", 0), (b"a", 0), (b"\xe4", 1), (b"a\xe4\xb8", 2), ("漢".encode(), 0)],
        *[(b"\xf0\x9f\x98", 3), ("😀".encode(), 0), (b"\x80" * 4, 0), (b"\xff", 0)],
    ],
)
def test_open_character_counts_the_first_bytes(output: bytes, count: int) -> None:
    assert open_character(output) == count


@given(st.text(max_size=20), st.integers(0, 80))
def test_what_is_not_open_decodes(text: str, cut: int) -> None:
    output = text.encode()[:cut]

    whole = output[: len(output) - open_character(output)]

    assert text.startswith(whole.decode())
