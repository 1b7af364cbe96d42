"""
The index of a recording: one record a line, in the order things were recorded.

Pure. The bytes lie in segment files beside the index; records say which stretch of
which segment came when. Only output is recorded, never what was typed. A line that
is torn, as a crash leaves it, and all behind it count as not there.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

SEGMENT_BYTES = 1024 * 1024
"""No segment file is larger."""

MAX_MARKS = 10_000
"""Marks that a summary holds; of more, the last ones."""


class _Record(msgspec.Struct, frozen=True, kw_only=True, tag=str.lower):
    """
    What all records share.

    Attributes:
        time: Seconds since the recording began.
        offset: Where in the terminal's output.
    """

    time: float
    offset: int


class Begin(_Record, frozen=True, kw_only=True):
    """
    The first line.

    Attributes:
        at: Seconds since 1970.
        by: Who asked for it; ``policy`` where the server records everything.
    """

    id: str
    terminal: str
    epoch: str
    at: float
    by: str
    cols: int
    rows: int
    version: int = 1


class Output(_Record, frozen=True, kw_only=True):
    """*size* bytes of output from *offset* on, at *at* of a segment."""

    size: int
    segment: int = 0
    at: int = 0


class Screen(_Record, frozen=True, kw_only=True):
    """
    The whole screen as it was at *offset*, painted from a full reset.

    Attributes:
        reason: ``start`` and ``gap``: what follows goes on from here. ``seek``: a place
            to begin a replay at, which repeats nothing.
        part: Counts the pieces of a large one.
    """

    size: int
    cols: int
    rows: int
    reason: Literal["start", "gap", "seek"]
    part: int = 0
    segment: int = 0
    at: int = 0


class Size(_Record, frozen=True, kw_only=True):
    """From *offset* on, output is meant for a screen of this many cells."""

    cols: int
    rows: int


class Mark(_Record, frozen=True, kw_only=True):
    """
    A place worth jumping to, such as the beginning of a command.

    Its offset may lie before that of records ahead of it.

    Attributes:
        kind: ``command``, ``command-end`` or ``note``.
        exit_code: Of a command that ended, if its shell told.
    """

    label: str
    kind: Literal["command", "command-end", "note"] = "note"
    exit_code: int | None = None


class Title(_Record, frozen=True, kw_only=True):
    """The terminal's title from here on."""

    text: str


class Gap(_Record, frozen=True, kw_only=True):
    """The output from *offset* to *to* is not in the recording."""

    to: int
    reason: str


class Restart(_Record, frozen=True, kw_only=True):
    """The server was away before this; output is whole unless a gap says otherwise."""


class Segment(_Record, frozen=True, kw_only=True):
    """A segment is complete: output from *start* to *end*, and its file's SHA-256."""

    number: int
    start: int
    end: int
    size: int
    sha256: str


class Exit(_Record, frozen=True, kw_only=True):
    """The shell ended."""

    code: int | None = None
    signal: str | None = None


class End(_Record, frozen=True, kw_only=True):
    """The last line: ``stopped``, ``exited``, ``interrupted``, ``rolled``, ``full``."""

    reason: str


Record = (
    Begin | Output | Screen | Size | Mark | Title | Gap | Restart | Segment | Exit | End
)

_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def encode_record(record: Record) -> bytes:
    """Return the line of *record*."""
    return msgspec.json.encode(record) + b"\n"


def decode_records(lines: Iterable[bytes]) -> Iterator[Record]:
    """Yield the records of whole lines, up to the first that is none."""
    for line in lines:
        if not line.endswith(b"\n"):
            return
        try:
            yield _DECODER.decode(line)
        except msgspec.DecodeError:
            return


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a list tells of a recording.

    Attributes:
        duration: Seconds from the beginning to the last record.
        size: Bytes of output.
        commands: How many.
        gaps: How many.
    """

    begin: Begin
    end: End | None
    duration: float
    size: int
    commands: int
    gaps: int


class Summary:
    """
    What an index tells, folded record by record.

    Attributes:
        begin: Its first record, once there.
        end: Its last record, once there.
        cursor: The output up to here is recorded; None before any is.
        duration: Seconds from the beginning to the last record.
        size: Bytes of output.
        cols: The last size.
        rows: The same.
        title: The last title.
        marks: Commands and notes.
        gaps: What is missing.
        segments: Those that are complete.
        exit: How the shell ended, if it did.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.begin: Begin | None = None
        self.end: End | None = None
        self.exit: Exit | None = None
        self.cursor: int | None = None
        self.duration = 0.0
        self.size = 0
        self.cols = self.rows = 0
        self.title = ""
        self.marks: list[Mark] = []  # over MAX_MARKS: the first ones go
        self.gaps: list[Gap] = []
        self.segments: list[Segment] = []

    def apply(self, record: Record) -> None:
        """Fold one record in."""
        self.duration = max(self.duration, record.time)
        match record:
            case Output():
                self.cursor = record.offset + record.size
                self.size += record.size
            case Screen():
                self._apply_screen(record)
            case Begin():
                self.begin = record
                self.cols, self.rows = record.cols, record.rows
            case Size():
                self.cols, self.rows = record.cols, record.rows
            case Gap():
                self.cursor = record.to
                self.gaps.append(record)
            case _:
                self._apply_rare(record)

    def _apply_screen(self, screen: Screen) -> None:
        if screen.reason != "seek":
            self.cursor = screen.offset
            self.cols, self.rows = screen.cols, screen.rows

    def _apply_rare(self, record: Record) -> None:
        match record:
            case Mark():
                self.marks.append(record)
                del self.marks[:-MAX_MARKS]
            case Title():
                self.title = record.text
            case Segment():
                self.segments.append(record)
            case Exit():
                self.exit = record
            case End():
                self.end = record

    def outline(self, begin: Begin) -> Outline:
        """Return what a list tells of the recording that begins with *begin*."""
        return Outline(
            begin=begin,
            end=self.end,
            duration=self.duration,
            size=self.size,
            commands=sum(mark.kind == "command" for mark in self.marks),
            gaps=len(self.gaps),
        )

    def commands(self) -> list[dict[str, Any]]:
        """Return the commands in order of their output, numbered from 1."""
        ends = sorted(
            (mark for mark in self.marks if mark.kind == "command-end"),
            key=lambda mark: mark.offset,
        )
        starts = sorted(
            (mark for mark in self.marks if mark.kind == "command"),
            key=lambda mark: mark.offset,
        )
        rows = []
        for number, mark in enumerate(starts, 1):
            after = starts[number].offset if number < len(starts) else None
            end = _first_end(ends, mark.offset, after)
            rows.append(
                {
                    "number": number,
                    "time": mark.time,
                    "offset": mark.offset,
                    "command": mark.label,
                    "exit_code": end.exit_code if end else None,
                    "seconds": round(end.time - mark.time, 6) if end else None,
                }
            )
        return rows


def _first_end(ends: list[Mark], offset: int, before: int | None) -> Mark | None:
    for end in ends:
        if end.offset >= offset:
            return end if before is None or end.offset <= before else None
    return None
