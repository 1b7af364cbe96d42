"""
One log out of the files it was rotated into, and its records by the time.

Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from vibehq_nb.ops.log_files import LogFile, family_of
from vibehq_nb.ops.log_records import LogFacts, TraceGroup

WINDOW = timedelta(minutes=15)
LOOKBACK = timedelta(hours=24)
UNDATED_WINDOW = 200
"""Of records without a time, so many of the latest are the window."""


@dataclass(frozen=True, slots=True)
class Log:
    """One log: the merged facts of its files."""

    path: str
    facts: LogFacts
    modified: float
    """Unix time of the latest write."""
    incomplete: str = ""
    """Why not all of it was read; empty if it was."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Records of some minutes, and how many of them are errors."""

    records: int = 0
    errors: int = 0
    minutes: float = 0.0

    @property
    def percent(self) -> float:
        """Errors as percent of the records."""
        return 100.0 * self.errors / self.records if self.records else 0.0

    @property
    def per_minute(self) -> float:
        """Errors a minute."""
        return self.errors / self.minutes if self.minutes else 0.0


def merge(files: Iterable[LogFile]) -> list[Log]:
    """Return each log once, its files merged from the oldest to the newest."""
    families: dict[str, list[LogFile]] = {}
    for file in sorted(files, key=lambda file: (file.modified, file.path)):
        families.setdefault(family_of(file.path), []).append(file)
    logs = []
    for family, members in sorted(families.items()):
        facts = LogFacts()
        for member in members:
            facts.merge(member.facts)
        reason = next((file.incomplete for file in members if file.incomplete), "")
        logs.append(Log(family, facts, members[-1].modified, reason))
    return logs


def counts_of(log: Log, now: datetime) -> tuple[Counts, Counts]:
    """Return the counts of the window that ends *now*, and of the day before it."""
    if not log.facts.minutes:
        return _undated_counts(log, now)
    last = int(now.timestamp()) // 60
    split = last - int(WINDOW.total_seconds()) // 60
    first = last - int(LOOKBACK.total_seconds()) // 60
    window = [n for minute, n in log.facts.minutes.items() if split < minute <= last]
    before = {m: n for m, n in log.facts.minutes.items() if first < m <= split}
    span = split - min(before) + 1 if before else 0
    return _sum(window, last - split), _sum(before.values(), span)


def _sum(counts: Iterable[tuple[int, int]], minutes: float) -> Counts:
    pairs = list(counts)
    return Counts(sum(n for n, _ in pairs), sum(e for _, e in pairs), minutes)


def _undated_counts(log: Log, now: datetime) -> tuple[Counts, Counts]:
    if not was_written_within(log, WINDOW, now):
        return Counts(), Counts()
    window = log.facts.undated[-UNDATED_WINDOW:]
    before = log.facts.undated[:-UNDATED_WINDOW]
    return (
        Counts(len(window), window.count("E")),
        Counts(len(before), before.count("E")),
    )


def was_written_within(log: Log, span: timedelta, now: datetime) -> bool:
    """Tell whether the log's newest file was written in the *span* before *now*."""
    return now.timestamp() - log.modified <= span.total_seconds()


def is_window_whole(log: Log, now: datetime) -> bool:
    """Tell whether what was read reaches back to the window's begin."""
    if not log.facts.skipped_bytes:
        return True
    begin = (now - WINDOW).timestamp() // 60
    return bool(log.facts.minutes) and min(log.facts.minutes) <= begin


def recent_traces(log: Log, group: TraceGroup, now: datetime) -> int:
    """Return how often the failure occurred in the last day, to the hour."""
    last = int(now.timestamp()) // 3600
    first = last - int(LOOKBACK.total_seconds()) // 3600
    dated = sum(n for hour, n in group.hours.items() if first < hour <= last)
    is_recent = was_written_within(log, LOOKBACK, now)
    return dated + (group.undated if is_recent else 0)
