"""
Which room has to be woken when: an index over all rooms, kept in a log of its own.

A room's alarm is in the room's log; this index only says which rooms to look at. It
is written first, so a kill in between costs a look at a room that has nothing to do,
never an alarm.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.ids import RoomKey
from vibehq_server.ledger import Ledger
from vibehq_server.storage import Stored

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

logger = logging.getLogger(__name__)

INDEX = RoomKey("_alarms", "main")
"""No address reaches it: no party's name begins with an underscore."""

MAX_SLEEP_SECONDS = 3600.0
"""After so long the time is looked at again: the clock may have been set."""

FIRST_RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 60.0


class AlarmClock:
    """Wakes the rooms of one hub."""

    def __init__(self, hub: "Hub") -> None:
        """Begin asleep; :meth:`open` arms what was set before a restart."""
        self._hub = hub
        self._ledger = Ledger(INDEX, hub, reload=self._mend)
        self._due: dict[RoomKey, float] = {}
        self._timers: dict[RoomKey, asyncio.TimerHandle] = {}
        self._ringing: dict[RoomKey, asyncio.Task[None]] = {}
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Read the index and arm its alarms; again is a no-op."""
        async with self._opening:
            if self._ledger.is_open:
                return
            await self._ledger.open()
            self._arm_all()

    async def _mend(self) -> None:
        """After a refusal: what was not stored is not due either."""
        await self._ledger.mend()
        for room in tuple(self._due):
            self._disarm(room)
        self._arm_all()

    def _arm_all(self) -> None:
        for text in self._ledger.kept.keys(""):
            party, _, name = text.partition("/")
            self._arm(RoomKey(party, name), float(self._ledger.kept.get(text)))

    def due(self, room: RoomKey) -> float | None:
        """Return when *room* is woken next, in seconds since 1970."""
        return self._due.get(room)

    def next_due(self) -> float | None:
        """Return when the next room is woken; None if none is."""
        return min(self._due.values(), default=None)

    async def ring_due(self) -> None:
        """Wake now who is due, as after the clock was set; return when that is done."""
        for room in tuple(self._due):
            self._look(room)
        await asyncio.gather(*self._ringing.values(), return_exceptions=True)

    def note(self, room: RoomKey, due: float | None) -> None:
        """
        Wake *room* at *due*, or not at all; stored with :meth:`committed`.

        Raises:
            NotStoredError: If the log takes nothing.
        """
        is_failing = self._ledger.appender.is_failing
        if self._due.get(room) == due and not is_failing:
            return
        text = str(room)
        if due is None:
            self._ledger.append(Stored(delete=[text]))
            self._disarm(room)
        else:
            self._ledger.append(Stored(put={text: due}))
            self._arm(room, due)

    async def committed(self) -> None:
        """Wait until the index is stored, or raise NotStoredError."""
        await self._ledger.committed()

    def _disarm(self, room: RoomKey) -> None:
        self._due.pop(room, None)
        timer = self._timers.pop(room, None)
        if timer is not None:
            timer.cancel()

    def _arm(self, room: RoomKey, due: float) -> None:
        self._disarm(room)
        self._due[room] = due
        wait = min(max(due - self._hub.clock(), 0.0), MAX_SLEEP_SECONDS)
        loop = asyncio.get_running_loop()
        self._timers[room] = loop.call_later(wait, self._look, room)

    def _look(self, room: RoomKey) -> None:
        due = self._due.get(room)
        if due is None or room in self._ringing:
            return
        if due > self._hub.clock():
            self._arm(room, due)
            return
        ringing = self._hub.spawn(self._ring(room), f"alarm of {room}")
        self._ringing[room] = ringing

    async def _ring(self, key: RoomKey) -> None:
        delay = FIRST_RETRY_SECONDS
        try:
            while not await self._try_to_ring(key):
                await asyncio.sleep(delay)
                delay = min(2 * delay, MAX_RETRY_SECONDS)
        finally:
            del self._ringing[key]
        if (due := self._due.get(key)) is not None:
            self._arm(key, due)

    async def _try_to_ring(self, key: RoomKey) -> bool:
        try:
            self._hub.key(*key)
        except DeniedError as error:
            logger.warning("%s has an alarm and there is no such room: %s", key, error)
            self._disarm(key)  # it stays in the index, for a server that has the room
            return True
        try:
            room = await self._hub.room(*key)
            await room.wakeups.ring()
        except Exception:
            logger.exception("%s: its alarm has to wait", key)
            return False
        return True

    async def close(self) -> None:
        """Ring no more; what is set stays set for the next start."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        await self._ledger.close()
