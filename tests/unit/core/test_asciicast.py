"""asciicast v2 and v3, written and read back."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.asciicast import (
    CastDecoder,
    CastEncoder,
    CastEvent,
    CastHeader,
    Version,
    decode_cast,
    decode_size,
)
from vibehq_nb.core.errors import DecodeError

VERSIONS: list[Version] = [2, 3]


def read(lines: list[bytes]) -> tuple[CastHeader, list[CastEvent]]:
    header, *events = decode_cast(b"".join(lines).splitlines(keepends=True))
    assert isinstance(header, CastHeader)
    return header, [event for event in events if isinstance(event, CastEvent)]


def test_a_version_2_file_has_times_since_the_beginning() -> None:
    encoder = CastEncoder(CastHeader(2, 80, 24, 1504467315, "Demo"))

    lines = [
        encoder.header(),
        encoder.output(0.25, b"\x1b[1mHello\r\n"),
        encoder.resize(1.5, 90, 30),
        encoder.mark(2.0, "ls"),
        encoder.exit(3.0, 7),
    ]

    assert [json.loads(line) for line in lines if line] == [
        {
            "version": 2,
            "width": 80,
            "height": 24,
            "timestamp": 1504467315,
            "title": "Demo",
            "env": {"TERM": "xterm-256color"},
        },
        [0.25, "o", "\x1b[1mHello\r\n"],
        [1.5, "r", "90x30"],
        [2.0, "m", "ls"],
    ]


def test_a_version_3_file_has_times_since_the_event_before_and_the_exit() -> None:
    encoder = CastEncoder(CastHeader(3, 80, 24, 1504467315, "Demo"))

    lines = [
        encoder.header(),
        encoder.output(0.25, b"\x1b[1mHello\r\n"),
        encoder.resize(1.5, 90, 30),
        encoder.exit(3.0, 7),
    ]

    assert [json.loads(line) for line in lines] == [
        {
            "version": 3,
            "term": {"cols": 80, "rows": 24, "type": "xterm-256color"},
            "timestamp": 1504467315,
            "title": "Demo",
        },
        [0.25, "o", "\x1b[1mHello\r\n"],
        [1.25, "r", "90x30"],
        [1.5, "x", "7"],
    ]


@pytest.mark.parametrize("version", VERSIONS)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"])),
    cuts=st.lists(st.integers(0, 200)),
)
def test_output_cut_anywhere_is_the_same_text(
    version: Version, text: str, cuts: list[int]
) -> None:
    data = text.encode()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    encoder = CastEncoder(CastHeader(version, 80, 24))

    lines = [encoder.header()]
    for number, (start, end) in enumerate(itertools.pairwise(places)):
        lines.append(encoder.output(number / 10, data[start:end]))
    lines.append(encoder.cut(1.0))

    assert "".join(event.text for event in read(lines)[1]) == text


def test_a_character_cut_over_two_chunks_comes_whole_in_the_second() -> None:
    encoder = CastEncoder(CastHeader(3, 80, 24))
    smile = "😀".encode()

    first, second = (
        encoder.output(0.0, b"a" + smile[:2]),
        encoder.output(1.0, smile[2:]),
    )

    assert json.loads(first)[2] == "a"
    assert json.loads(second)[2] == "😀"


def test_bytes_that_are_no_utf_8_are_replaced() -> None:
    encoder = CastEncoder(CastHeader(2, 80, 24))

    lines = [encoder.header(), encoder.output(0.0, b"a\xff\xc3"), encoder.cut(0.0)]

    assert "".join(event.text for event in read(lines)[1]) == "a\ufffd\ufffd"


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_the_intervals_of_version_3_add_up_to_the_times_of_version_2(
    times: list[float],
) -> None:
    found = []
    for version in VERSIONS:
        encoder = CastEncoder(CastHeader(version, 80, 24))
        lines = [encoder.output(time, b"x") for time in sorted(times)]
        events = read([encoder.header(), *lines])[1]
        found.append([event.time for event in events])

    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_a_time_that_goes_backwards_counts_as_the_last_one() -> None:
    encoder = CastEncoder(CastHeader(2, 80, 24))
    lines = [encoder.header(), encoder.output(2.0, b"x"), encoder.output(1.0, b"y")]

    assert [event.time for event in read(lines)[1]] == [2.0, 2.0]


def test_comments_and_blanks_are_no_events() -> None:
    header = b'{"version": 3, "term": {"cols": 80, "rows": 24}}\n'
    lines = [header, b"# a note\n", b"\n", b'[1, "o", "x"]\n']

    assert read(lines) == (CastHeader(3, 80, 24), [CastEvent(1.0, "o", "x")])


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([], "it is empty"),
        ([b"hello\n"], "line 1 is no header"),
        ([b"\xff\xfe\n"], "line 1 is no header"),
        (
            [b'{"version": 1, "width": 80, "height": 24}\n'],
            "version 2 nor of version 3",
        ),
        ([b'{"version": 2}\n'], "no size"),
        ([b'{"version": 3, "term": 7}\n'], "no size"),
        ([b'{"version": 2, "width": 1, "height": 1}\n', b"[]\n"], "line 2 is no event"),
        ([b'{"version": 2, "width": 1, "height": 1}\n', b'[1,"o"\n'], "line 2"),
    ],
)
def test_what_is_no_asciicast_is_refused_by_line(lines: list[bytes], text: str) -> None:
    with pytest.raises(DecodeError, match=text):
        list(decode_cast(lines))


def test_the_error_does_not_repeat_what_it_read() -> None:
    decoder = CastDecoder()

    with pytest.raises(DecodeError) as caught:
        decoder.decode(b"password\n")

    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("80x24", (80, 24)), ("80", None), ("x", None), ("8x2x1", None), ("-1x2", None)],
)
def test_a_resize_names_columns_and_rows(
    text: str, size: tuple[int, int] | None
) -> None:
    assert decode_size(text) == size
