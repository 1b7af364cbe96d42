"""What a terminal's marks tell of its commands."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.commands import (
    MAX_COMMAND_BYTES,
    RECORDED,
    Began,
    CommandTracker,
    Ended,
)


def mark(body: str, shell: str = "7") -> bytes:
    return f"\x1b]133;{body};aid={shell}\x07".encode()


PROMPT = mark("A") + b"$ " + mark("B")


def ran(line: str, output: bytes, code: int = 0) -> bytes:
    begin = mark(f"C;cmdline_url={line}")
    return b"echoed\r\n" + begin + output + mark(f"D;{code}") + PROMPT


def test_a_command_has_its_line_its_folder_its_output_and_its_end() -> None:
    stream = b"\x1b]7;file://host/a%20b\x07" + PROMPT + ran("ls%20-l", b"out\r\n", 3)
    tracker = CommandTracker()

    tracker.enter("ana")
    began, ended = tracker.feed(stream, 10.0)

    assert began == Began(1, "ls -l", "/a b", stream.index(b"out"), 10.0, "ana")
    assert isinstance(ended, Ended)
    assert stream[began.offset : ended.output_end] == b"out\r\n"
    assert (ended.number, ended.exit_code) == (1, 3)
    assert stream[: ended.offset].endswith(mark("D;3"))


def test_time_is_counted_from_the_mark_before_to_the_mark_after() -> None:
    tracker = CommandTracker()
    tracker.feed(PROMPT + mark("C;cmdline_url=sleep"), 100.0)

    (ended,) = tracker.feed(mark("D;0"), 102.5)

    assert isinstance(ended, Ended)
    assert ended.duration_s == 2.5


def test_a_command_is_whose_enter_came_first_at_its_prompt() -> None:
    tracker = CommandTracker()
    tracker.feed(PROMPT, 0.0)
    tracker.enter("ana")
    tracker.enter("bob")  # types ahead, before the shell has answered

    first, _ = tracker.feed(ran("a", b""), 0.0)
    second, _ = tracker.feed(ran("b", b""), 0.0)
    tracker.enter("eve")
    third, _ = tracker.feed(ran("c", b""), 0.0)

    found = [event.session for event in (first, second, third) if type(event) is Began]
    assert found == ["ana", "bob", "eve"]


@given(st.lists(st.integers(0, 400), max_size=8))
def test_any_split_of_the_stream_gives_the_same_events(cuts: list[int]) -> None:
    stream = (
        b"\x1b]7;file://h/x\x07"
        + PROMPT
        + ran("one", b"1\x1b[0m\r\n")
        + ran("two", b"2")
    )
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    tracker = CommandTracker(500)

    found = [
        event
        for start, end in itertools.pairwise(edges)
        for event in tracker.feed(stream[start:end], 1.0)
    ]

    assert found == CommandTracker(500).feed(stream, 1.0)
    assert len(found) == 4


def test_an_end_without_a_beginning_is_nothing() -> None:
    assert CommandTracker().feed(mark("D;1") + PROMPT + mark("D;0"), 0.0) == []


def test_what_a_command_prints_neither_ends_it_nor_begins_another() -> None:
    tracker = CommandTracker()
    tracker.feed(PROMPT + mark("C;cmdline_url=cat"), 0.0)
    forged = b"\x1b]133;D;0\x07\x1b]133;C;cmdline_url=rm\x07" + mark("D;0", "8")

    assert tracker.feed(forged, 1.0) == []
    (ended,) = tracker.feed(mark("D;5"), 2.0)
    assert isinstance(ended, Ended)
    assert (ended.exit_code, ended.number) == (5, 1)


def test_a_shell_that_names_itself_nowhere_is_followed_too() -> None:
    stream = b"\x1b]133;A\x07$ \x1b]133;C;cmdline_url=ls\x1b\\x\x1b]133;D;0\x1b\\"

    began, ended = CommandTracker().feed(stream, 0.0)

    assert isinstance(began, Began)
    assert isinstance(ended, Ended)
    assert (began.command, ended.exit_code) == ("ls", 0)


def test_a_shell_that_does_not_tell_the_line_has_what_was_echoed() -> None:
    echo = b"ech\x08\x1b[Kho \x1b[7mtwo\x1b[27m\r\n> words\r\n\x1b[?2004l\r"

    prompt = b"\x1b]133;A\x07$ \x1b]133;B\x07"

    (began,) = CommandTracker().feed(prompt + echo + b"\x1b]133;C\x07", 0.0)

    assert isinstance(began, Began)
    assert began.command == "echo two\n> words"


def test_a_line_that_the_shell_keeps_back_is_not_taken_from_its_echo() -> None:
    tracker = CommandTracker()
    lines = ("C;cmdline_url=ls%20-l", "C", "C", "C")
    echoes = (b"ls -l", b"export TOKEN=secret", b"ls -l", b" ls -l")
    stream = PROMPT + b"".join(
        echo + b"\r\n" + mark(line) + mark("D;0") + PROMPT
        for echo, line in zip(echoes, lines, strict=True)
    )

    told = [one.command for one in tracker.feed(stream, 0.0) if type(one) is Began]

    assert told == ["ls -l", "", "ls -l", ""]


def test_the_next_command_ends_one_that_was_told_no_end() -> None:
    tracker = CommandTracker()
    tracker.feed(PROMPT + mark("C;cmdline_url=a"), 0.0)

    ended, began = tracker.feed(b"out" + mark("C;cmdline_url=b"), 1.0)

    assert isinstance(ended, Ended)
    assert isinstance(began, Began)
    assert (ended.exit_code, began.number) == (None, 2)
    assert ended.output_end < ended.offset < began.offset


@pytest.mark.parametrize("code", ["", "x", "1e3", "0 rm", "9" * 30])
def test_an_exit_code_that_is_none_is_not_told(code: str) -> None:
    tracker = CommandTracker()
    tracker.feed(PROMPT + mark("C"), 0.0)

    (ended,) = tracker.feed(mark(f"D;{code}"), 0.0)

    assert isinstance(ended, Ended)
    assert ended.exit_code is None


@pytest.mark.parametrize("line", ["%C3%A9" * 4000, "a" * 12_000])
def test_a_long_line_is_cut_with_an_ellipsis(line: str) -> None:
    (began,) = CommandTracker().feed(mark(f"C;cmdline_url={line[:12_300]}"), 0.0)

    assert isinstance(began, Began)
    assert MAX_COMMAND_BYTES - 4 <= len(began.command.encode()) <= MAX_COMMAND_BYTES
    assert began.command.endswith("…")


def test_lines_stay_lines_and_no_control_character_goes_on() -> None:
    (began,) = CommandTracker().feed(mark("C;cmdline_url=a%0A%09b%1B%5B2J%FF"), 0.0)

    assert isinstance(began, Began)
    assert began.command == "a\n\tb\ufffd[2J\ufffd"


def test_an_endless_echo_and_an_endless_mark_cost_no_memory() -> None:
    tracker = CommandTracker()
    for _ in range(100):
        tracker.feed(PROMPT[:-1], 0.0)
        tracker.feed(PROMPT[-1:] + b"x" * 65_536 + b"\x1b]133;" + b"y" * 65_536, 0.0)

    assert len(tracker._echo or b"") <= 16 * 1024
    assert len(tracker._scanner._held) <= 17 * 1024


def test_a_flood_of_commands_is_left_out_and_the_numbers_tell() -> None:
    tracker = CommandTracker()
    one = mark("C;cmdline_url=x") + mark("D;0")

    events = tracker.feed(one * (RECORDED.burst + 500), 0.0)
    later = tracker.feed(one, 60.0)

    assert len(events) == 2 * RECORDED.burst
    assert {event.number for event in later} == {RECORDED.burst + 501}


@given(st.binary(max_size=300))
def test_no_stream_breaks_it_and_offsets_only_grow(data: bytes) -> None:
    events = CommandTracker().feed(PROMPT + data + ran("x", data) * 2, 0.0)

    offsets = [event.offset for event in events]
    assert offsets == sorted(set(offsets))


def test_the_folder_is_a_local_path_or_stays() -> None:
    tracker = CommandTracker()
    for body in ("file://h/tmp/%C3%A9", "http://x/y", "junk", "file://h"):
        tracker.feed(f"\x1b]7;{body}\x07".encode(), 0.0)

    assert tracker.cwd == "/tmp/é"
