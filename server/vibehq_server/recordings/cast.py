"""A recording as an asciicast, piece by piece: never more than one chunk in memory."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from vibehq_nb.core.asciicast import CastEncoder, CastHeader, Version
from vibehq_nb.core.recording import (
    Begin,
    Exit,
    Gap,
    Mark,
    Output,
    Record,
    Restart,
    Screen,
    Size,
    Summary,
)
from vibehq_server.recordings.files import is_held, read_records, segment_path
from vibehq_server.recordings.kept import Recording


def cast_of(
    recording: Recording, version: Version, start: float | None = None
) -> Generator[bytes, None, None]:
    """
    Yield the lines of a recording as an asciicast.

    Its output, put together, is what the terminal printed, where that is UTF-8; ahead
    of it stands the screen it began with. A gap is a marker, then the screen as it was
    behind it.

    Args:
        recording: Which; it may still run.
        version: 2 or 3.
        start: Seconds; leave out what is not needed to know the screen at that time.
            The times of what is there stay as they are.

    Raises:
        OSError: If its files cannot be read.
    """
    summary = recording.refresh()
    first = _screen_before(recording.folder, start) if start is not None else None
    yield from _Caster(recording, summary, version, first).lines()


def _screen_before(folder: Path, start: float) -> Screen | None:
    """Return the last whole screen that was recorded by *start*, if there is one."""
    found = None
    for record in read_records(folder):
        if record.time > start:
            break
        if isinstance(record, Screen) and record.part == 0:
            found = record
    return found


class _Caster:
    def __init__(
        self,
        recording: Recording,
        summary: Summary,
        version: Version,
        first: Screen | None,
    ) -> None:
        self._folder = recording.folder
        self._begin = recording.begin
        self._title = summary.title
        self._version = version
        self._first = first
        start = first.offset if first else 0
        self._marks = sorted(
            (m for m in summary.marks if m.kind != "command-end" and m.offset >= start),
            key=lambda mark: mark.offset,
            reverse=True,
        )
        self._segment: tuple[int, BinaryIO] | None = None

    def lines(self) -> Iterator[bytes]:
        self._encoder = CastEncoder(self._header())
        yield self._encoder.header()
        sizes: dict[int, int] = {}
        try:
            for record in self._records():
                if not is_held(self._folder, record, sizes) and not self._grew(
                    record, sizes
                ):
                    break
                yield from self._encode(record)
            for mark in reversed(self._marks):
                yield self._encoder.mark(mark.time, mark.label)
            yield self._encoder.cut(0.0)
        finally:
            if self._segment is not None:
                self._segment[1].close()

    def _grew(self, record: Record, sizes: dict[int, int]) -> bool:
        """Look again: the segment of a recording that runs has more by now."""
        sizes.clear()
        return is_held(self._folder, record, sizes)

    def _header(self) -> CastHeader:
        begin = self._begin
        shown = self._first or self._initial(begin)
        title = self._title or begin.terminal
        return CastHeader(self._version, shown.cols, shown.rows, int(begin.at), title)

    def _initial(self, begin: Begin) -> Begin | Screen:
        for record in read_records(self._folder):
            if isinstance(record, Screen | Output):
                return record if isinstance(record, Screen) else begin
        return begin

    def _records(self) -> Iterator[Record]:
        """Yield what is shown: all but the places to seek to, or all after one."""
        records = read_records(self._folder)
        first = self._first
        if first is None:
            yield from (r for r in records if not _is_seek(r))
            return
        time = 0.0
        pieces = _pieces_of(self._folder, first)
        for record in records:
            if not _is_after(record, first.offset):
                time = record.time if isinstance(record, Output) else time
                continue
            if pieces:  # its own time may lie behind that of the output it stands for
                yield from (msgspec.structs.replace(p, time=time) for p in pieces)
                pieces = []
            yield record
        yield from pieces

    def _encode(self, record: Record) -> Iterator[bytes]:
        encoder, time = self._encoder, record.time
        match record:
            case Output():
                yield from self._marks_before(record)
                yield encoder.output(time, self._read(record))
            case Screen():
                yield from self._before_screen(record)
                yield encoder.output(time, self._read(record))
            case Size():
                yield encoder.resize(time, record.cols, record.rows)
            case Gap():
                missing = f"{record.to - record.offset} bytes are missing here"
                yield encoder.mark(time, f"{missing}: {record.reason}")
            case Restart():
                yield encoder.mark(time, "the server was started again")
            case Exit(code=int(code)):
                yield encoder.exit(time, code)

    def _marks_before(self, output: Output) -> Iterator[bytes]:
        end = output.offset + output.size
        while self._marks and self._marks[-1].offset < end:
            yield self._encoder.mark(output.time, self._marks.pop().label)

    def _before_screen(self, screen: Screen) -> Iterator[bytes]:
        if screen.part == 0:
            yield self._encoder.cut(screen.time)
            if screen.reason == "gap":
                yield self._encoder.resize(screen.time, screen.cols, screen.rows)

    def _read(self, record: Output | Screen) -> bytes:
        if self._segment is None or self._segment[0] != record.segment:
            if self._segment is not None:
                self._segment[1].close()
            opened = segment_path(self._folder, record.segment).open("rb")
            self._segment = (record.segment, opened)
        file = self._segment[1]
        skipped = 0
        if isinstance(record, Output) and self._first is not None:
            skipped = max(self._first.offset - record.offset, 0)
        file.seek(record.at + skipped)
        return file.read(record.size - skipped)


def _is_seek(record: Record) -> bool:
    return isinstance(record, Screen) and record.reason == "seek"


def _pieces_of(folder: Path, screen: Screen) -> list[Screen]:
    pieces: list[Screen] = []
    for record in read_records(folder):
        if record == screen or (pieces and _continues(record, pieces[-1])):
            assert isinstance(record, Screen)
            pieces.append(record)
        elif pieces:
            break
    return pieces


def _continues(record: Record, piece: Screen) -> bool:
    is_next = isinstance(record, Screen) and record.part == piece.part + 1
    return is_next and record.offset == piece.offset


def _is_after(record: Record, offset: int) -> bool:
    """Tell whether *record* shows something that a screen at *offset* does not."""
    if isinstance(record, Output):
        return record.offset + record.size > offset
    if isinstance(record, Screen):
        return record.reason != "seek" and record.offset > offset
    return record.offset >= offset and not isinstance(record, Begin | Mark)
