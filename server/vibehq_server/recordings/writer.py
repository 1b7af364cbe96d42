"""
The thread that writes recordings, and the pens that hand it what to write.

A terminal never waits for the disk: what a pen has not room for stays in the
terminal's ring, and what the ring no longer has is a gap that the recording states.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from vibehq_nb.core.recording import Begin, End, Gap, Output, Record, Segment
from vibehq_server.recordings.files import RecordingFiles

logger = logging.getLogger(__name__)

QUEUE_BYTES = 2 * 1024 * 1024
"""What one pen holds at most, and one stretch of output beyond it."""
RECORD_COST_BYTES = 256
"""What a record counts beside its bytes."""
SYNC_SECONDS = 1.0
GATHER_SECONDS = 0.02
"""What comes within this is written together: it saves most of the thread's turns."""
MERGE_SECONDS = 0.01
MERGED_BYTES = 64 * 1024
"""Output that came within 10 ms is one record, of up to this."""


class Listener(Protocol):
    """Who holds a pen; called on the loop."""

    def on_room(self) -> None:
        """Go on: the pen was full and has room again."""

    def on_failure(self, reason: str) -> None:
        """Know that nothing is written until a gap is."""

    def on_full(self) -> None:
        """End the recording: all of them take as much as they may."""

    def on_segment(self, recording_id: str, segment: Segment) -> None:
        """Know that a segment of a recording is complete."""


class Pen:
    """
    Hands one recording's records to the thread; belongs to the loop.

    Attributes:
        begin: The recording's first record.
        folder: Where it is written.
    """

    def __init__(
        self, writer: "Writer", begin: Begin, folder: Path, listener: Listener
    ) -> None:
        """Write into *folder* by *writer*."""
        self.begin, self.folder, self.listener = begin, folder, listener
        self.pending = 0
        self.is_waiting = False
        self.is_failing = False
        self.files: RecordingFiles | None = None
        self.loop = asyncio.get_running_loop()
        self._writer = writer

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be put before ``on_room``."""
        is_full = self.pending >= QUEUE_BYTES
        self.is_waiting = self.is_waiting or is_full
        return is_full

    @property
    def cursor(self) -> int | None:
        """The output up to here is in the files; exact while ``is_failing``."""
        return self.files.summary.cursor if self.files is not None else None

    def put(self, record: Record, data: bytes = b"") -> None:
        """Write *record* and its bytes, after what was put before; never waits."""
        self._writer.put(_Job(self, record, data))

    def settled(self) -> "asyncio.Future[None]":
        """Return what is done once all that was put is in the files, or was refused."""
        done: asyncio.Future[None] = self.loop.create_future()
        self._writer.put(_Job(self, None, b"", done))
        return done

    def tell(self, call: Callable[..., None], *args: object) -> None:
        """Call the listener on its loop, if that still runs."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(call, *args)


class _Job(NamedTuple):
    pen: Pen
    record: Record | None
    data: bytes
    done: "asyncio.Future[None] | None" = None


class Writer:
    """One thread for all recordings of a server; syncs each once a second."""

    def __init__(self) -> None:
        """Start with the first record that is put."""
        self._jobs: deque[_Job] = deque()  # each pen bounds its own: see QUEUE_BYTES
        self._wake = threading.Condition()
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._dirty: set[Pen] = set()
        self._open: set[Pen] = set()

    def put(self, job: _Job) -> None:
        """Queue one record; nothing is queued once closed."""
        with self._wake:
            if self._is_closed:
                return
            job.pen.pending += len(job.data) + RECORD_COST_BYTES
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="recordings", daemon=True
                )
                self._thread.start()
            self._wake.notify()

    def close(self) -> None:
        """Write what is queued, sync it, and end the thread."""
        with self._wake:
            self._is_closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        due = time.monotonic() + SYNC_SECONDS
        while True:
            jobs, is_last = self._take(due)
            for job in _merged(jobs):
                self._write(job)
            self._count_down(jobs)
            if is_last or time.monotonic() >= due:
                self._sync()
                due = time.monotonic() + SYNC_SECONDS
            if is_last:
                for pen in self._open:
                    _close(pen)
                return

    def _take(self, due: float) -> tuple[list[_Job], bool]:
        with self._wake:
            while not self._jobs and not self._is_closed:
                left = due - time.monotonic() if self._dirty else None
                if left is not None and left <= 0:
                    break
                self._wake.wait(left)
            is_closed = self._is_closed
        if not is_closed:
            time.sleep(GATHER_SECONDS)
        with self._wake:
            jobs = list(self._jobs)
            self._jobs.clear()
            return jobs, self._is_closed

    def _count_down(self, jobs: list[_Job]) -> None:
        with self._wake:
            for job in jobs:
                job.pen.pending -= len(job.data) + RECORD_COST_BYTES
        for pen in {job.pen for job in jobs}:
            if pen.is_waiting and pen.pending < QUEUE_BYTES // 2:
                pen.is_waiting = False
                pen.tell(pen.listener.on_room)

    def _write(self, job: _Job) -> None:
        pen, record, data, waiting = job
        if waiting is not None:
            pen.tell(_settle, waiting)
        if record is None:
            return
        if pen.is_failing and not isinstance(record, Gap | End):
            return  # a gap says what is missing
        try:
            files = self._files(pen)
            if pen.is_failing and isinstance(record, End):
                _state_missing(record, files)
            wanted = _from_there(record, files) if isinstance(record, Gap) else record
            done = files.write(wanted, data) if wanted is not None else None
            pen.is_failing = False
            self._dirty.add(pen)
            if isinstance(record, End):
                self._end(pen)
        except OSError as error:
            self._fail(pen, error)
            return
        if done is not None:
            pen.tell(pen.listener.on_segment, pen.begin.id, done)

    def _files(self, pen: Pen) -> RecordingFiles:
        if pen.files is None:
            pen.files = RecordingFiles(pen.folder)
            self._open.add(pen)
        if pen.files.summary.begin is None:
            pen.files.write(pen.begin)
        return pen.files

    def _end(self, pen: Pen) -> None:
        assert pen.files is not None
        pen.files.sync()
        self._dirty.discard(pen)
        self._open.discard(pen)
        _close(pen)

    def _sync(self) -> None:
        for pen in tuple(self._dirty):
            try:
                if pen.files is not None:
                    pen.files.sync()
            except OSError as error:
                self._fail(pen, error)
        self._dirty.clear()

    def _fail(self, pen: Pen, error: OSError) -> None:
        if not pen.is_failing:
            logger.warning("%s: not recorded: %s", pen.begin.terminal, error.strerror)
        pen.is_failing = True
        pen.tell(pen.listener.on_failure, error.strerror or "the disk refuses")


def _settle(done: "asyncio.Future[None]") -> None:
    if not done.done():  # whoever waited may have gone
        done.set_result(None)


def _from_there(gap: Gap, files: RecordingFiles) -> Gap | None:
    """Return *gap* from where the files end, or None where nothing is missing."""
    cursor = files.summary.cursor
    start = gap.offset if cursor is None else cursor
    return msgspec.structs.replace(gap, offset=start) if start < gap.to else None


def _state_missing(end: End, files: RecordingFiles) -> None:
    """Write the gap before *end* of what the disk refused."""
    reason = "the disk refused it"
    gap = Gap(time=end.time, offset=end.offset, to=end.offset, reason=reason)
    if (missing := _from_there(gap, files)) is not None:
        files.write(missing)


def _close(pen: Pen) -> None:
    if pen.files is not None:
        pen.files.close()
        pen.files = None


def _merged(jobs: list[_Job]) -> Iterator[_Job]:
    """Yield *jobs* with output that came together in one."""
    held: _Job | None = None
    for job in jobs:
        if held is None:
            held = job
        elif (both := _together(held, job)) is not None:
            held = both
        else:
            yield held
            held = job
    if held is not None:
        yield held


def _together(one: _Job, other: _Job) -> _Job | None:
    first, second = one.record, other.record
    if not (isinstance(first, Output) and isinstance(second, Output)):
        return None
    is_next = one.pen is other.pen and first.offset + first.size == second.offset
    size = first.size + second.size
    if not is_next or size > MERGED_BYTES or second.time - first.time > MERGE_SECONDS:
        return None
    record = msgspec.structs.replace(first, size=size)
    return _Job(one.pen, record, one.data + other.data)
