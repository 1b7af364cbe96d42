"""All live rooms by name, the tasks they own, and what they share."""

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.ids import RoomKey, is_room_name
from vibehq_nb.core.messages import Close
from vibehq_server.alarm_clock import AlarmClock
from vibehq_server.append_seconds import AppendSeconds
from vibehq_server.connection import Connection
from vibehq_server.counters import Counters
from vibehq_server.directory import Directory
from vibehq_server.identity import Identity
from vibehq_server.loop_lag import LoopLag
from vibehq_server.mailbox import without_turn
from vibehq_server.members import Members
from vibehq_server.rates import Door
from vibehq_server.recordings.store import RecordingStore
from vibehq_server.room import Room
from vibehq_server.room_logs.port import RoomLog

logger = logging.getLogger(__name__)

TICK_SECONDS = 15.0
REST_CHECK_SECONDS = 5.0
MAX_ROOMS = 10_000
LEAVE_SECONDS = 4.0
"""How long a stop waits for clients to read what is queued, and to go."""

ALIASES = {"terminal-server": "terminal", "ops-monitor-broadcast": "ops"}
"""Party names of PartyServer deployments that are served too."""


class Hub:
    """
    Holds every live room of one server.

    Args:
        parties: Room class by party name.
        log: Keeper of the rooms' logs.
        clock: Seconds since 1970.
        monotonic: Seconds that only grow.
        approvers: Who may decide approvals on this server.
        version: Told to clients.
        sql_folder: Where rooms' SQLite files lie; None keeps them in memory.
        props: What ``on_start`` of every room is given.
    """

    def __init__(
        self,
        parties: Mapping[str, type[Room]],
        log: RoomLog,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        approvers: Callable[[], frozenset[str]] = frozenset,
        version: str = "0",
        sql_folder: Path | None = None,
        props: Mapping[str, Any] | None = None,
    ) -> None:
        """Hold no room yet."""
        self.parties = dict(parties)
        self.log = log
        self.clock = clock
        self.monotonic = monotonic
        self.approvers = approvers
        self.version = version
        self.sql_folder = sql_folder
        self.recordings: RecordingStore | None = None  # none are kept
        self.directory = Directory()
        self.alarms = AlarmClock(self)
        self.append_seconds = AppendSeconds()
        self._props = dict(props or {})
        self.door = Door()
        self.counters = Counters()
        self.lag = LoopLag()
        self._rooms: dict[RoomKey, asyncio.Task[Room]] = {}
        self._asleep: dict[RoomKey, Members] = {}
        self._stopping: dict[RoomKey, asyncio.Task[Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._inside: set[Connection] = set()
        self._left = asyncio.Event()
        self._has_begun = False
        self.is_stopping = False

    async def start(self) -> None:
        """Arm the alarms that were set before a restart."""
        self._begin()
        await self.alarms.open()

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self.spawn(self._tick(), "ticker")
            self.spawn(self._let_rest(), "rest")

    def key(self, party: str, name: str) -> RoomKey:
        """
        Return the key of a room that can exist.

        Raises:
            DeniedError: ``no-such-party`` or ``no-such-room``.
        """
        party = self._party(party)
        if party not in self.parties:
            raise DeniedError("no-such-party", "This server has no such party.")
        if not is_room_name(name):
            raise DeniedError(
                "no-such-room",
                "A room name has 1 to 256 bytes, no slash and no control characters.",
            )
        only = self.parties[party].names
        if only is not None and name not in only:
            raise DeniedError(
                "no-such-room", f"The one room of this party is {', '.join(only)}."
            )
        return RoomKey(party, name)

    def _party(self, name: str) -> str:
        return name if name in self.parties else ALIASES.get(name, name)

    async def room(
        self, party: str, name: str, props: Mapping[str, Any] | None = None
    ) -> Room:
        """
        Return the room, started; the first use starts it, with *props*.

        Raises:
            DeniedError: If there can be no such room, or too many are live.
        """
        key = self.key(party, name)
        task = self._rooms.get(key)
        if task is None:
            self._begin()
            if len(self._rooms) >= MAX_ROOMS and not self._make_place():
                raise DeniedError("too-many-rooms", "Too many rooms are open here.")
            task = self._create_task(self._start(key, props), f"start {key}")
            self._rooms[key] = task
            task.add_done_callback(partial(self._forget_failed, key))
        return await asyncio.shield(task)

    def _forget_failed(self, key: RoomKey, task: asyncio.Task[Room]) -> None:
        # So that the next use tries again.
        has_failed = task.cancelled() or task.exception() is not None
        if has_failed and self._rooms.get(key) is task:
            del self._rooms[key]

    async def _start(self, key: RoomKey, props: Mapping[str, Any] | None) -> Room:
        if (stopping := self._stopping.get(key)) is not None:
            await asyncio.wait([stopping])  # two lives of a room never overlap
        room = self.parties[key.party](key, self)
        room.connections = self._asleep.get(key, room.connections)
        try:
            await room.start({**self._props, **(props or {})})
        except BaseException:
            await room.abandon()
            raise
        self._asleep.pop(key, None)
        return room

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for room in self.live():
                try:
                    room.tick()
                except Exception:
                    logger.exception("%s: its tick failed", room.key)

    # Letting go

    async def _let_rest(self) -> None:
        while True:
            await asyncio.sleep(REST_CHECK_SECONDS)
            for room in self.live():
                if room.may_rest:
                    self.let_go(room)

    def _make_place(self) -> bool:
        """Let go of the room that nobody used for longest; tell whether there was."""
        spare = [
            room
            for room in self.live()
            if not room.connections and not room.stays and not room.is_busy
        ]
        if not spare:
            return False
        self.let_go(min(spare, key=lambda room: room.last_used))
        return True

    def let_go(self, room: Room) -> None:
        """Stop *room*; its connections wait for the next event to start it anew."""
        if self.find(*room.key) is not room:
            return
        del self._rooms[room.key]
        if room.connections:
            self._asleep[room.key] = room.connections
        stopping = self.spawn(room.stop(), f"stop {room.key}")
        self._stopping[room.key] = stopping
        stopping.add_done_callback(lambda _: self._stopping.pop(room.key, None))

    def forget_idle(self, room: Room) -> None:
        """Let go of a room that nobody is in and that holds nothing."""
        if room.is_idle:
            self.let_go(room)

    # Looking around

    def live(self, party: str | None = None) -> list[Room]:
        """Return the started rooms, of one party or all."""
        return [
            task.result()
            for key, task in self._rooms.items()
            if task.done()
            and not task.cancelled()
            and task.exception() is None
            and party in (None, key.party)
        ]

    def find(self, party: str, name: str) -> Room | None:
        """Return the room if it is live."""
        task = self._rooms.get(RoomKey(self._party(party), name))
        if task is None or not task.done() or task.cancelled() or task.exception():
            return None
        return task.result()

    def enter(self, connection: Connection) -> None:
        """Know *connection*: from before it joins until its room has let it go."""
        self._inside.add(connection)

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._inside.discard(connection)
        self._left.set()

    def connections(self) -> list[Connection]:
        """Return every open connection."""
        return list(self._inside)

    def close_sessions(
        self, chosen: Callable[[Identity], bool], code: int = Close.SIGNED_OUT
    ) -> int:
        """Close the connections whose identity is *chosen*; return how many."""
        closed = [c for c in self.connections() if chosen(c.identity)]
        for connection in closed:
            connection.close(code, "signed out")
        return len(closed)

    # Tasks

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Own a task: its failure is logged, and it ends with the hub."""
        task = self._create_task(work, name)
        task.add_done_callback(_log_failure)
        return self.own(task)

    def _create_task(
        self, work: Coroutine[Any, Any, Any], name: str
    ) -> asyncio.Task[Any]:
        # What a hook starts goes on by itself: it is no part of the hook's turn.
        context = contextvars.copy_context()
        context.run(without_turn)
        return asyncio.create_task(work, name=name, context=context)

    def own(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        """Let *task* end with the hub; whoever awaits it sees its failure."""
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def stop(self) -> None:
        """Tell every client to come back, finish what is queued, let the log go."""
        self.is_stopping = True
        for connection in self.connections():
            connection.close(Close.RESTART, "the server restarts")
        try:
            await self._wait_until_empty()
            for is_sink in (False, True):
                chosen = [room for room in self.live() if room.is_sink is is_sink]
                await asyncio.gather(*map(self._stop_room, chosen))
            await asyncio.gather(*self._stopping.values(), return_exceptions=True)
            await self.alarms.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            await self.log.close()

    async def _wait_until_empty(self) -> None:
        # A process that ends at once resets its sockets, and the close codes in them.
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                while self._inside:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            logger.warning("%d clients did not go in time", len(self._inside))

    async def _stop_room(self, room: Room) -> None:
        try:
            await room.stop()
        except Exception:
            logger.exception("%s: its stop failed", room.key)


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s failed", task.get_name(), exc_info=task.exception())
