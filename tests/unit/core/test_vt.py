"""Plain text and marks out of terminal bytes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.vt import (
    MAX_OSC_BYTES,
    Mark,
    MarkScanner,
    Osc,
    OscScanner,
    decode_mark,
    plain_text,
)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"one\r\ntwo\r\n", "one\ntwo\n"),
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"10%\r50%\r100%", "100%"),
        (b"100%\r\x1b[K5%", "5%"),
        (b"ab\b\bxy", "xy"),
        (b"a\tb", "a       b"),
        (b"\x1b]0;a title\x07text", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bPq#0~\x1b\\after", "after"),
        (b"one\r\ntwo\x1b[A\rONE", "ONE\ntwo"),
        (b"a\x1b[3Cb", "a   b"),
        (b"abc\x1b[2Dx", "axc"),
        (b"abc\x1b[1Gx", "xbc"),
        (b"abc\x1b[2K", ""),
        (b"abc\x1b[D\x1b[1Kz", "  z"),
        (b"one\r\ntwo\x1b[A\x1b[J", "one"),
        (b"\x1b(B\x1b=plain\x1b>", "plain"),
        (b"before\x1b[?1049hdrawn\r\n\x1b[5;5H\x1b[?1049l after", "before after"),
        ("日本 \U0001f600".encode(), "日本 \U0001f600"),
        (b"open end \x1b[3", "open end"),
        (b"open string \x1b]0;never closed", "open string"),
        (b"trailing   \r\nblanks", "trailing\nblanks"),
        (b"x\x1b[?25l\x1b[2J\x1b[H\x1b[1By", "xy"),
    ],
)
def test_plain_text_is_what_a_screen_would_show(data: bytes, text: str) -> None:
    assert plain_text(data) == text


def test_a_huge_cursor_movement_costs_no_memory() -> None:
    text = plain_text(b"a\x1b[999999Cb\x1b[99999999999Cc")

    assert len(text) < 5000


def test_invalid_utf8_is_replaced() -> None:
    assert plain_text(b"a\xffb") == "a\ufffdb"


@given(st.binary(max_size=400))
def test_plain_text_never_fails_and_holds_no_escape(data: bytes) -> None:
    assert "\x1b" not in plain_text(data)


@given(
    st.lists(
        st.sampled_from(
            [b"text", b"\x1b]133;", b"C", b"D;7", b"\x07", b"\x1b\\", b"\x1b", b"]13"]
        ),
        max_size=20,
    ),
    st.lists(st.integers(0, 80), max_size=6),
)
def test_any_split_of_the_stream_gives_the_same_marks(
    parts: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(parts) + b"."
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})

    whole = _joined(MarkScanner().feed(data))
    scanner = MarkScanner()
    pieces = [
        item
        for start, end in itertools.pairwise(edges)
        for item in scanner.feed(data[start:end])
    ]

    assert _joined(pieces) == whole


def _joined(items: list[bytes | Mark]) -> list[bytes | Mark]:
    joined: list[bytes | Mark] = []
    for item in items:
        if isinstance(item, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += item
        else:
            joined.append(item)
    return joined


def test_marks_are_taken_out_of_the_output() -> None:
    items = MarkScanner().feed(b"a\x1b]133;C\x07out\x1b]133;D;3\x1b\\b")

    assert items == [b"a", Mark("C", ()), b"out", Mark("D", ("3",)), b"b"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [(("0",), 0), (("130", "x"), 130), ((), None), (("",), None), (("x",), None)],
)
def test_exit_code_of_a_mark(fields: tuple[str, ...], code: int | None) -> None:
    assert Mark("D", fields).exit_code == code


def test_an_endless_mark_comes_out_as_output() -> None:
    scanner = MarkScanner()

    items = scanner.feed(b"\x1b]133;" + b"x" * 2 * MAX_OSC_BYTES) + scanner.feed(b"y")

    assert items == [b"\x1b]133;" + b"x" * 2 * MAX_OSC_BYTES, b"y"]


def test_a_mark_tells_its_shell_and_its_options() -> None:
    mark = decode_mark(b"C;cmdline_url=a%20b=c;aid=7")

    assert (mark.shell, mark.option("cmdline_url"), mark.option("x")) == (
        "7",
        "a%20b=c",
        None,
    )


def test_only_strings_of_the_wanted_numbers_are_taken_out() -> None:
    data = b"a\x1b]7;file:///x\x07b\x1b]133;A\x07\x1b]8;;u\x07c\x1b]1"

    assert OscScanner(7).feed(data) == [
        b"a",
        Osc(7, b"file:///x", 14),
        b"b\x1b]133;A\x07\x1b]8;;u\x07c\x1b]1",
    ]


@given(
    st.lists(
        st.sampled_from(["a", "ä ", "\r\n", "\x1b[31m", "\x1b[0m", "\n", "\r", "\0"]),
        max_size=30,
    )
)
def test_lines_and_colours_are_read_alike_the_short_and_the_long_way(
    parts: list[str],
) -> None:
    text = "".join(parts)

    # A movement that moves nothing leads past the short way.
    assert plain_text(text.encode()) == plain_text(f"\x1b[1G{text}".encode())
