"""
The thread that writes recordings: records as pens put them, gaps, and the end.

Nothing waits for it but the server's own end.
"""

import asyncio
import logging
import threading
import time
from collections import deque

import msgspec

from vibehq_nb.core.recording import End, Exit, Gap, Mark
from vibehq_server.recordings.files import RecordingFiles, write_outline
from vibehq_server.recordings.pen import (
    LOST_MARKS,
    QUEUE_BYTES,
    RECORD_COST_BYTES,
    Job,
    Pen,
    merged,
)

logger = logging.getLogger(__name__)

SYNC_SECONDS = 1.0
GATHER_SECONDS = 0.02
"""What comes within this is written together: it saves most of the thread's turns."""


class Writer:
    """One thread for all recordings of a server; syncs each once a second."""

    def __init__(self) -> None:
        """Start with the first record that is put."""
        self._jobs: deque[Job] = deque()  # each pen bounds its own: see QUEUE_BYTES
        self._wake = threading.Condition()
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._dirty: set[Pen] = set()
        self._open: set[Pen] = set()
        self._ending: set[Pen] = set()  # the disk refused their end

    def put(self, job: Job) -> None:
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
            for job in merged(jobs):
                self._write(job)
            self._count_down(jobs)
            if is_last or time.monotonic() >= due:
                self._sync()
                self._end_again()
                due = time.monotonic() + SYNC_SECONDS
            if is_last:
                for pen in self._open:
                    _close(pen)
                return

    def _take(self, due: float) -> tuple[list[Job], bool]:
        with self._wake:
            while not self._jobs and not self._is_closed:
                is_due = self._dirty or self._ending
                left = due - time.monotonic() if is_due else None
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

    def _count_down(self, jobs: list[Job]) -> None:
        with self._wake:
            for job in jobs:
                job.pen.pending -= len(job.data) + RECORD_COST_BYTES
        for pen in {job.pen for job in jobs}:
            if pen.is_waiting and pen.pending < QUEUE_BYTES // 2:
                pen.is_waiting = False
                pen.tell(pen.listener.on_room)

    def _write(self, job: Job) -> None:
        pen, record, data, waiting = job
        if waiting is not None:
            pen.tell(_settle, waiting)
        if record is None:
            return
        if isinstance(record, Exit | End):
            pen.last.append(record)
            self._write_last(pen)
            return
        if pen.is_failing and not isinstance(record, Gap):
            pen.refuse(record)  # of output, a gap says what is missing
            return
        try:
            files = self._files(pen)
            if isinstance(record, Gap):
                _catch_up(pen, files, record)
            else:
                files.write(record, data)
            pen.is_failing = False
            self._dirty.add(pen)
        except OSError as error:
            pen.refuse(record)
            self._fail(pen, error)
        _tell_completed(pen)

    def _write_last(self, pen: Pen) -> None:
        """Write the exit and the end, or try again in a second."""
        self._ending.add(pen)
        try:
            while pen.last:
                files, record = self._files(pen), pen.last[0]
                missing = "the disk refused it"
                gap = Gap(
                    time=record.time,
                    offset=record.offset,
                    to=record.offset,
                    reason=missing,
                )
                _catch_up(pen, files, gap)
                if files.summary.end is None:
                    files.write(record)
                if isinstance(record, End):
                    files.sync()
                    outline = files.summary.outline(pen.begin)
                    write_outline(files.folder, outline)
                pen.last.popleft()
            pen.is_failing = False
        except OSError as error:
            self._fail(pen, error)
        else:
            self._ending.discard(pen)
            self._dirty.add(pen)
        _tell_completed(pen)
        if pen.files is not None and pen.files.summary.end and not pen.last:
            self._let_go(pen)

    def _end_again(self) -> None:
        for pen in tuple(self._ending):
            self._write_last(pen)

    def _files(self, pen: Pen) -> RecordingFiles:
        if pen.files is None:
            pen.files = RecordingFiles(pen.folder)
            self._open.add(pen)
        if pen.files.summary.begin is None:
            pen.files.write(pen.begin)
        return pen.files

    def _let_go(self, pen: Pen) -> None:
        self._dirty.discard(pen)
        self._open.discard(pen)
        _close(pen)
        pen.tell(pen.forget, pen)

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


def _catch_up(pen: Pen, files: RecordingFiles, gap: Gap) -> None:
    """Write *gap* from where the files end, if one is there, and what was refused."""
    cursor = files.summary.cursor
    start = pen.begin.offset if cursor is None else cursor
    if start < gap.to:
        files.write(msgspec.structs.replace(gap, offset=start))
    while pen.refused:
        files.write(pen.refused[0])
        pen.refused.popleft()
    if pen.has_lost:
        files.write(Mark(time=gap.time, offset=gap.to, label=LOST_MARKS))
        pen.has_lost = False


def _tell_completed(pen: Pen) -> None:
    """Tell each segment that is complete, also if the disk refused what came after."""
    if pen.files is not None:
        for segment in pen.files.completed:
            pen.tell(pen.listener.on_segment, pen.begin.id, segment)
        pen.files.completed.clear()


def _close(pen: Pen) -> None:
    if pen.files is not None:
        pen.files.close()
        pen.files = None
