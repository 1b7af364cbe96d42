"""
The one thread that writes: it takes all that is queued, and commits it as one group.

So 64 rooms that wait for the disk share one sync instead of queueing for 64.
"""

import asyncio
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vibehq_nb.core.errors import NotStoredError, VibeError
from vibehq_server.room_logs.sqlite_store import Retention, Store

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.5
"""How long the thread waits for work before it looks at the clock."""

TRIM_EVERY_SECONDS = 60.0
"""How often retention is looked at, at work or idle; first at the start."""


@dataclass(slots=True, eq=False)
class Job:
    """
    One thing to write, and who waits for it.

    Attributes:
        run: Does it inside the group's transaction. It may refuse by a VibeError if
            it has written nothing; the rest of the group goes on.
        entries: How many entries it adds to the queue.
        size_bytes: How many bytes it adds to the queue.
        on_done: Called on the event loop before the future is answered.
    """

    run: Callable[[Store], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    entries: int = 0
    size_bytes: int = 0
    on_done: Callable[[], None] | None = None


Outcome = tuple[Job, Any, Exception | None]


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """How much may be queued; beyond it appends wait their turn."""

    entries: int = 10_000
    size_bytes: int = 16 * 1024 * 1024


class GroupWriter:
    """Runs jobs in the order of :meth:`submit`, many in one commit."""

    def __init__(
        self,
        store: Store,
        retention: Retention,
        clock: Callable[[], float],
        bounds: QueueBounds | None = None,
    ) -> None:
        """Start the thread; it owns *store* from here on."""
        self._store = store
        self._retention = retention
        self._clock = clock
        self._bounds = bounds or QueueBounds()
        self._wakeup = threading.Condition()
        self._queue: deque[Job] = deque()  # over the bounds: jobs wait in _waiting
        self._waiting: deque[Job] = deque()  # one for each append that awaits
        self._queued = _Load()
        self._is_closed = False
        self._trim_at = time.monotonic()  # at once: the bounds may be new ones
        self.commits = 0
        """Groups committed so far."""
        self._thread = threading.Thread(
            target=self._work, name="vibehq-room-log", daemon=True
        )
        self._thread.start()

    def submit(self, job: Job) -> None:
        """
        Queue *job*; its future is answered once it is durable.

        Raises:
            NotStoredError: After :meth:`close`.
        """
        with self._wakeup:
            if self._is_closed:
                raise NotStoredError("the room log is closed")
            self._waiting.append(job)
            self._admit()
            self._wakeup.notify()

    def _admit(self) -> None:
        while self._waiting:
            job = self._waiting[0]
            if job.future.cancelled():
                self._waiting.popleft()
                continue
            if self._queue and not self._queued.fits(job, self._bounds):
                return
            self._queued.add(job)
            self._queue.append(self._waiting.popleft())

    def close(self) -> None:
        """Finish what was submitted, end the thread and close the file; blocks."""
        with self._wakeup:
            self._is_closed = True
            self._wakeup.notify()
        self._thread.join()

    def _work(self) -> None:
        try:
            while (group := self._next_group()) is not None:
                if group:
                    self._finish(self._commit(group))
                if time.monotonic() >= self._trim_at:
                    self._trim()
        finally:
            self._store.close()

    def _next_group(self) -> list[Job] | None:
        with self._wakeup:
            if not self._queue and not self._is_closed:
                self._wakeup.wait(IDLE_SECONDS)
            group = list(self._queue)
            self._queue.clear()
            self._queued = _Load()
            self._admit()
            return None if self._is_closed and not group else group

    def _commit(self, group: list[Job]) -> list[Outcome]:
        try:
            with self._store.transaction():
                outcomes = [self._run(job) for job in group]
        except Exception as error:
            if len(group) > 1:
                # One by one: what one room cannot store must not cost another's.
                return [outcome for job in group for outcome in self._commit([job])]
            return [(group[0], None, _failure(error))]
        self.commits += 1
        return outcomes

    def _run(self, job: Job) -> Outcome:
        try:
            return job, job.run(self._store), None
        except VibeError as refusal:
            return job, None, refusal

    def _finish(self, outcomes: list[Outcome]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[Outcome]] = {}
        for outcome in outcomes:
            by_loop.setdefault(outcome[0].loop, []).append(outcome)
        for loop, some in by_loop.items():
            try:
                loop.call_soon_threadsafe(_answer, some)
            except RuntimeError:
                logger.debug("room log: the loop that waited is closed")

    def _trim(self) -> None:
        try:
            with self._store.transaction():
                deleted = self._store.trim(self._retention, self._clock())
        except Exception as error:  # the thread must live on
            logger.warning("room log: retention has to wait: %s", error)
            deleted = 0
        if not deleted:
            self._trim_at = time.monotonic() + TRIM_EVERY_SECONDS


@dataclass(slots=True)
class _Load:
    entries: int = field(default=0)
    size_bytes: int = field(default=0)

    def fits(self, job: Job, bounds: QueueBounds) -> bool:
        return (
            self.entries + job.entries <= bounds.entries
            and self.size_bytes + job.size_bytes <= bounds.size_bytes
        )

    def add(self, job: Job) -> None:
        self.entries += job.entries
        self.size_bytes += job.size_bytes


def _failure(error: Exception) -> NotStoredError:
    if isinstance(error, sqlite3.Error):
        logger.error("room log: not stored: %s", error)
        return NotStoredError(f"the disk refuses the room log: {error}")
    logger.error("room log: not stored", exc_info=error)
    return NotStoredError(f"the room log failed: {type(error).__name__}")


def _answer(outcomes: list[Outcome]) -> None:
    for job, result, failure in outcomes:
        if failure is None and job.on_done is not None:
            job.on_done()
        if job.future.done():
            continue
        if failure is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(failure)
