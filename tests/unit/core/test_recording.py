"""The index of a recording and what it adds up to."""

from typing import Any

from vibehq_nb.core.recording import (
    Begin,
    End,
    Gap,
    Mark,
    Output,
    Record,
    Screen,
    Size,
    Summary,
    decode_records,
    encode_record,
)

BEGIN = Begin(
    time=0.0,
    offset=0,
    id="r1",
    terminal="vm",
    epoch="e1",
    at=1e9,
    by="ana",
    cols=80,
    rows=24,
)


def summary_of(*records: Record) -> Summary:
    summary = Summary()
    for record in records:
        summary.apply(record)
    return summary


def screen(offset: int, reason: Any) -> Screen:
    return Screen(time=0.0, offset=offset, size=9, cols=90, rows=30, reason=reason)


def mark(offset: int, kind: Any, label: str = "", code: int | None = None) -> Mark:
    return Mark(time=offset / 10, offset=offset, label=label, kind=kind, exit_code=code)


def test_a_torn_last_line_counts_as_not_there() -> None:
    whole = [
        BEGIN,
        Output(time=1.0, offset=0, size=5),
        End(time=2.0, offset=5, reason="x"),
    ]
    text = b"".join(map(encode_record, whole))

    for size in range(len(text)):
        found = list(decode_records(text[:size].splitlines(keepends=True)))

        assert found == whole[: len(found)]
        assert len(found) == text[:size].count(b"\n")


def test_nothing_behind_a_line_that_is_no_record_counts() -> None:
    lines = [encode_record(BEGIN), b"\x00\x00\n", encode_record(BEGIN)]

    assert list(decode_records(lines)) == [BEGIN]


def test_the_cursor_is_where_the_output_goes_on() -> None:
    assert summary_of(BEGIN).cursor is None
    assert summary_of(BEGIN, screen(100, "start")).cursor == 100
    output = Output(time=1.0, offset=100, size=50)
    assert summary_of(BEGIN, screen(100, "start"), output).cursor == 150
    gap = Gap(time=2.0, offset=150, to=400, reason="slow")
    assert summary_of(BEGIN, output, gap).cursor == 400


def test_a_screen_to_seek_to_moves_nothing() -> None:
    found = summary_of(BEGIN, Output(time=1.0, offset=0, size=50), screen(20, "seek"))

    assert (found.cursor, found.cols, found.size) == (50, 80, 50)


def test_the_last_size_counts() -> None:
    found = summary_of(BEGIN, Size(time=1.0, offset=5, cols=100, rows=40))

    assert (found.cols, found.rows) == (100, 40)


def test_commands_are_numbered_by_their_place_and_know_their_end() -> None:
    found = summary_of(
        BEGIN,
        mark(30, "command", "false"),
        mark(10, "command", "ls"),
        mark(20, "command-end", code=0),
        mark(35, "note", "a note"),
    )

    assert [(c["number"], c["command"], c["exit_code"]) for c in found.commands()] == [
        (1, "ls", 0),
        (2, "false", None),
    ]
    assert found.commands()[0]["seconds"] == 1.0


def test_an_end_belongs_to_the_command_before_it_alone() -> None:
    found = summary_of(
        mark(10, "command", "one"),
        mark(20, "command", "two"),
        mark(30, "command-end", code=3),
    )

    assert [command["exit_code"] for command in found.commands()] == [None, 3]
