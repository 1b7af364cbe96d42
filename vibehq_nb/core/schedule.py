"""
Work that is to happen later: when it is due next, and after a failure.

Pure: times are arguments, aware or in seconds since 1970.
"""

from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from croniter import CroniterBadDateError, croniter

from vibehq_nb.core.errors import UsageError

MAX_TRIES = 5
MAX_RETRY_SECONDS = 300.0

Kind = Literal["at", "delay", "cron", "none"]


class ScheduledTask(msgspec.Struct, frozen=True, kw_only=True):
    """
    One piece of work a room will do.

    Attributes:
        id: Its name in the room; the same name again replaces it.
        kind: How it was timed; ``none`` waits for nobody and never runs.
        callback: The method that is called with the task.
        room: ``party/name`` of another room whose method it is; empty for its own.
        due: Seconds since 1970 of the next run, None for ``none``.
        cron: Five fields, for ``cron``.
        timezone: In which *cron* is read, a name of the IANA database.
        description: For people.
        payload: Plain data for the callback.
        tries: How often the run that is due has failed.
    """

    id: str
    kind: Kind
    callback: str
    room: str = ""
    due: float | None = None
    cron: str = ""
    timezone: str = "UTC"
    description: str = ""
    payload: Any = None
    tries: int = 0

    @property
    def when(self) -> datetime | None:
        """The time of the next run, aware, in UTC."""
        return None if self.due is None else datetime.fromtimestamp(self.due, UTC)


def next_run(cron: str, timezone: str, after: float) -> float:
    """
    Return when *cron* is due next, in seconds since 1970, later than *after*.

    Runs that were missed are one: the next is always in the future.

    Raises:
        UsageError: If *cron* has not five fields that mean something, or there is
            no such time zone.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"there is no time zone {timezone!r}") from None
    if len(cron.split()) != 5 or not croniter.is_valid(cron):
        raise UsageError(
            f"{cron!r} is no schedule; write five fields, such as '0 2 * * *'"
        )
    began = datetime.fromtimestamp(after, zone)
    try:
        found: datetime = croniter(cron, began).get_next(datetime)
    except CroniterBadDateError:
        raise UsageError(f"{cron!r} is never due") from None
    return found.timestamp()


def after_run(
    task: ScheduledTask, now: float, *, has_failed: bool
) -> ScheduledTask | None:
    """
    Return what is left of *task* after a run, None for nothing.

    A run that failed is tried again after 1, 2, 4 … seconds, five times in all; then
    a cron goes on with its next run and everything else is given up.
    """
    if has_failed and task.tries + 1 < MAX_TRIES:
        wait = min(2.0**task.tries, MAX_RETRY_SECONDS)
        return msgspec.structs.replace(task, due=now + wait, tries=task.tries + 1)
    if task.kind != "cron":
        return None
    due = next_run(task.cron, task.timezone, now)
    return msgspec.structs.replace(task, due=due, tries=0)
