"""All live rooms by name, the tasks they own, and what they share."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.ids import RoomKey, is_room_name
from vibehq_nb.core.messages import Close
from vibehq_server.connection import Connection
from vibehq_server.directory import Directory
from vibehq_server.identity import Identity
from vibehq_server.room import Room
from vibehq_server.room_logs.port import RoomLog

logger = logging.getLogger(__name__)

TICK_SECONDS = 15.0
MAX_ROOMS = 10_000

ALIASES = {"terminal-server": "terminal", "ops-monitor-broadcast": "ops"}
"""Party names of PartyServer deployments that are served too."""


class Hub:
    """
    Holds every live room of one server.

    Args:
        parties: Room class by party name.
        log: Keeper of the rooms' logs.
        clock: Seconds since 1970.
        approvers: Who may decide approvals on this server.
        version: Told to clients.
    """

    def __init__(
        self,
        parties: Mapping[str, type[Room]],
        log: RoomLog,
        *,
        clock: Callable[[], float] = time.time,
        approvers: Callable[[], frozenset[str]] = frozenset,
        version: str = "0",
    ) -> None:
        """Hold no room yet."""
        self.parties = dict(parties)
        self.log = log
        self.clock = clock
        self.approvers = approvers
        self.version = version
        self.directory = Directory()
        self._rooms: dict[RoomKey, asyncio.Task[Room]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self.is_stopping = False

    def key(self, party: str, name: str) -> RoomKey:
        """
        Return the key of a room that can exist.

        Raises:
            DeniedError: ``no-such-party`` or ``no-such-room``.
        """
        party = ALIASES.get(party, party)
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

    async def room(self, party: str, name: str) -> Room:
        """
        Return the room, started; the first use starts it.

        Raises:
            DeniedError: If there can be no such room, or too many are live.
        """
        key = self.key(party, name)
        task = self._rooms.get(key)
        if task is None:
            if len(self._rooms) >= MAX_ROOMS:
                raise DeniedError("too-many-rooms", "Too many rooms are open here.")
            task = asyncio.create_task(self._start(key), name=f"start {key}")
            self._rooms[key] = task
        try:
            return await asyncio.shield(task)
        except Exception:
            # A failed start is forgotten, so that the next use tries again.
            if self._rooms.get(key) is task:
                del self._rooms[key]
            raise

    async def _start(self, key: RoomKey) -> Room:
        room = self.parties[key.party](key, self)
        await room.run(room.on_start, {})
        if self._ticker is None:
            self._ticker = self.spawn(self._tick(), "ticker")
        return room

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for room in self.live():
                try:
                    room.tick()
                except Exception:
                    logger.exception("%s: its tick failed", room.key)

    def forget_idle(self, room: Room) -> None:
        """Let go of a room that nobody is in and that holds nothing."""
        if room.is_idle and self.find(*room.key) is room:
            del self._rooms[room.key]
            self.spawn(room.stop(), f"stop {room.key}")

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
        task = self._rooms.get(RoomKey(ALIASES.get(party, party), name))
        if task is None or not task.done() or task.exception() is not None:
            return None
        return task.result()

    def spawn(
        self, work: Coroutine[Any, Any, Any] | Awaitable[Any], name: str
    ) -> asyncio.Task[Any]:
        """Own a task: its failure is logged, and it ends with the hub."""
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("%s failed", task.get_name(), exc_info=task.exception())

    def connections(self) -> list[Connection]:
        """Return every open connection."""
        return [c for room in self.live() for c in tuple(room.connections)]

    def close_sessions(
        self, chosen: Callable[[Identity], bool], code: int = Close.SIGNED_OUT
    ) -> int:
        """Close the connections whose identity is *chosen*; return how many."""
        closed = [c for c in self.connections() if chosen(c.identity)]
        for connection in closed:
            connection.close(code, "signed out")
        return len(closed)

    async def stop(self) -> None:
        """Tell every client to come back, finish what is queued, let the log go."""
        self.is_stopping = True
        for connection in self.connections():
            connection.close(Close.RESTART, "the server restarts")
        for room in self.live():
            await room.stop()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.log.close()
