"""A keyframe's parts, in the order a real terminal needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.keyframes import (
    EMPTY,
    STYLED,
    TEXT,
    erasures,
    last_opening,
    open_character,
    plain_cells,
    split_modes,
    split_rest,
    swallow,
    title,
)


def test_modes_that_move_or_clear_are_dropped_and_painting_modes_come_late() -> None:
    modes = split_modes(b"\x1b[4h\x1b[?6h\x1b[?7l\x1b[?25l\x1b[?1049h\x1b[Hx", 80)

    assert modes == (b"\x1b[?25l", b"\x1b[4h\x1b[?7l")


def test_tab_stops_are_set_only_where_they_differ_from_those_of_a_reset() -> None:
    usual, own = b"\x1b[3g\x1b[9G\x1bH\x1b[17G\x1bH\x1b[H", b"\x1b[3g\x1b[5G\x1bH\x1b[H"

    assert split_modes(usual, 20).early == b""
    assert split_modes(own, 20).early == b"\x1b[3g\x1b[5G\x1bH"


def test_the_cursor_in_origin_mode_counts_from_the_margins() -> None:
    rest = b"\x1b[5;20r\x1b[3;60s\x1b[7;10H\x1b[31m"

    assert split_rest(rest, is_origin=True) == (
        b"\x1b[5;20r\x1b[3;60s",
        b"\x1b[?6h\x1b[3;8H\x1b[31m",
    )
    assert split_rest(rest, is_origin=False)[1] == b"\x1b[7;10H\x1b[31m"


def test_without_a_cursor_all_is_margins_and_there_is_no_nul() -> None:
    rest = b"\x1b]7;file:///\0\x1b\\"

    assert split_rest(rest, is_origin=True) == (b"\x1b]7;file:///\x1b\\", b"")


BLUE = b"48;5;4"


@pytest.mark.parametrize(
    ("row", "painted"),
    [
        ([EMPTY, EMPTY], b""),
        ([TEXT, EMPTY, TEXT, EMPTY], b""),
        ([STYLED, EMPTY, EMPTY, TEXT], b"\x1b[1;2H\x1b[0m  \x1b[0m"),
        ([STYLED, EMPTY, EMPTY], b""),
        ([TEXT, BLUE, EMPTY, TEXT], b"\x1b[1;3H\x1b[0m \x1b[0m"),
        ([BLUE, BLUE], b"\x1b[1;1H\x1b[0;48;5;4m\x1b[2X\x1b[0m"),
        ([EMPTY, BLUE, EMPTY], b"\x1b[1;2H\x1b[0;48;5;4m\x1b[1X\x1b[0m"),
    ],
)
def test_empty_cells_are_corrected_where_the_formatter_paints_them_wrong(
    row: list[bytes], painted: bytes
) -> None:
    assert erasures([row]) == painted


def test_the_last_opening_is_found_over_any_cut() -> None:
    output = b"a\x1b]0;x\x07b\x1bPq"
    for cut in range(len(output)):
        assert last_opening(last_opening(b"", output[:cut]), output[cut:]) == b"\x1bP"


def test_each_kind_of_sequence_is_swallowed_by_its_own_kind() -> None:
    assert swallow(b"\x1b]") == b"\x1b]9999;"
    assert swallow(b"\x1bP") == b"\x1bPz"
    assert swallow(b"\x1b^") == b"\x1b^"


def test_plain_cells_hold_nothing_that_combines() -> None:
    text = "e\u0301\u0301\u200d\n\u6f22"

    assert plain_cells(text) == b"\x1b[He\r\n\xe6\xbc\xa2"


def test_a_title_is_set_only_where_there_is_one() -> None:
    assert title("") == b""
    assert title("t\u00e9") == b"\x1b]2;t\xc3\xa9\x1b\\"


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
