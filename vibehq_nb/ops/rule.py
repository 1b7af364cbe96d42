"""What a rule is, what a probe is given and what an examination returns."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from vibehq_nb.core.findings import Coverage, Finding
from vibehq_nb.core.severity import Severity

Kind = Literal["disk", "processes", "logs"]
Scope = Literal["incremental", "full"]
CoverageStatus = Literal["scanned", "skipped", "failed", "truncated"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the rule table: what it finds and what it may cost."""

    code: str
    title: str
    kind: Kind
    type: Literal["performance", "stability"]
    cost: Literal["low", "medium", "high"]
    deadline_seconds: float
    remediation: str
    runbook: str | None = None


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Only what happened in ``[start, end)`` counts; aware datetimes, or open."""

    start: datetime | None = None
    end: datetime | None = None

    def holds(self, seconds: float) -> bool:
        """Tell whether the Unix time *seconds* is inside."""
        if self.start is not None and seconds < self.start.timestamp():
            return False
        return self.end is None or seconds < self.end.timestamp()


class Deadline:
    """A moment on the monotonic clock after which a probe stops by itself."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.remaining == 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """What an examination is given."""

    host: str
    now: datetime
    deadline: Deadline
    logs: tuple[str, ...] = ()
    scope: Scope = "full"
    state: Path | None = None
    time_range: TimeRange | None = None
    announce: Callable[[int], None] = lambda steps: None
    """Say once how many steps of about equal cost lie ahead."""
    advance: Callable[[int], None] = lambda steps: None
    """Say that some of them are done."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an examination returns."""

    findings: list[Finding] = field(default_factory=list)
    coverage: list[Coverage] = field(default_factory=list)
    processed_logs: int = 0


def cover(
    rules: Iterable[Rule], scope: str, status: CoverageStatus, reason: str = ""
) -> list[Coverage]:
    """Return one coverage entry per rule for the same scope."""
    return [
        Coverage(detector=rule.code, resource_scope=scope, status=status, reason=reason)
        for rule in rules
    ]


def level_of(
    measured: float, levels: Sequence[tuple[float, Severity]]
) -> tuple[float, Severity] | None:
    """Return the highest of *levels* (lowest first) that *measured* reaches."""
    reached = [level for level in levels if measured >= level[0]]
    return reached[-1] if reached else None
