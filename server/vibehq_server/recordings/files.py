"""
One recording's files: segments of raw bytes, and an index that a crash may tear.

Belongs to the writer's thread. Bytes are written before the record that names them,
so what the index says is there; on reopening, whatever the index does not say is cut
off again.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from vibehq_nb.core.recording import (
    SEGMENT_BYTES,
    Begin,
    End,
    Outline,
    Output,
    Record,
    Screen,
    Segment,
    Summary,
    decode_records,
    encode_record,
)

INDEX = "index.jsonl"
PIN = "pinned.json"
OUTLINE = "summary.json"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def segment_path(folder: Path, number: int) -> Path:
    """Return where a segment of the recording in *folder* lies."""
    return folder / f"{number:06d}.raw"


def read_records(folder: Path) -> Iterator[Record]:
    """Yield what the index in *folder* holds, whole records only; none without one."""
    if not (folder / INDEX).exists():
        return
    with (folder / INDEX).open("rb") as index:
        yield from decode_records(index)


def is_held(folder: Path, record: Record, sizes: dict[int, int]) -> bool:
    """Tell whether the bytes a record names are there; *sizes* remembers files."""
    if not isinstance(record, Output | Screen):
        return True
    if record.segment not in sizes:
        path = segment_path(folder, record.segment)
        sizes[record.segment] = path.stat().st_size if path.exists() else 0
    return record.at + record.size <= sizes[record.segment]


class RecordingFiles:
    """
    The files of a recording that is being written.

    Attributes:
        folder: Where they lie; 0700, each file 0600.
        summary: What the index tells so far.
        completed: Segments that are complete and that nobody was told of yet.
    """

    def __init__(self, folder: Path) -> None:
        """
        Open the recording in *folder*, made if it is not there.

        What a crash left half done is cut off.

        Raises:
            OSError: If the disk refuses.
        """
        self.folder = folder
        self.summary = Summary()
        self.completed: list[Segment] = []  # taken after each record
        self._segment = -1
        self._number = 0
        self._written = 0
        self._start: int | None = None
        self._end = 0
        self._digest = hashlib.sha256()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._index = os.open(folder / INDEX, _FLAGS, 0o600)
        self._index_size = self._repair()

    def _repair(self) -> int:
        """Cut off what is torn; return the index's size."""
        sizes: dict[int, int] = {}
        index_size = 0
        with (self.folder / INDEX).open("rb") as index:
            for line in index:
                record = next(decode_records([line]), None)
                if record is None or not is_held(self.folder, record, sizes):
                    break
                index_size += len(line)
                self.summary.apply(record)
                self._follow(record)
        os.ftruncate(self._index, index_size)
        for path in self.folder.glob("*.raw"):
            if int(path.stem) > self._number:
                path.unlink()
        if self._number:
            self._open_segment()
            os.ftruncate(self._segment, self._written)
            self._digest.update(segment_path(self.folder, self._number).read_bytes())
        return index_size

    def _follow(self, record: Record) -> None:
        match record:
            case Output() | Screen():
                if record.segment != self._number:
                    self._number, self._start = record.segment, record.offset
                self._written = record.at + record.size
                self._note_range(record)
            case Segment():
                self._number, self._written = record.number + 1, 0
                self._start = None

    def _note_range(self, record: Output | Screen) -> None:
        grown = record.size if isinstance(record, Output) else 0
        if self._start is None:
            self._start = record.offset
        self._end = record.offset + grown

    def write(self, record: Record, data: bytes = b"") -> None:
        """
        Add *record*, whose bytes are *data*.

        Either all of it is there afterwards or, of each piece of up to 1 MiB, nothing.

        Raises:
            OSError: If the disk refuses.
        """
        if isinstance(record, End):
            self._close_segment(record.time)
        if not isinstance(record, Output | Screen):
            self._write_record(record)
            return
        for part, at in enumerate(range(0, len(data), SEGMENT_BYTES)):
            piece = data[at : at + SEGMENT_BYTES]
            if self._written + len(piece) > SEGMENT_BYTES:
                self._close_segment(record.time)
            self._write_piece(_piece(record, part, at, len(piece)), piece)

    def _write_piece(self, record: Output | Screen, piece: bytes) -> None:
        if self._segment < 0:
            self._number = self._number or 1
            self._open_segment()
        placed = msgspec.structs.replace(record, segment=self._number, at=self._written)
        try:
            _write_all(self._segment, piece)
            self._write_record(placed)
        except OSError:
            os.ftruncate(self._segment, self._written)
            raise
        self._digest.update(piece)
        self._written += len(piece)
        self._note_range(placed)

    def _open_segment(self) -> None:
        path = segment_path(self.folder, self._number)
        self._segment = os.open(path, _FLAGS, 0o600)
        self._digest = hashlib.sha256()

    def _write_record(self, record: Record) -> None:
        line = encode_record(record)
        try:
            _write_all(self._index, line)
        except OSError:
            os.ftruncate(self._index, self._index_size)
            raise
        self._index_size += len(line)
        self.summary.apply(record)

    def _close_segment(self, time: float) -> None:
        """Complete the open segment, if something is in it."""
        if self._segment < 0 or not self._written:
            return
        done = Segment(
            time=time,
            offset=self._end,
            number=self._number,
            start=self._start or 0,
            end=self._end,
            size=self._written,
            sha256=self._digest.hexdigest(),
        )
        os.fsync(self._segment)
        self._write_record(done)
        os.close(self._segment)
        self._segment = -1
        self._number, self._written, self._start = self._number + 1, 0, None
        self.completed.append(done)

    def sync(self) -> None:
        """
        Wait until the disk has all of it, bytes before records.

        Raises:
            OSError: If the disk refuses.
        """
        if self._segment >= 0:
            os.fsync(self._segment)
        os.fsync(self._index)

    def close(self) -> None:
        """Let the files go; nothing more is written."""
        for descriptor in (self._segment, self._index):
            if descriptor >= 0:
                os.close(descriptor)
        self._segment = self._index = -1


def _piece(record: Output | Screen, part: int, at: int, size: int) -> Output | Screen:
    if isinstance(record, Output):
        return msgspec.structs.replace(record, offset=record.offset + at, size=size)
    return msgspec.structs.replace(record, part=part, size=size)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read_begin(folder: Path) -> Begin | None:
    """Return the first record in *folder*; None where there is none."""
    try:
        first = next(read_records(folder), None)
    except OSError:
        return None
    return first if isinstance(first, Begin) else None


def write_outline(folder: Path, outline: Outline) -> None:
    """
    Write what a list tells of the recording in *folder*, whole or not at all.

    Raises:
        OSError: If the disk refuses.
    """
    beside = folder / f"{OUTLINE}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    descriptor = os.open(beside, flags, 0o600)
    try:
        _write_all(descriptor, msgspec.json.encode(outline))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.replace(folder / OUTLINE)


def read_outline(folder: Path) -> Outline | None:
    """Return what a list tells of an ended recording; None where that is not known."""
    try:
        content = (folder / OUTLINE).read_bytes()
        return msgspec.json.decode(content, type=Outline)
    except (OSError, msgspec.DecodeError):
        return None
