"""
The log behind one room: opened, folded into state, appended to, saved.

A replicated room opens it when it starts. A plain room has none until its code uses
storage or an alarm, so that rooms which keep nothing cost nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from vibehq_nb.core.answers import Answered, Answers
from vibehq_nb.core.codec import Decoder
from vibehq_nb.core.errors import NotStoredError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import Entry, EventLog
from vibehq_nb.core.messages import Message
from vibehq_nb.core.saved import Saved
from vibehq_server.appender import Appender
from vibehq_server.room_sql import RoomSql, sql_path
from vibehq_server.storage import KeyValues, Storage, Stored

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

SAVE_EVERY = 500


class Folded(Protocol):
    """What a ledger folds entries into: a replicated room."""

    @property
    def entries(self) -> tuple[type[Message], ...]:
        """What the log holds; each has an ``offset`` field."""

    def load(self, state: dict[str, Any]) -> None:
        """Take over a saved state; ``{}`` is the first."""

    def state(self) -> dict[str, Any]:
        """Return the whole state as plain data."""

    def apply(self, message: Message, at_ms: int) -> None:
        """Fold one entry into the state."""

    def on_stored(self, entry: Entry, message: Message) -> None:
        """Act on an entry that is stored."""


class NothingFolded:
    """For a plain room, whose log holds its storage alone."""

    entries: tuple[type[Message], ...] = ()

    def load(self, state: dict[str, Any]) -> None:
        """Ignore it."""

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def apply(self, message: Message, at_ms: int) -> None:
        """Ignore it."""

    def on_stored(self, entry: Entry, message: Message) -> None:
        """Ignore it."""


class Ledger:
    """One room's log, and the state that follows from it."""

    def __init__(
        self,
        key: RoomKey,
        hub: "Hub",
        folded: Folded | None = None,
        reload: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """
        Begin without a log; :meth:`open` opens it.

        Args:
            key: The room.
            hub: Has the room log.
            folded: What entries are folded into.
            reload: Called when the log refused entries: makes the room anew.
        """
        self._key, self._hub = key, hub
        self._folded: Folded = folded or NothingFolded()
        self.appender = Appender(
            key,
            hub,
            self._folded.on_stored,
            reload or self.mend,
            self._after_batch,
            self._before_batch,
        )
        self.answers = Answers()
        self.kept = KeyValues()
        self.storage = Storage(self._opened, self._write, self._open_sql)
        self.is_open = self._is_closed = False
        self.oldest = 0
        """Smallest offset whose successors were all kept when the log was opened."""
        self._opening = asyncio.Lock()
        self._saved_offset = 0
        # As long as one batch makes it, which is bounded itself.
        self._first: list[Callable[[], Awaitable[None]]] = []

    async def open(self) -> None:
        """
        Open the log and fold what it holds into the state; again starts anew.

        Raises:
            NotStoredError: If the disk refuses, or the room was let go: the log is
                another life's by then.
        """
        if self._is_closed:
            raise NotStoredError("this room was let go; the next use makes it anew")
        opened = await self._hub.log.open(self._key)
        saved = msgspec.json.decode(opened.saved_state) if opened.saved_state else {}
        self._folded.load(saved.get("state", {}))
        self.answers = Answers(saved.get("answers"))
        self.kept = KeyValues(saved.get("storage"))
        self._saved_offset = after = opened.saved_offset
        self.oldest = opened.oldest
        decoder = Decoder((*self._folded.entries, Answered, Stored, Saved))
        tail = EventLog(str(self._key), opened.epoch, head=after)
        while entries := await self._hub.log.read(self._key, after, 1000):
            for entry in entries:
                self._fold(decoder.decode(entry.body), entry.at)
            tail.extend(entries)
            after = entries[-1].offset
        await self.appender.begin(tail, opened)
        self.is_open = True

    async def mend(self) -> None:
        """Open the log if it is not open yet, or anew if it refused entries."""
        async with self._opening:
            if not self.is_open or self.appender.is_stale:
                await self.open()

    async def _opened(self) -> KeyValues:
        await self.mend()
        return self.kept

    def append(self, message: Message) -> int:
        """
        Give *message* the next offset, fold it in, and store it.

        Raises:
            NotStoredError: If the log is failing, or too much waits to be stored.
        """
        at_ms = int(self._hub.clock() * 1000)
        if self._is_closed:
            raise NotStoredError("this room was let go; the next use makes it anew")
        offset, message = self.appender.append(message, at_ms)
        self._fold(message, at_ms)
        return offset

    def _fold(self, message: Message, at_ms: int) -> None:
        match message:
            case Answered():
                self.answers.note(message.sender, message.message_id, message.result)
            case Stored():
                self.kept.fold(message)
            case Saved():
                pass
            case _:
                self._folded.apply(message, at_ms)

    async def _write(self, change: Stored) -> None:
        self.append(change)
        await self.committed()

    def store_first(self, other: Callable[[], Awaitable[None]]) -> None:
        """Let what is appended next be stored only after *other* has returned."""
        self._first.append(other)

    async def _before_batch(self) -> None:
        first, self._first = self._first, []
        for other in first:
            await other()

    async def committed(self) -> None:
        """Wait until everything appended so far is stored, or raise NotStoredError."""
        if self.is_open:
            await self.appender.committed()

    async def _after_batch(self) -> None:
        head = self.appender.gate.stored
        if head - self._saved_offset < SAVE_EVERY or not self.appender.gate.is_open:
            return
        state = {
            "state": self._folded.state(),
            "answers": self.answers.as_state(),
            "storage": self.kept.as_state(),
        }
        self._saved_offset = head  # if it fails, the next try is 500 entries later
        at_ms = int(self._hub.clock() * 1000)
        await self.appender.save(head, msgspec.json.encode(state), at_ms)

    def _open_sql(self) -> RoomSql:
        folder = self._hub.sql_folder
        return RoomSql(None if folder is None else sql_path(folder, self._key))

    async def close(self) -> None:
        """Wait until what was appended is stored, and let go."""
        self._is_closed = True
        if self.is_open:
            await self.appender.end()
            self.is_open = False
        await self.storage.close()
