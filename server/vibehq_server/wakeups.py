"""What a room is woken for: its one alarm, and its scheduled tasks; all durable."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from vibehq_nb.core.errors import DeniedError, NotStoredError, UsageError
from vibehq_nb.core.schedule import Kind, ScheduledTask, after_run, next_run
from vibehq_server.calls import RoomStub
from vibehq_server.ledger import Ledger
from vibehq_server.storage import OWN, KeyValues, Stored, encode_value

if TYPE_CHECKING:
    from vibehq_server.room import Room

logger = logging.getLogger(__name__)

ALARM = f"{OWN}alarm"
TASKS = f"{OWN}task/"
MAX_TASKS = 1000
MAX_ID = 256
MAX_ALARM_TRIES = 6
CALLBACK_SECONDS = 60.0


class Wakeups:
    """The alarm and the scheduled tasks of one room."""

    def __init__(self, room: "Room", ledger: Ledger) -> None:
        """Keep them in *ledger*; wake *room* through its hub."""
        self._room, self._ledger = room, ledger
        self._is_ringing = False
        self._was_reset = False

    @property
    def _now(self) -> float:
        return self._room.hub.clock()

    async def _kept(self) -> KeyValues:
        await self._ledger.storage.get(ALARM)  # opens the log
        return self._ledger.kept

    # The alarm

    async def alarm(self) -> datetime | None:
        """Return when the alarm rings; None while it rings, or if there is none."""
        found = (await self._kept()).get(ALARM)
        if found is None or (self._is_ringing and not self._was_reset):
            return None
        return datetime.fromtimestamp(found["at"], UTC)

    async def set_alarm(self, when: datetime | None) -> None:
        """
        Let the alarm ring at *when*, in place of the one before; None removes it.

        Raises:
            UsageError: If *when* has no time zone.
        """
        if when is None:
            await self._change(delete=[ALARM])
        else:
            await self._change(put={ALARM: {"at": _seconds(when), "tries": 0}})
        self._was_reset = True

    # Tasks

    async def schedule(
        self,
        callback: str | Callable[..., Any],
        *,
        when: datetime | None = None,
        delay: float | None = None,
        cron: str | None = None,
        timezone: str = "UTC",
        payload: Any = None,
        id: str | None = None,
        description: str = "",
        room: str = "",
    ) -> ScheduledTask:
        """Schedule *callback*; see :meth:`Room.schedule`."""
        name = callback if isinstance(callback, str) else callback.__name__
        if not room and not callable(getattr(self._room, name, None)):
            raise UsageError(f"{type(self._room).__name__} has no method {name}")
        if room:
            try:
                self._other(room)
            except DeniedError as error:
                raise UsageError(f"{room} is no room: {error.reason}") from None
        if sum(given is not None for given in (when, delay, cron)) > 1:
            raise UsageError("give one of when, delay and cron")
        kind, due = self._time(when, delay, cron, timezone)
        task_id = secrets.token_hex(8) if id is None else id
        if not 1 <= len(task_id) <= MAX_ID:
            raise UsageError(f"the id of a task has 1 to {MAX_ID} characters")
        task = ScheduledTask(
            id=task_id,
            kind=kind,
            callback=name,
            room=room,
            due=due,
            cron=cron or "",
            timezone=timezone,
            description=description,
            payload=payload,
        )
        encode_value(f"task {task_id}", msgspec.to_builtins(task))
        kept = await self._kept()
        key = TASKS + task_id
        if key not in kept and len(kept.keys(TASKS)) >= MAX_TASKS:
            raise UsageError(f"a room has at most {MAX_TASKS} scheduled tasks")
        await self._change(put={key: msgspec.to_builtins(task)})
        return task

    def _time(
        self,
        when: datetime | None,
        delay: float | None,
        cron: str | None,
        timezone: str,
    ) -> tuple[Kind, float | None]:
        if when is not None:
            return "at", _seconds(when)
        if delay is not None:
            return "delay", self._now + max(delay, 0.0)
        if cron is not None:
            return "cron", next_run(cron, timezone, self._now)
        return "none", None

    async def tasks(self) -> list[ScheduledTask]:
        """Return the tasks there are, the next one first."""
        found = _tasks(await self._kept())
        return sorted(found, key=lambda t: (t.due is None, t.due or 0.0, t.id))

    async def cancel(self, task_id: str) -> bool:
        """Cancel a task; tell whether there was one."""
        key = TASKS + task_id
        if key not in await self._kept():
            return False
        await self._change(delete=[key])
        return True

    # Ringing

    async def ring(self) -> None:
        """Do all that is due, each in a turn of its own; one failure stops no other."""
        for task in await self.tasks():
            if task.due is not None and task.due <= self._now:
                await self._room.run(self._run_task, task)
        await self._room.run(self._run_alarm)
        self._settle(await self._kept())

    async def _run_task(self, task: ScheduledTask) -> None:
        key = TASKS + task.id
        kept = await self._kept()
        if kept.get(key) != msgspec.to_builtins(task):
            return  # cancelled or replaced while it waited for its turn
        has_failed = not await self._succeeds(
            f"task {task.id}", self._callback(task), task
        )
        if kept.get(key) != msgspec.to_builtins(task):
            return  # the callback itself saw to what comes next
        rest = after_run(task, self._now, has_failed=has_failed)
        if rest is None:
            await self._change(delete=[key])
        else:
            await self._change(put={key: msgspec.to_builtins(rest)})

    def _callback(self, task: ScheduledTask) -> Callable[[ScheduledTask], Any]:
        if not task.room:
            return lambda due: getattr(self._room, due.callback)(due)
        return lambda due: getattr(self._other(due.room), due.callback)(due)

    def _other(self, room: str) -> RoomStub:
        party, _, name = room.partition("/")
        return self._room.get_room(party, name)

    async def _run_alarm(self) -> None:
        found = (await self._kept()).get(ALARM)
        if found is None or found["at"] > self._now:
            return
        self._is_ringing, self._was_reset = True, False
        try:
            succeeded = await self._succeeds("alarm", lambda: self._room.on_alarm())
        finally:
            self._is_ringing = False
        if self._was_reset:
            return
        tries = found["tries"] + 1
        if succeeded or tries >= MAX_ALARM_TRIES:
            await self._change(delete=[ALARM])
        else:
            again = {"at": self._now + 2.0**tries, "tries": tries}
            await self._change(put={ALARM: again})

    async def _succeeds(
        self, what: str, callback: Callable[..., Any], *args: Any
    ) -> bool:
        try:
            async with asyncio.timeout(CALLBACK_SECONDS):
                result = callback(*args)
                if asyncio.iscoroutine(result) or isinstance(result, asyncio.Future):
                    await result
        except DeniedError as error:
            logger.warning("%s: its %s: %s", self._room.key, what, error.reason)
            return error.code == "timeout"  # it has begun, and goes on over there
        except Exception:
            logger.exception("%s: its %s failed", self._room.key, what)
            return False
        return True

    # What follows for the clock

    async def _change(
        self, put: dict[str, Any] | None = None, delete: list[str] | None = None
    ) -> None:
        kept = await self._kept()
        clock = self._room.hub.alarms
        await clock.open()
        earliest = min(
            (due for value in (put or {}).values() if (due := _due(value)) is not None),
            default=None,
        )
        noted = clock.due(self._room.key)
        if earliest is not None and (noted is None or earliest < noted):
            clock.note(self._room.key, earliest)
            self._ledger.store_first(clock.committed)
        await self._ledger.storage.write(Stored(put=put or {}, delete=delete or []))
        self._settle(kept)

    def _settle(self, kept: KeyValues) -> None:
        """Note when the room has to be woken next, now that its log says so."""
        dues = [task.due for task in _tasks(kept) if task.due is not None]
        alarm = kept.get(ALARM)
        if alarm is not None:
            dues.append(alarm["at"])
        try:
            self._room.hub.alarms.note(self._room.key, min(dues, default=None))
        except NotStoredError:
            # The index is early, never late: the room is looked at once too often.
            logger.warning("%s: the alarm index was not updated", self._room.key)


def _tasks(kept: KeyValues) -> list[ScheduledTask]:
    return [msgspec.convert(kept.get(key), ScheduledTask) for key in kept.keys(TASKS)]


def _due(value: dict[str, Any]) -> float | None:
    due: float | None = value.get("at", value.get("due"))
    return due


def _seconds(when: datetime) -> float:
    if when.tzinfo is None:
        raise UsageError("a time needs its time zone: datetime.now(UTC) + …")
    return when.timestamp()
