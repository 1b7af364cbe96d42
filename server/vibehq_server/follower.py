"""
Connections that are behind their room's log, and how they catch up.

What a follower is owed is only a place in the log, so a slow one costs no memory. It
is sent what is stored, in order, as fast as its outbox takes it, while its room goes
on; the moment it has everything it is live again, and is sent what happens.
"""

import logging
from asyncio import get_running_loop
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from vibehq_nb.core.codec import Decoder
from vibehq_nb.core.errors import GapError
from vibehq_nb.core.ids import Position
from vibehq_nb.core.log import Entry, EventLog, Resume, answer
from vibehq_nb.core.messages import Close, Gap, Message, StateSnapshot, Tick
from vibehq_server.connection import Connection
from vibehq_server.frames import encode_frame
from vibehq_server.notices import note_gap, note_resume
from vibehq_server.outbox import OUTBOX_BYTES

if TYPE_CHECKING:
    from vibehq_server.replicated import ReplicatedRoom

logger = logging.getLogger(__name__)

MAX_REPLAY_ENTRIES = 50_000
MAX_REPLAY_BYTES = 4 * 1024 * 1024
"""A client further behind is sent the state, which is shorter, and told the gap."""

FEED_BYTES = OUTBOX_BYTES // 2
"""Catching up leaves the other half of an outbox to answers."""

PAGE_ENTRIES = 200
"""Served in one turn of the loop, so that others get theirs."""

TICK_ROOM_BYTES = 1024


def oldest_replayed(log: EventLog) -> int:
    """Return the smallest offset that is caught up with entry by entry."""
    entries = MAX_REPLAY_ENTRIES
    if log.mean_bytes:  # of those in memory; the others are taken to be alike
        entries = min(entries, int(MAX_REPLAY_BYTES / log.mean_bytes))
    return min(log.oldest, log.head - entries)


@dataclass(eq=False, slots=True)
class Follower:
    """
    How far one connection was served.

    Attributes:
        cursor: Everything up to this offset was sent, or is not for it.
        is_busy: Whether the log is being read for it.
    """

    connection: Connection
    cursor: int
    is_busy: bool = False


class Followers:
    """Those connections of one room that are behind its log."""

    def __init__(self, room: "ReplicatedRoom") -> None:
        """Begin with nobody."""
        self._room = room
        self._decoder = Decoder(room.entries)
        self._followers: dict[Connection, Follower] = {}

    def __len__(self) -> int:
        """Return how many are behind."""
        return len(self._followers)

    def deliver(self, message: Message, frame: bytes, offset: int = 0) -> None:
        """
        Write *frame* to all who want *message* and are not behind.

        It is the entry at *offset*, or without one an ephemeral message. Under the
        policy ``skip``, one without room falls behind at an entry, and goes without
        an ephemeral message; otherwise its outbox closes it.
        """
        room = self._room
        may_lag = room.slow_policy == "skip"
        for connection in self._live():
            if not room.wants(connection, message):
                continue
            if may_lag and not connection.outbox.has_room(len(frame)):
                if offset:
                    self._add(connection, offset - 1)
            elif offset or not connection.is_raw:
                connection.write(frame)

    def _live(self) -> Sequence[Connection]:
        if not self._followers:
            return tuple(self._room.connections)
        return [one for one in self._room.connections if one not in self._followers]

    async def admit(self, connection: Connection, position: Position | None) -> None:
        """Answer a resume from *position*, and send what the connection lacks."""
        room = self._room
        resume, reason = await self._answer(position)
        note_resume(room.hub, room.key, connection, resume, reason)
        connection.send_message(room.connected(connection, resume, reason))
        held = None if position is None else position.offset
        if resume == "resumed" and held is not None:
            cursor = held
        else:
            cursor = room.log.head
            self._paint(connection, held if resume == "snapshot" else None, reason)
        room.connections.add(connection)
        self.follow(connection, cursor)

    async def _answer(self, position: Position | None) -> tuple[Resume, str]:
        room, log = self._room, self._room.log
        resume, reason = answer(position, log.epoch, 0, log.head)
        if resume != "resumed" or position is None:
            return resume, reason
        if position.offset < log.oldest:
            try:
                await room.hub.log.read(room.key, position.offset, 1)
            except GapError:
                return "snapshot", "trimmed"
        if position.offset < oldest_replayed(log):
            return "snapshot", "behind"
        return resume, reason

    def served(self, connection: Connection) -> int:
        """Return up to which offset *connection* was served."""
        follower = self._followers.get(connection)
        return self._room.stored if follower is None else follower.cursor

    def _paint(self, connection: Connection, held: int | None, reason: str) -> None:
        """Send the whole state, after the gap behind what the connection *held*."""
        room, log = self._room, self._room.log
        if held is not None:
            gap = Gap(from_=held, to=log.head, reason=reason)
            note_gap(room.key, connection, gap)
            connection.send_message(gap)
        snapshot = StateSnapshot(epoch=log.epoch, offset=log.head, state=room.state())
        connection.send_message(snapshot)

    def follow(self, connection: Connection, cursor: int) -> None:
        """Send *connection* what follows *cursor*, then a ``tick``; then it is live."""
        self.pump(self._add(connection, cursor))

    def forget(self, connection: Connection) -> None:
        """Let *connection* go."""
        self._followers.pop(connection, None)

    def tick(self) -> None:
        """Tell each how far it was served, if it can take even that."""
        for follower in tuple(self._followers.values()):
            if follower.connection.outbox.has_room(TICK_ROOM_BYTES):
                follower.connection.send_message(Tick(offset=follower.cursor))

    def _add(self, connection: Connection, cursor: int) -> Follower:
        follower = self._followers[connection] = Follower(connection, cursor)
        connection.outbox.on_drain = partial(self.pump, follower)
        return follower

    def pump(self, follower: Follower) -> None:
        """Send the next page of what it is owed, as far as it can take it now."""
        connection, log = follower.connection, self._room.log
        if follower.is_busy or self._followers.get(connection) is not follower:
            return
        if follower.cursor >= self._room.stored:
            self._go_live(follower)
        elif follower.cursor < oldest_replayed(log):
            self._work(follower, self._repaint(follower, "slow"))
        elif follower.cursor < log.oldest:
            self._work(follower, self._read(follower))
        else:
            self._serve(follower, log.since(follower.cursor, PAGE_ENTRIES))

    def _serve(self, follower: Follower, page: Sequence[Entry]) -> None:
        room, connection = self._room, follower.connection
        for entry in page:
            if entry.offset > room.stored:
                break
            if self._is_wanted(connection, entry):
                frame = encode_frame(entry.body, binary=False)
                if not connection.outbox.has_room(len(frame), FEED_BYTES):
                    return  # it is pumped again when its outbox has drained
                connection.write(frame)
            follower.cursor = entry.offset
        if follower.cursor >= room.stored:
            self._go_live(follower)
        else:
            get_running_loop().call_soon(self.pump, follower)

    def _is_wanted(self, connection: Connection, entry: Entry) -> bool:
        if entry.is_internal:
            return False
        return self._room.wants(connection, self._decoder.decode(entry.body))

    def _go_live(self, follower: Follower) -> None:
        connection = follower.connection
        self.forget(connection)
        connection.outbox.on_drain = lambda: None
        connection.send_message(Tick(offset=follower.cursor))

    # What takes its time

    def _work(self, follower: Follower, work: Coroutine[Any, Any, None]) -> None:
        follower.is_busy = True
        self._room.hub.spawn(self._try(follower, work), f"follower of {self._room.key}")

    async def _try(self, follower: Follower, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            logger.exception("%s: the log could not be read", self._room.key)
            follower.connection.close(Close.INTERNAL, "the log could not be read")

    async def _read(self, follower: Follower) -> None:
        room = self._room
        try:
            page = await room.hub.log.read(room.key, follower.cursor, PAGE_ENTRIES)
        except GapError:
            await self._repaint(follower, "trimmed")
            return
        if not page:
            raise LookupError("the log holds less than it said")
        follower.is_busy = False
        self._serve(follower, page)

    async def _repaint(self, follower: Follower, reason: str) -> None:
        await self._room.run(self._repaint_now, follower, reason)

    async def _repaint_now(self, follower: Follower, reason: str) -> None:
        await self._room.committed()
        if self._followers.get(follower.connection) is follower:
            self._paint(follower.connection, follower.cursor, reason)
            self.follow(follower.connection, self._room.log.head)
