"""A scan that runs: what its workers said so far, and what it comes to. No I/O."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from vibehq_nb.core.findings import (
    Coverage,
    Diff,
    Finding,
    TrackedFinding,
    diff,
)
from vibehq_nb.core.messages import (
    FindingCreated,
    FindingResolved,
    FindingUpdated,
    Message,
    ScanFailed,
    ScanResult,
    WorkerScanResult,
)
from vibehq_server.rooms.ops_board import FindingsSeen, Known
from vibehq_server.rooms.ops_claims import claim
from vibehq_server.rooms.ops_filters import ScanFilters, is_kind

logger = logging.getLogger(__name__)

GROUPS = ("new", "persisting", "updated", "resolved", "unknown", "reopened")


@dataclass(frozen=True, slots=True)
class Report:
    """What one worker found."""

    result: WorkerScanResult
    findings: tuple[Finding, ...]
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one worker has no result."""

    code: str
    message: str


def decode_report(result: WorkerScanResult) -> Report:
    """
    Return a worker's result with its findings and coverage decoded.

    Raises:
        msgspec.ValidationError: If one of them is wrong.
    """
    return Report(
        result,
        msgspec.convert(result.findings, tuple[Finding, ...]),
        msgspec.convert(result.coverage, tuple[Coverage, ...]),
    )


@dataclass(slots=True)
class RunningScan:
    """
    A scan between its start and its one end.

    Attributes:
        outcomes: What each worker that is done said.
        spoke_at: When each worker's progress was last passed on, in seconds.
        kinds: What was looked at, None for everything; the rest is left as it is.
    """

    scan_id: str
    scope: str
    on: list[str]
    filters: ScanFilters
    started_at: str
    outcomes: dict[str, Report | Failure] = field(default_factory=dict)
    spoke_at: dict[str, float] = field(default_factory=dict)
    kinds: tuple[str, ...] | None = None

    def waits_for(self, worker: str) -> bool:
        """Tell whether *worker* has to say something yet."""
        return worker in self.on and worker not in self.outcomes

    @property
    def missing(self) -> list[str]:
        """The workers that have to say something yet."""
        return [worker for worker in self.on if worker not in self.outcomes]

    @property
    def reports(self) -> dict[str, Report]:
        """The results there are, by worker."""
        return {w: r for w, r in self.outcomes.items() if isinstance(r, Report)}

    def conclude(
        self,
        known: Mapping[str, Known],
        now: datetime,
        workers: Collection[str] = (),
    ) -> list[Message]:
        """
        Return the entries that end the scan; the last one is its end.

        What each worker says is compared with what is its own, and changes nothing
        else.

        Args:
            known: What is known, by fingerprint.
            now: The time, UTC.
            workers: Every worker there is, in the scan or not.
        """
        reports = self.reports
        if not reports:
            first = next(iter(self.outcomes.values()))
            assert isinstance(first, Failure)
            failed = ScanFailed(
                scan_id=self.scan_id, code=first.code, message=first.message
            )
            return [failed]
        change, owners = self._compare(known, now, workers)
        entries = _changes(change, owners)
        if quiet := _quietly_seen(change):
            entries.append(FindingsSeen(ids=quiet, at=now))
        return [*entries, self._result(change, owners)]

    def _compare(
        self, known: Mapping[str, Known], now: datetime, workers: Collection[str]
    ) -> tuple[Diff, dict[str, str]]:
        """Return what changed, and whose each finding is."""
        reported = {worker: r.findings for worker, r in self.reports.items()}
        taken = claim(reported, known, workers)
        owners = {key: item.worker for key, item in known.items()}
        for worker, findings in taken.items():
            owners |= {finding.fingerprint: worker for finding in findings}
            if lost := len(reported[worker]) - len(findings):
                text = "%s: worker %s reported %d findings that are not its own"
                logger.warning(text, self.scan_id, worker, lost)
        changes: list[Diff] = []
        for worker in self.on:
            own = {
                key: item.tracked
                for key, item in known.items()
                if owners[key] == worker and self._looks_at(item)
            }
            report = self.reports.get(worker)
            coverage = report.coverage if report else ()
            changes.append(diff(own, taken.get(worker, ()), coverage, now))
        return _joined(changes, known, owners), owners

    def _looks_at(self, item: Known) -> bool:
        return self.kinds is None or is_kind(item.as_wire(), self.kinds)

    def _result(self, change: Diff, owners: Mapping[str, str]) -> ScanResult:
        results = [report.result for report in self.reports.values()]
        touched = [item for name in GROUPS for item in getattr(change, name)]
        rows = [_wire(item, owners) for item in touched]
        return ScanResult(
            scan_id=self.scan_id,
            scope=self.scope,
            on=self.on,
            processed_logs=sum(result.processed_logs for result in results),
            issues_filed=len(change.new),
            status="completed",
            started_at=self.started_at,
            completed_at=max(result.completed_at for result in results),
            coverage=self._coverage(),
            findings=[row for row in rows if self.filters.passes(row)],
            changes={name: len(getattr(change, name)) for name in GROUPS},
            offset=0,
        )

    def _coverage(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for worker, outcome in self.outcomes.items():
            if isinstance(outcome, Report):
                rows += [{"worker": worker, **row} for row in outcome.result.coverage]
                continue
            lost = Coverage(
                detector="*", resource_scope="*", status="failed", reason=outcome.code
            )
            rows.append({"worker": worker, **msgspec.to_builtins(lost)})
        return rows


def _joined(
    changes: Sequence[Diff], known: Mapping[str, Known], owners: Mapping[str, str]
) -> Diff:
    """Make one of the *changes*, each of other findings; a new owner is news."""
    lists: dict[str, Any] = {}
    for name in (*GROUPS, "changes"):
        items = [item for change in changes for item in getattr(change, name)]
        lists[name] = tuple(sorted(items, key=lambda item: item.id))
    told = {item.id for item in lists["changes"]}
    moved = [
        item
        for item in lists["persisting"]
        if item.id not in told and known[item.id].worker != owners[item.id]
    ]
    lists["changes"] += tuple(moved)
    tracked = {key: item for change in changes for key, item in change.tracked.items()}
    return Diff(**lists, tracked=tracked)


def _changes(change: Diff, owners: Mapping[str, str]) -> list[Message]:
    entries: list[Message] = []
    for item in change.changes:
        wire = _wire(item, owners)
        match item.state:
            case "new":
                entries.append(FindingCreated(finding=wire, offset=0))
            case "resolved":
                entries.append(FindingResolved(finding=wire, offset=0))
            case _:
                entries.append(FindingUpdated(finding=wire, offset=0))
    return entries


def _quietly_seen(change: Diff) -> list[str]:
    told = {item.id for item in change.changes}
    return [item.id for item in change.persisting if item.id not in told]


def _wire(item: TrackedFinding, owners: Mapping[str, str]) -> dict[str, Any]:
    return Known(tracked=item, worker=owners[item.finding.fingerprint]).as_wire()


def names(workers: Sequence[str]) -> str:
    """Return *workers* as a list for people."""
    return ", ".join(workers) or "none"
