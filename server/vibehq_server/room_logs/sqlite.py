"""
Room logs in one SQLite file: WAL, ``synchronous=FULL``, one writer, group commit.

What :meth:`SqliteRoomLog.append` returned for is on disk. Neither writes nor reads
run on the event loop.
"""

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from vibehq_nb.core.errors import NotStoredError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import Entry
from vibehq_server.room_logs.folder_lock import FolderInUseError, Lock, lock_folder
from vibehq_server.room_logs.following import AUDITED_PARTIES
from vibehq_server.room_logs.memory import Follower, Followers
from vibehq_server.room_logs.port import Opened, Term
from vibehq_server.room_logs.sqlite_schema import SchemaError
from vibehq_server.room_logs.sqlite_store import BrokenLogError, Retention, Store
from vibehq_server.room_logs.sqlite_writer import GroupWriter, Job, QueueBounds

__all__ = [
    "BrokenLogError",
    "FolderInUseError",
    "Lock",
    "QueueBounds",
    "Retention",
    "SchemaError",
    "SqliteRoomLog",
    "lock_folder",
]

T = TypeVar("T")


class SqliteRoomLog:
    """The durable keeper of one server's room logs."""

    def __init__(
        self,
        path: Path,
        *,
        audited_parties: Collection[str] = AUDITED_PARTIES,
        retention: Retention | None = None,
        clock: Callable[[], float] = time.time,
        bounds: QueueBounds | None = None,
    ) -> None:
        """
        Open or create *path*; hold :func:`lock_folder` on its folder first.

        Args:
            path: The SQLite file; its folder exists.
            audited_parties: Parties whose rooms are never trimmed, and verified from
                their first entry whenever they are opened.
            retention: How much of the other rooms is kept.
            clock: Seconds since 1970, for retention by age.
            bounds: How much may be queued before appends wait.

        Raises:
            SchemaError: If the file is not ours or newer than we are.
            NotStoredError: If it cannot be opened.
        """
        self.path = path
        self._audited_parties = frozenset(audited_parties)
        self._retention = retention or Retention()
        self._clock = clock
        writing = Store(path, self._audited_parties)
        try:
            self._reading = Store(path, self._audited_parties, reads_only=True)
        except BaseException:
            writing.close()
            raise
        self._writer = GroupWriter(writing, self._retention, clock, bounds)
        self._readers = ThreadPoolExecutor(1, "vibehq-room-log-read")
        self._followers = Followers()
        self._is_closed = False

    @property
    def commits(self) -> int:
        """How many groups were committed since the file was opened."""
        return self._writer.commits

    async def open(self, room: RoomKey) -> Opened:
        """
        Return where *room* stands; creates it with a new epoch if need be.

        Raises:
            BrokenLogError: If the room is audited and its chain does not hold.
            NotStoredError: If the disk refuses.
        """
        opened = await self._read(lambda store: store.find(room))
        if opened is None:
            opened = await self._create(room)
        if room.party in self._audited_parties:
            broken = await self.verify(room)
            if broken is not None:
                raise BrokenLogError(room, broken)
        return opened

    async def _create(self, room: RoomKey) -> Opened:
        epoch = secrets.token_hex(8)
        await self._write(lambda store: store.create(room, epoch))
        opened = await self._read(lambda store: store.find(room))
        assert opened is not None
        return opened

    async def claim(self, room: RoomKey) -> Term:
        """Become the owner of *room*: the lock on the folder makes it ours."""
        epoch = secrets.token_hex(8)
        return await self._write(lambda store: store.claim(room, epoch))

    async def append(self, room: RoomKey, term: Term, entries: Sequence[Entry]) -> int:
        """
        Store *entries*, all or none, and return the head once they are durable.

        Appends of one room take effect in the order of their calls. While the queue
        is full the call waits; cancelled meanwhile, it stores nothing.

        Raises:
            FencedError: If *term* is not the latest claim.
            NotStoredError: If they do not follow the head, or the disk refuses.
        """
        batch = tuple(entries)
        return await self._write(
            lambda store: store.append(room, term, batch),
            entries=len(batch),
            size_bytes=sum(len(entry.body) for entry in batch),
            on_done=partial(self._followers.tell, room, batch) if batch else None,
        )

    async def _write(
        self,
        run: Callable[[Store], T],
        *,
        entries: int = 0,
        size_bytes: int = 0,
        on_done: Callable[[], None] | None = None,
    ) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._writer.submit(Job(run, future, loop, entries, size_bytes, on_done))
        return await future

    async def read(self, room: RoomKey, after: int, limit: int) -> list[Entry]:
        """
        Return at most *limit* entries after offset *after*, oldest first.

        Raises:
            GapError: If some of them are no longer kept.
        """
        return await self._read(lambda store: store.read(room, after, limit))

    async def size(self, room: RoomKey) -> int:
        """Return how many bytes the entries of *room* that are kept have."""
        return await self._read(lambda store: store.size(room))

    async def verify(self, room: RoomKey) -> int | None:
        """Return the first offset of *room* whose entry does not follow, or None."""
        return await self._read(lambda store: store.first_broken(room))

    async def _read(self, run: Callable[[Store], T]) -> T:
        if self._is_closed:
            raise NotStoredError("the room log is closed")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._readers, run, self._reading)
        except sqlite3.Error as error:
            raise NotStoredError(f"cannot read {self.path}: {error}") from None

    def follow(self, room: RoomKey, callback: Follower) -> Callable[[], None]:
        """
        Call *callback* on the event loop with entries once stored, in order.

        Returns a function that ends it.
        """
        return self._followers.add(room, callback)

    async def save(self, room: RoomKey, offset: int, state: bytes) -> None:
        """
        Keep *state* as the state at *offset*, unless a later one is kept already.

        Raises:
            NotStoredError: If *offset* is ahead of the head, or the disk refuses.
        """
        await self._write(
            lambda store: store.save(room, offset, state), size_bytes=len(state)
        )

    async def trim(self) -> int:
        """Let go of all that retention no longer keeps; return how many entries."""
        total = 0
        while deleted := await self._write(
            lambda store: store.trim(self._retention, self._clock())
        ):
            total += deleted
        return total

    async def close(self) -> None:
        """Finish what is queued and let go of the file; again is a no-op."""
        if self._is_closed:
            return
        self._is_closed = True
        await asyncio.to_thread(self._close)

    def close_now(self) -> None:
        """Close where no loop runs; blocks. After :meth:`close` a no-op."""
        if not self._is_closed:
            self._is_closed = True
            self._close()

    def _close(self) -> None:
        self._readers.shutdown()
        self._reading.close()
        self._writer.close()
