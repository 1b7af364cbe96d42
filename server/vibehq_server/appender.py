"""
How a room's entries reach its log: numbered at once, stored in groups, then let out.

``append`` is synchronous. One task at a time hands what waits to the room log; the
gate holds the room's output until it is stored. If the log refuses, everything that
was not stored is dropped, and the room is told to be what its log says. Until the log
takes entries again the room refuses them, and goes on answering readers.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from vibehq_nb.core.answers import Answered
from vibehq_nb.core.codec import encode
from vibehq_nb.core.errors import NotStoredError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import Entry, EventLog
from vibehq_nb.core.messages import Message
from vibehq_nb.core.saved import Saved
from vibehq_server.gate import OutputGate
from vibehq_server.room_logs.port import Opened, Term

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000
MAX_WAITING_BYTES = 16 * 1024 * 1024
FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 5.0
REFUSED = "the log refused an entry; nothing of it happened"


class _Pending(NamedTuple):
    entry: Entry
    message: Message
    since: float


class Appender:
    """
    The writing end of one room's log.

    Args:
        key: The room.
        hub: Owns the storing task, knows the room log, and counts the latencies.
        on_stored: Called for each entry once stored, in order; must not append.
        reload: Makes the room anew from its log, after a refusal.
        after_batch: Called when all that was appended is stored.
        before_batch: Awaited before entries go to the log; if it fails, so do they.
    """

    def __init__(
        self,
        key: RoomKey,
        hub: "Hub",
        on_stored: Callable[[Entry, Message], None],
        reload: Callable[[], Awaitable[None]],
        after_batch: Callable[[], Awaitable[None]],
        before_batch: Callable[[], Awaitable[None]],
    ) -> None:
        """Wait for :meth:`begin`."""
        self._key = key
        self._hub = hub
        self._on_stored = on_stored
        self._reload = reload
        self._after_batch = after_batch
        self._before_batch = before_batch
        self.gate = OutputGate()
        self.log = EventLog(str(key), "")
        self._term = Term(0)
        self._waiting: list[_Pending] = []  # over a bound: append refuses
        self._waiting_bytes = 0
        self._storing: deque[_Pending] = deque()  # one batch, bounded as _waiting is
        # One for each hook that waits; by offset, as they came.
        self._settled: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._task: asyncio.Task[Any] | None = None
        self._recovery: asyncio.Task[Any] | None = None
        self._unfollow: Callable[[], None] = lambda: None
        self.is_failing = False
        """Whether the log takes no entries now; readers are answered."""
        self.is_stale = False
        """Whether the room still holds what the log refused."""
        self._is_over = False

    async def begin(self, tail: EventLog, opened: Opened) -> None:
        """Go on after *tail*, the end of the room's log, and own it, now or later."""
        tail.head, tail.head_hash = opened.head, opened.head_hash
        self.log = tail
        self.is_stale = self._is_over = False
        self.gate.drop(opened.head)
        self._unfollow()
        self._unfollow = self._hub.log.follow(self._key, self._stored)
        try:
            await self._claim()
        except NotStoredError as error:
            self._fail(error)

    async def _claim(self) -> None:
        self._term = await self._hub.log.claim(self._key)
        self.is_failing = False

    async def end(self) -> None:
        """Wait until what was appended is stored, at most 5 s, and stop following."""
        try:
            async with asyncio.timeout(5):
                await self.committed()
        except (NotStoredError, TimeoutError):
            logger.error("%s: stopped with entries that are not stored", self._key)
        self._is_over = True
        if self._recovery is not None:
            self._recovery.cancel()  # a room that is gone must not take its log back
        self._unfollow()

    def append(self, message: Message, at_ms: int) -> tuple[int, Message]:
        """
        Number *message*, queue it for the log, and return its offset and itself.

        Raises:
            NotStoredError: If the log is failing, or too much waits to be stored.
        """
        # What a message has led to is noted whenever the message was taken.
        is_refused = self._is_full() and not isinstance(message, Answered)
        if self.is_failing or is_refused:
            raise NotStoredError("the log does not take entries now")
        offset = self.log.head + 1
        message = msgspec.structs.replace(message, offset=offset)
        entry = self.log.append(encode(message), at_ms)
        self._waiting.append(_Pending(entry, message, time.perf_counter()))
        self._waiting_bytes += len(entry.body)
        self.gate.appended = offset
        if self._task is None or self._task.done():
            self._task = self._hub.spawn(self._store(), f"log of {self._key}")
        return offset, message

    def _is_full(self) -> bool:
        is_long = len(self._waiting) >= MAX_WAITING
        return is_long or self._waiting_bytes >= MAX_WAITING_BYTES

    async def _store(self) -> None:
        while self._waiting:
            if await self._commit() and not self._waiting:
                await self._rest()

    async def _commit(self) -> bool:
        """Store what waits; tell whether the log took it."""
        batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._storing.extend(batch)
        try:
            await self._before_batch()
            entries = [pending.entry for pending in batch]
            await self._hub.log.append(self._key, self._term, entries)
        except Exception as error:
            self._lose(error)
            return False
        return True

    async def _rest(self) -> None:
        try:
            await self._after_batch()
        except Exception as error:
            # A state that is not saved costs a longer start, and nothing else.
            logger.error("%s: the state could not be saved: %s", self._key, error)

    async def save(self, offset: int, state: bytes, at_ms: int) -> None:
        """
        Keep *state* as the state at *offset*, its hash in the log before it.

        For ``after_batch`` alone, when all that was appended is stored.

        Raises:
            NotStoredError: If the log is failing, or refuses the state.
        """
        self.append(Saved.of(offset, state), at_ms)
        if await self._commit():
            await self._hub.log.save(self._key, offset, state)

    def _stored(self, entries: Sequence[Entry]) -> None:
        now = time.perf_counter()
        for entry in entries:
            if entry.offset > self.gate.appended:
                self._lose(NotStoredError("another owner has appended to this log"))
                return
            if self._storing and self._storing[0].entry.offset == entry.offset:
                pending = self._storing.popleft()
                self._hub.append_seconds.observe(now - pending.since)
                self._tell(entry, pending.message)
            self.gate.release(entry.offset)
        while self._settled and self._settled[0][0] <= self.gate.stored:
            _, future = self._settled.popleft()
            if not future.done():
                future.set_result(None)

    def _tell(self, entry: Entry, message: Message) -> None:
        try:
            self._on_stored(entry, message)
        except Exception:  # those who wait for later entries are not to suffer
            logger.exception("%s: entry %d was not passed on", self._key, entry.offset)

    # When the log refuses

    def _lose(self, error: Exception) -> None:
        self.is_stale = True
        self._waiting, self._waiting_bytes = [], 0
        self._storing.clear()
        settled, self._settled = self._settled, deque()
        for _, future in settled:
            if not future.done():
                future.set_exception(NotStoredError(REFUSED))
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self.is_failing:
            logger.error("%s: the log takes no entries: %s", self._key, error)
        self.is_failing = True
        is_recovering = self._recovery is not None and not self._recovery.done()
        if not (is_recovering or self._is_over):
            self._recovery = self._hub.spawn(self._recover(), f"mend {self._key}")

    async def _recover(self) -> None:
        delay, last = 0.0, ""
        while self.is_failing:
            await asyncio.sleep(delay)
            delay = min(delay * 2 or FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
            try:
                await (self._reload() if self.is_stale else self._claim())
            except Exception as error:
                if str(error) != last:  # once, not each 5 s through a night
                    logger.error("%s: still failing: %s", self._key, error)
                last = str(error)
        logger.warning("%s: the log takes entries again", self._key)

    # Reading

    async def committed(self) -> None:
        """
        Wait until everything appended so far is stored.

        Raises:
            NotStoredError: If the log refused some of it.
        """
        if self.is_stale:
            raise NotStoredError(REFUSED)
        if self.gate.is_open:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settled.append((self.gate.appended, future))
        await future
