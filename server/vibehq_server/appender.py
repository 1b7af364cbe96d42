"""
How a room's entries reach its log: numbered at once, stored in groups, then let out.

``append`` is synchronous. One task at a time hands what waits to the room log; the
gate holds the room's output until it is stored. If the log refuses, everything that
was not stored is dropped, and the room is told to be what its log says.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from vibehq_nb.core.codec import encode
from vibehq_nb.core.errors import NotStoredError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import Entry, EventLog
from vibehq_nb.core.messages import Message
from vibehq_server.gate import OutputGate
from vibehq_server.room_logs.port import Opened, Term

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000
REFUSED = "the log refused an entry; nothing of it happened"


class Appender:
    """
    The writing end of one room's log.

    Args:
        key: The room.
        hub: Owns the storing task and knows the room log.
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
        self._waiting: deque[tuple[Entry, Message]] = deque()  # full: append refuses
        self._storing: dict[int, Message] = {}
        self._settled: dict[int, asyncio.Future[None]] = {}
        self._task: asyncio.Task[Any] | None = None
        self._unfollow: Callable[[], None] = lambda: None
        self.is_failing = False

    async def begin(self, tail: EventLog, opened: Opened) -> None:
        """Own the room's log and go on after *tail*, its end."""
        self._term = await self._hub.log.claim(self._key)
        tail.head, tail.head_hash = opened.head, opened.head_hash
        self.log = tail
        self.gate.drop(opened.head)
        self.is_failing = False
        self._unfollow()
        self._unfollow = self._hub.log.follow(self._key, self._stored)

    async def end(self) -> None:
        """Wait until what was appended is stored, at most 5 s, and stop following."""
        try:
            async with asyncio.timeout(5):
                await self.committed()
        except (NotStoredError, TimeoutError):
            logger.error("%s: stopped with entries that are not stored", self._key)
        self._unfollow()

    def append(self, message: Message, at_ms: int) -> tuple[int, Message]:
        """
        Number *message*, queue it for the log, and return its offset and itself.

        Raises:
            NotStoredError: If the log is failing, or too much waits to be stored.
        """
        if self.is_failing or len(self._waiting) >= MAX_WAITING:
            raise NotStoredError("the log does not take entries now")
        offset = self.log.head + 1
        message = msgspec.structs.replace(message, offset=offset)
        entry = self.log.append(encode(message), at_ms)
        self._waiting.append((entry, message))
        self.gate.appended = offset
        if self._task is None or self._task.done():
            self._task = self._hub.spawn(self._store(), f"log of {self._key}")
        return offset, message

    async def _store(self) -> None:
        while self._waiting:
            batch = [entry for entry, _ in self._waiting]
            self._storing.update((e.offset, message) for e, message in self._waiting)
            self._waiting.clear()
            try:
                await self._before_batch()
                await self._hub.log.append(self._key, self._term, batch)
            except Exception as error:
                await self._lose(error)
                return
            if not self._waiting:
                await self._rest()

    async def _rest(self) -> None:
        try:
            await self._after_batch()
        except Exception:
            # A state that is not saved costs a longer start, and nothing else.
            logger.exception("%s: the state could not be saved", self._key)

    def _stored(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            message = self._storing.pop(entry.offset, None)
            if message is not None:
                self._on_stored(entry, message)
            self.gate.release(entry.offset)
        for offset in [o for o in self._settled if o <= self.gate.stored]:
            future = self._settled.pop(offset)
            if not future.done():
                future.set_result(None)

    async def _lose(self, error: Exception) -> None:
        logger.error("%s: the log refused an entry: %s", self._key, error)
        self.is_failing = True
        self._waiting.clear()
        self._storing.clear()
        settled, self._settled = self._settled, {}
        for future in settled.values():
            if not future.done():
                future.set_exception(NotStoredError(REFUSED))
        delay = 0.05
        while self.is_failing:
            try:
                await self._reload()
            except Exception as again:
                logger.error("%s: the log cannot be read: %s", self._key, again)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)

    async def committed(self) -> None:
        """
        Wait until everything appended so far is stored.

        Raises:
            NotStoredError: If the log refused some of it.
        """
        if self.is_failing:
            raise NotStoredError(REFUSED)
        if self.gate.is_open:
            return
        offset = self.gate.appended
        future = self._settled.get(offset)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            # Nobody may be waiting any more when the log refuses.
            future.add_done_callback(lambda f: f.cancelled() or f.exception())
            self._settled[offset] = future
        await asyncio.shield(future)
