"""
Read log files from where the last scan stopped, within bounds.

A cursor is a file's inode, an offset, and two hashes: of its beginning and of what is
just before the offset. A rotated file keeps its inode and is read on under its new
name; a truncated or replaced one no longer fits its hashes and is read afresh. With
the cursor the state keeps the facts read so far, so facts never depend on how many
scans it took to read a file.
"""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import BinaryIO, cast

import msgspec

from vibehq_nb.ops.log_lines import LineDecoder
from vibehq_nb.ops.log_paths import Candidate, SkippedError, open_log
from vibehq_nb.ops.log_records import LogFacts, LogFolder
from vibehq_nb.ops.rule import Deadline, TimeRange

MAX_FILE_BYTES = 64 * 2**20
"""Read of one file: its end; of a compressed one, its first bytes unpacked."""
MAX_SCAN_BYTES = 512 * 2**20
MAX_LINE_BYTES = 2**20
"""A longer line is read as several."""

_HEAD_BYTES = 1024
_ANCHOR_BYTES = 64
_CHECK_EVERY = 1000
_TIME_UP = "the scan's time was up"
_ROTATED = re.compile(
    r"(?:[.-]\d{1,3}|[-.]\d{8}(?:[-.]?\d{1,6})?|[-.]\d{4}-\d\d-\d\d)?(?:\.gz)?$"
)


class Cursor(msgspec.Struct):
    """Where reading stopped, and what was known there."""

    offset: int
    head: str
    anchor: str
    modified_ns: int
    lines: int | None
    """Lines before the offset; None where the beginning was not read."""
    facts: LogFacts

    def fits(self, file: BinaryIO, status: os.stat_result) -> bool:
        """Tell whether the file still begins with what was read of it."""
        if status.st_size < self.offset:
            return False
        return (self.head, self.anchor) == _hashes(file, self.offset)


@dataclass(frozen=True, slots=True)
class LogFile:
    """What was learned of one file."""

    path: str
    modified: float
    facts: LogFacts
    lines_read: int
    incomplete: str = ""
    """Why not all of it was read; empty if it was."""


@dataclass(slots=True)
class LogReader:
    """Reads files one after another within one deadline and one budget."""

    now: datetime
    zone: tzinfo
    deadline: Deadline
    before: dict[str, Cursor]
    """Cursors to start from, by device and inode; empty for a full scan."""
    after: dict[str, Cursor]
    """Cursors to start from the next time; filled while reading."""
    time_range: TimeRange | None = None
    max_file_bytes: int = MAX_FILE_BYTES
    budget_bytes: int = MAX_SCAN_BYTES
    advance: Callable[[int], None] = lambda count: None
    """Told how many more bytes were read."""

    def read(self, candidate: Candidate) -> LogFile:
        """
        Read what is new of one file.

        Raises:
            SkippedError: If it is not read at all; the message says why.
        """
        if self.deadline.is_over:
            raise SkippedError(_TIME_UP)
        if self.budget_bytes <= 0:
            raise SkippedError("the scan has read as many bytes as it may")
        with open_log(candidate) as file:
            status = os.fstat(file.fileno())
            identity = f"{status.st_dev}:{status.st_ino}"
            cursor = self.before.get(identity)
            if cursor is not None and not cursor.fits(file, status):
                cursor = None
            is_packed = os.pread(file.fileno(), 2, 0) == b"\x1f\x8b"
            read = self._read_packed if is_packed else self._read_plain
            log_file, left = read(str(candidate.path), file, status, cursor)
            self.after[identity] = left
            return log_file

    def _read_packed(
        self, path: str, file: BinaryIO, status: os.stat_result, cursor: Cursor | None
    ) -> tuple[LogFile, Cursor]:
        """Read a compressed file whole, unless it is the one read before."""
        was_read = cursor is not None and cursor.offset == status.st_size
        if cursor and was_read and cursor.modified_ns == status.st_mtime_ns:
            facts = cursor.facts.of_file(path)
            return LogFile(path, status.st_mtime, facts, 0), cursor
        folder = self._folder(path, status, LogFacts())
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=file))
        try:
            _refuse_binary(stream.read(8192))
            stream.seek(0)
            end, lines, reason = self._fold(stream, folder, 0, self.max_file_bytes, 1)
            if not reason and end >= self.max_file_bytes and stream.read(1):
                folder.facts.skipped_bytes += max(1, status.st_size - file.tell())
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SkippedError("damaged compression") from error
        facts = folder.finish()
        left = self._cursor(file, status, status.st_size, lines, facts.copy())
        if reason:
            left.modified_ns = -1  # half of it was read: the next scan reads it again
        return LogFile(path, status.st_mtime, facts, lines, reason), left

    def _read_plain(
        self, path: str, file: BinaryIO, status: os.stat_result, cursor: Cursor | None
    ) -> tuple[LogFile, Cursor]:
        start, facts, known = 0, LogFacts(), 0
        number: int | None = known
        if cursor is not None:
            start, number = cursor.offset, cursor.lines
            facts = cursor.facts.of_file(path)
        if status.st_size - start > self.max_file_bytes:
            skipped_to = status.st_size - self.max_file_bytes
            facts.skipped_bytes += skipped_to - start
            start, number = skipped_to, None
            file.seek(start)
            start += len(file.readline(MAX_LINE_BYTES))
        if cursor is None or number is None:
            _refuse_binary(os.pread(file.fileno(), 8192, start))
        file.seek(start)
        folder = self._folder(path, status, facts)
        first = 0 if number is None else number + 1
        end, lines, reason = self._fold(file, folder, start, status.st_size, first)
        offset, line = folder.open_at or (end, first + lines)
        settled = folder.settled()
        before = None if number is None else line - 1
        left = self._cursor(file, status, offset, before, settled)
        return LogFile(path, status.st_mtime, folder.finish(), lines, reason), left

    def _folder(self, path: str, status: os.stat_result, facts: LogFacts) -> LogFolder:
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        decoder = LineDecoder(self.zone, min(modified, self.now))
        return LogFolder(decoder, facts, path, self.time_range)

    def _fold(
        self, stream: BinaryIO, folder: LogFolder, start: int, end: int, first: int
    ) -> tuple[int, int, str]:
        """Feed the lines of ``[start, end)``; *first* is 0 where nobody counted."""
        offset, told, lines = start, start, 0
        while offset < end:
            raw = stream.readline(min(MAX_LINE_BYTES, end - offset))
            if not raw:
                break
            folder.feed(raw, offset, first + lines if first else 0)
            offset += len(raw)
            lines += 1
            if lines % _CHECK_EVERY == 0:
                self.advance(offset - told)
                told = offset
                if self.deadline.is_over:
                    break
        self.advance(offset - told)
        self.budget_bytes -= offset - start
        was_stopped = offset < end and self.deadline.is_over
        return offset, lines, _TIME_UP if was_stopped else ""

    def _cursor(
        self,
        file: BinaryIO,
        status: os.stat_result,
        offset: int,
        lines: int | None,
        facts: LogFacts,
    ) -> Cursor:
        head, anchor = _hashes(file, offset)
        return Cursor(offset, head, anchor, status.st_mtime_ns, lines, facts)


def _hashes(file: BinaryIO, offset: int) -> tuple[str, str]:
    """Return hashes of the file's beginning and of the bytes before *offset*."""
    head = os.pread(file.fileno(), min(_HEAD_BYTES, offset), 0)
    before = min(_ANCHOR_BYTES, offset)
    anchor = os.pread(file.fileno(), before, offset - before)
    return hashlib.sha256(head).hexdigest(), hashlib.sha256(anchor).hexdigest()


def _refuse_binary(head: bytes) -> None:
    if b"\0" in head:
        raise SkippedError("binary")


def family_of(path: str) -> str:
    """Return the log that a file is a part of: its path without rotation's suffix."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + (_ROTATED.sub("", name) or name)
