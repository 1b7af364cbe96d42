"""Room logs in memory: for tests and rooms that may be forgotten; same contract."""

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vibehq_nb.core.errors import GapError, NotStoredError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import FIRST_HASH, Entry
from vibehq_server.room_logs.following import refuse_strangers
from vibehq_server.room_logs.port import FencedError, Opened, Term

logger = logging.getLogger(__name__)

Follower = Callable[[Sequence[Entry]], None]


@dataclass(slots=True)
class _Room:
    epoch: str
    term: int = 0
    oldest: int = 0
    head: int = 0
    head_hash: bytes = FIRST_HASH
    entries: list[Entry] = field(default_factory=list)
    saved_offset: int = 0
    saved_state: bytes | None = None


class Followers:
    """Who is told of stored entries, by room."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._by_room: dict[RoomKey, list[Follower]] = {}

    def add(self, room: RoomKey, callback: Follower) -> Callable[[], None]:
        """Tell *callback* from now on; the returned function ends it."""
        callbacks = self._by_room.setdefault(room, [])
        callbacks.append(callback)

        def end() -> None:
            if callback in callbacks:
                callbacks.remove(callback)
            if not callbacks and self._by_room.get(room) is callbacks:
                del self._by_room[room]

        return end

    def tell(self, room: RoomKey, entries: Sequence[Entry]) -> None:
        """Call everybody; one that raises does not keep the others from it."""
        for callback in tuple(self._by_room.get(room, ())):
            try:
                callback(entries)
            except Exception:
                logger.exception("%s: a follower failed", room)


class MemoryRoomLog:
    """
    Keeps logs as long as this object lives; nothing is trimmed but by :meth:`trim`.

    While ``is_full`` is set nothing is written, as on a full disk; reads go on.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.is_full = False
        self._rooms: dict[RoomKey, _Room] = {}
        self._followers = Followers()
        self._is_closed = False

    def _room(self, room: RoomKey) -> _Room:
        return self._rooms.setdefault(room, _Room(epoch=secrets.token_hex(8)))

    def _refuse_writes(self) -> None:
        if self._is_closed or self.is_full:
            raise NotStoredError("the room log takes no entries")

    async def open(self, room: RoomKey) -> Opened:
        """Return where *room* stands; creates it with a new epoch if need be."""
        kept = self._room(room)
        return Opened(
            kept.epoch,
            kept.head,
            kept.head_hash,
            kept.oldest,
            kept.saved_offset,
            kept.saved_state,
        )

    async def claim(self, room: RoomKey) -> Term:
        """Become the owner of *room*; a memory log has one server, so it is free."""
        self._refuse_writes()
        kept = self._room(room)
        kept.term += 1
        return Term(kept.term)

    async def append(self, room: RoomKey, term: Term, entries: Sequence[Entry]) -> int:
        """
        Keep *entries*, all or none, and return the head.

        Raises:
            FencedError: If *term* is not the latest claim.
            NotStoredError: If they do not follow the head, while ``is_full``, or
                after :meth:`close`.
        """
        self._refuse_writes()
        kept = self._room(room)
        if term != kept.term:
            raise FencedError(f"a later claim took {room}")
        refuse_strangers(room, kept.head, kept.head_hash, entries)
        if entries:
            kept.entries.extend(entries)
            kept.head, kept.head_hash = entries[-1].offset, entries[-1].hash
            self._followers.tell(room, entries)
        return kept.head

    async def read(self, room: RoomKey, after: int, limit: int) -> list[Entry]:
        """
        Return at most *limit* entries after offset *after*, oldest first.

        Raises:
            GapError: If some of them are no longer kept.
        """
        kept = self._room(room)
        if after < kept.oldest:
            raise GapError(after, kept.oldest)
        start = after - kept.oldest
        return kept.entries[start : start + limit]

    async def size(self, room: RoomKey) -> int:
        """Return how many bytes the entries of *room* that are kept have."""
        return sum(len(entry.body) for entry in self._room(room).entries)

    def follow(self, room: RoomKey, callback: Follower) -> Callable[[], None]:
        """Call *callback* with entries once kept, in order, until ended."""
        return self._followers.add(room, callback)

    async def save(self, room: RoomKey, offset: int, state: bytes) -> None:
        """Keep *state* as the state at *offset*, in place of what was kept before."""
        self._refuse_writes()
        kept = self._room(room)
        if offset > kept.head:
            raise NotStoredError(f"offset {offset} is ahead of the head of {room}")
        if offset >= kept.saved_offset:
            kept.saved_offset, kept.saved_state = offset, state

    async def trim(self, room: RoomKey, oldest: int) -> None:
        """Forget the entries up to *oldest*, as retention does."""
        kept = self._room(room)
        drop = min(oldest, kept.head) - kept.oldest
        if drop > 0:
            del kept.entries[:drop]
            kept.oldest += drop

    async def close(self) -> None:
        """Take no more entries; what is kept can still be read."""
        self._is_closed = True

    def reopen(self) -> None:
        """Take entries again, for the next server, as a file would."""
        self._is_closed = False
