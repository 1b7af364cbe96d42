"""
What a scan reports, which finding is which, and what changed since the last scan.

Everything here is data and rules over data. Times are aware UTC datetimes that come
in as arguments; on the wire they are RFC 3339. Which finding is which is decided by
its fingerprint alone: the rule, the resource and a stable sub-key, never a time, a
process id, a count or a message.
"""

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from vibehq_nb.core.resources import Resource, fingerprint, scope_width
from vibehq_nb.core.severity import Severity

MAX_EVIDENCE = 5
MAX_SAMPLE = 400
"""Characters."""
REOPEN_WITHIN = timedelta(days=30)
"""A finding that returns this soon is the old one, reopened; after it, a new one."""

State = Literal["new", "persisting", "updated", "resolved", "unknown", "reopened"]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was seen: redacted, at most 400 characters."""

    kind: str
    path: str = ""
    line: int | None = None
    sample: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a detector reports, not yet compared with an earlier scan."""

    rule: str
    title: str
    severity: Severity
    resource: Resource
    host: str
    measured: float | None = None
    threshold: float | None = None
    unit: str = ""
    evidence: tuple[Evidence, ...] = ()
    remediation: str = ""
    runbook: str | None = None
    sub_key: str = ""
    """Tells apart findings of one rule on one resource; must be stable."""
    hold: bool = False
    """Too weak to be raised, too strong to clear: keeps an open finding open."""

    @property
    def fingerprint(self) -> str:
        """The stable identity across scans: ``v1:`` and 16 hexadecimal digits."""
        return fingerprint(self.rule, self.resource.uid, self.sub_key)


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """
    How far one detector looked at one scope.

    ``resource_scope`` is a resource's uid, or the beginning of many followed by
    ``*``. Only what was ``scanned`` and not found counts as resolved.
    """

    detector: str
    resource_scope: str
    status: Literal["scanned", "skipped", "failed", "truncated"]
    reason: str = ""


class ScanResult(msgspec.Struct, frozen=True, kw_only=True):
    """One scan of one host, from start to end."""

    scan_id: str
    scope: Literal["incremental", "full"]
    on: str
    processed_logs: int
    """Log lines that were read."""
    issues_filed: int
    """Findings that are new; 0 until the scan is compared with the one before."""
    status: Literal["completed", "failed"]
    started_at: datetime
    completed_at: datetime
    coverage: tuple[Coverage, ...] = ()
    findings: tuple[Finding, ...] = ()


class TrackedFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding over time; ``count`` is the number of scans that saw it."""

    id: str
    finding: Finding
    state: State
    first_seen: datetime
    last_seen: datetime
    resolved_at: datetime | None = None
    count: int = 1

    @property
    def is_open(self) -> bool:
        """Whether it still stands, as far as is known."""
        return self.state != "resolved"


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """What one scan changed; each list is ordered by fingerprint."""

    new: tuple[TrackedFinding, ...] = ()
    persisting: tuple[TrackedFinding, ...] = ()
    updated: tuple[TrackedFinding, ...] = ()
    resolved: tuple[TrackedFinding, ...] = ()
    unknown: tuple[TrackedFinding, ...] = ()
    reopened: tuple[TrackedFinding, ...] = ()
    changes: tuple[TrackedFinding, ...] = ()
    """What readers must be told: all of the above but what stands as it stood."""
    tracked: dict[str, TrackedFinding] = {}
    """Everything known after the scan, by fingerprint: the next ``previous``."""


def diff(
    previous: Mapping[str, TrackedFinding],
    found: Iterable[Finding],
    coverage: Sequence[Coverage],
    now: datetime,
) -> Diff:
    """
    Compare what was *found* with what was known.

    A known finding that was not found is resolved only where its detector looked
    at its resource; elsewhere it becomes unknown. What was resolved more than 30
    days ago is forgotten. A finding with ``hold`` never opens anything.

    Args:
        previous: What was known, by fingerprint, resolved findings included.
        found: The findings of this scan, in any order.
        coverage: How far each detector looked.
        now: The time of the scan, UTC.
    """
    merged = _merge(found)
    tracked: dict[str, TrackedFinding] = {}
    for key in sorted({*previous, *merged}):
        after = _step(previous.get(key), merged.get(key), coverage, now)
        if after is not None:
            tracked[key] = after
    return _collect(previous, tracked)


def is_covered(finding: Finding, coverage: Iterable[Coverage]) -> bool:
    """Tell whether the finding's detector looked; the narrowest scope decides."""
    uid = finding.resource.uid
    # Of two entries for the same scope the worse one counts.
    width, was_missed = max(
        (
            (scope_width(entry.resource_scope, uid), entry.status != "scanned")
            for entry in coverage
            if entry.detector == finding.rule
        ),
        default=(-1, True),
    )
    return width >= 0 and not was_missed


def measured_band(finding: Finding) -> int | None:
    """
    Return the coarse step of what was measured; a change of it is an update.

    Percentages move in steps of five points, everything else in doublings; what is
    beyond all numbers is one band.
    """
    if finding.measured is None:
        return None
    is_percent = finding.unit == "%"
    steps = finding.measured / (5 if is_percent else finding.threshold or 1)
    if not math.isfinite(steps):
        return sys.float_info.max_exp
    if is_percent:
        return math.floor(steps)
    return math.floor(math.log2(steps)) if steps > 0 else 0


_COLUMNS: dict[str, Callable[[TrackedFinding], Any]] = {
    "severity": lambda tracked: tracked.finding.severity.value,
    "state": lambda tracked: tracked.state,
    "title": lambda tracked: tracked.finding.title,
    "resource": lambda tracked: tracked.finding.resource.name,
    "host": lambda tracked: tracked.finding.host,
    "rule": lambda tracked: tracked.finding.rule,
    "first_seen": lambda tracked: tracked.first_seen,
    "last_seen": lambda tracked: tracked.last_seen,
    "count": lambda tracked: tracked.count,
    "runbook": lambda tracked: tracked.finding.runbook,
    "id": lambda tracked: tracked.id,
}
FINDING_COLUMNS = tuple(_COLUMNS)


def finding_row(tracked: TrackedFinding) -> dict[str, Any]:
    """Return the finding as one row of a table, keys as in FINDING_COLUMNS."""
    return {name: value_of(tracked) for name, value_of in _COLUMNS.items()}


def _merge(found: Iterable[Finding]) -> dict[str, Finding]:
    """Keep the strongest of the findings that are the same one."""
    merged: dict[str, Finding] = {}
    for finding in found:
        key = finding.fingerprint
        if key not in merged or _strength(finding) > _strength(merged[key]):
            merged[key] = finding
    return merged


def _strength(finding: Finding) -> tuple[bool, int, float, bytes]:
    measured = -math.inf if finding.measured is None else finding.measured
    # The encoding makes the choice the same in whatever order they come.
    encoded = msgspec.json.encode(finding)
    return not finding.hold, finding.severity.rank, measured, encoded


def _step(
    before: TrackedFinding | None,
    finding: Finding | None,
    coverage: Sequence[Coverage],
    now: datetime,
) -> TrackedFinding | None:
    if finding is not None and not (finding.hold and not (before and before.is_open)):
        return _seen(before, finding, now)
    if before is None:
        return None
    if not before.is_open:
        return None if _is_stale(before, now) else before
    if is_covered(before.finding, coverage):
        return msgspec.structs.replace(before, state="resolved", resolved_at=now)
    return msgspec.structs.replace(before, state="unknown")


def _seen(
    before: TrackedFinding | None, finding: Finding, now: datetime
) -> TrackedFinding:
    if before is None or (not before.is_open and _is_stale(before, now)):
        key = finding.fingerprint
        return TrackedFinding(
            id=key, finding=finding, state="new", first_seen=now, last_seen=now
        )
    state: State = "persisting"
    if not before.is_open:
        state = "reopened"
    elif (before.finding.severity, measured_band(before.finding)) != (
        finding.severity,
        measured_band(finding),
    ):
        state = "updated"
    return TrackedFinding(
        id=before.id,
        finding=finding,
        state=state,
        first_seen=before.first_seen,
        last_seen=now,
        count=before.count + 1,
    )


def _is_stale(tracked: TrackedFinding, now: datetime) -> bool:
    return tracked.resolved_at is not None and now - tracked.resolved_at > REOPEN_WITHIN


def _collect(
    previous: Mapping[str, TrackedFinding], tracked: dict[str, TrackedFinding]
) -> Diff:
    lists: dict[State, list[TrackedFinding]] = {}
    changes: list[TrackedFinding] = []
    for key, after in tracked.items():
        before = previous.get(key)
        if after is before:
            continue
        lists.setdefault(after.state, []).append(after)
        if _is_news(before, after):
            changes.append(after)
    groups: dict[str, Any] = {state: tuple(some) for state, some in lists.items()}
    return Diff(**groups, changes=tuple(changes), tracked=tracked)


def _is_news(before: TrackedFinding | None, after: TrackedFinding) -> bool:
    """Tell whether a reader sees a difference; leaving ``unknown`` is one."""
    was_unknown = before is not None and before.state == "unknown"
    if after.state == "persisting":
        return was_unknown
    return not (after.state == "unknown" and was_unknown)
