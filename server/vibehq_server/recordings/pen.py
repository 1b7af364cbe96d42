"""
The pens that hand records to the thread that writes them.

A terminal never waits for the disk: what a pen has not room for stays in the
terminal's ring, and what the ring no longer has is a gap that the recording states.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from vibehq_nb.core.recording import (
    Begin,
    End,
    Exit,
    Mark,
    Output,
    Record,
    Restart,
    Segment,
    Title,
)
from vibehq_server.recordings.files import RecordingFiles

QUEUE_BYTES = 2 * 1024 * 1024
"""What one pen holds at most, and one stretch of output beyond it."""
RECORD_COST_BYTES = 256
"""What a record counts beside its bytes."""
MERGE_SECONDS = 0.01
MERGED_BYTES = 64 * 1024
"""Output that came within 10 ms is one record, of up to this."""
REFUSED_HELD = 1000
LOST_MARKS = "marks or titles before this are missing"


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
        self,
        queue: Callable[["Job"], None],
        begin: Begin,
        folder: Path,
        listener: Listener,
        forget: Callable[["Pen"], None],
    ) -> None:
        """Write into *folder* through *queue*; *forget* hears when the end is there."""
        self.begin, self.folder, self.listener = begin, folder, listener
        self.pending = 0
        self.is_waiting = False
        self.is_failing = False
        self.files: RecordingFiles | None = None
        self.loop = asyncio.get_running_loop()
        self.forget = forget
        self.last: deque[Exit | End] = deque()  # the exit and the end, no more
        self.refused: deque[Mark | Title | Restart] = deque()  # full: see refuse()
        self.has_lost = False
        self._queue = queue

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

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows as the files tell them; exact while ``is_failing``."""
        summary = self.files.summary if self.files is not None else self.begin
        return summary.cols, summary.rows

    def refuse(self, record: Record) -> None:
        """
        Keep a record that the disk refused, if it says more than a gap does.

        With 1,000 that wait, further ones are left out; that is recorded.
        """
        if not isinstance(record, Mark | Title | Restart):
            return
        if len(self.refused) < REFUSED_HELD:
            self.refused.append(record)
        else:
            self.has_lost = True

    def put(self, record: Record, data: bytes = b"") -> None:
        """Write *record* and its bytes, after what was put before; never waits."""
        self._queue(Job(self, record, data))

    def settled(self) -> "asyncio.Future[None]":
        """Return what is done once all that was put is in the files, or was refused."""
        done: asyncio.Future[None] = self.loop.create_future()
        self._queue(Job(self, None, b"", done))
        return done

    def tell(self, call: Callable[..., None], *args: object) -> None:
        """Call the listener on its loop, if that still runs."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(call, *args)


class Job(NamedTuple):
    """A record to write, or a future to settle when it is its turn."""

    pen: Pen
    record: Record | None
    data: bytes
    done: "asyncio.Future[None] | None" = None


def merged(jobs: list[Job]) -> Iterator[Job]:
    """Yield *jobs* with output that came together in one."""
    held: Job | None = None
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


def _together(one: Job, other: Job) -> Job | None:
    first, second = one.record, other.record
    if not (isinstance(first, Output) and isinstance(second, Output)):
        return None
    is_next = one.pen is other.pen and first.offset + first.size == second.offset
    size = first.size + second.size
    if not is_next or size > MERGED_BYTES or second.time - first.time > MERGE_SECONDS:
        return None
    record = msgspec.structs.replace(first, size=size)
    return Job(one.pen, record, one.data + other.data)
