"""
Run one scan: probes side by side, each with its deadline, then detectors.

A probe that fails or is late is failed coverage of its kind, never a failed scan. A
filter never lets anything look resolved: what it leaves out is not ``scanned``.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import structs

from vibehq_nb.core.findings import Coverage, Finding, ScanResult
from vibehq_nb.core.resources import scope_of
from vibehq_nb.core.severity import Severity
from vibehq_nb.ops.request import Filters, decode_filters, decode_kinds, decode_scope
from vibehq_nb.ops.rule import (
    CoverageStatus,
    Deadline,
    Kind,
    Report,
    Rule,
    Target,
    cover,
)
from vibehq_nb.ops.rules import disk, processes
from vibehq_nb.ops.rules import logs as log_rules
from vibehq_nb.ops.within import Call

logger = logging.getLogger(__name__)

MAX_FINDINGS = 500
"""Of one scan, the most severe ones."""
PROGRESS_SECONDS = 0.1
NOT_ASKED = "not asked for"
GRACE_SECONDS = 2.0
"""For a probe to notice that its time is up and to report what it has."""

ProgressCallback = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Examination:
    """One kind: its rules, how it is examined, and what its resources are called."""

    rules: tuple[Rule, ...]
    examine: Callable[[Target], Report]
    resource_kind: str
    sees_the_past: bool = False

    @property
    def deadline_seconds(self) -> float:
        """The longest that any of its rules may take."""
        return max(rule.deadline_seconds for rule in self.rules)


EXAMINATIONS: Mapping[Kind, Examination] = {
    "disk": Examination(disk.RULES, disk.examine, "disk"),
    "processes": Examination(processes.RULES, processes.examine, "process"),
    "logs": Examination(log_rules.RULES, log_rules.examine, "log", sees_the_past=True),
}
ALL_RULES = (*disk.RULES, *processes.RULES, *log_rules.RULES)


def utc_now() -> datetime:
    """Return the time, aware, UTC."""
    return datetime.now(UTC)


class Progress:
    """Counts steps of all probes; tells at most every 100 ms, one call at a time."""

    def __init__(self, tell: ProgressCallback | None) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._done = self._total = 0
        self._told_at = float("-inf")

    def announce(self, phase: str, steps: int) -> None:
        """Add steps that lie ahead."""
        with self._lock:
            self._total += steps
            self._report(phase)

    def advance(self, phase: str, steps: int) -> None:
        """Count steps that are done."""
        with self._lock:
            self._done += steps
            self._report(phase)

    def _report(self, phase: str) -> None:
        now = time.monotonic()
        if self._tell is not None and now - self._told_at >= PROGRESS_SECONDS:
            self._told_at = now
            self._tell(self._done, self._total, phase)


def run_scan(
    scope: str = "incremental",
    kinds: Iterable[str] | None = None,
    filters: Mapping[str, Any] | None = None,
    *,
    host: str,
    scan_id: str,
    logs: Sequence[str] = (),
    state: Path | None = None,
    progress: ProgressCallback | None = None,
    clock: Callable[[], datetime] = utc_now,
    examinations: Mapping[Kind, Examination] = EXAMINATIONS,
) -> ScanResult:
    """
    Look at this host and return what was found, not compared with anything yet.

    ``incremental`` reads of each log only what was added since the scan that wrote
    *state*, and finds what a full scan would find. Without *state* it reads
    everything, as ``full`` does; disks and processes are always looked at anew.

    Args:
        scope: ``incremental`` or ``full``.
        kinds: Of ``disk``, ``processes``, ``logs``; all if None.
        filters: ``severity`` (the least), ``kinds``, ``types``, ``time_range``.
        host: The stable name under which resources are reported.
        scan_id: Names the scan in its result.
        logs: Paths or patterns of log files, plain or gzip.
        state: The file that keeps the cursors of incremental scans.
        progress: Called with steps done, steps in all and the phase, at most every
            100 ms, from the probes' threads.
        clock: Returns the time, UTC.
        examinations: What can be looked at.

    Raises:
        ScanRequestError: If scope, kinds or filters are not known.
    """
    known_scope, wanted = decode_scope(scope), decode_filters(filters)
    asked = frozenset(decode_kinds(kinds)).intersection(wanted.kinds)
    counter, started = Progress(progress), clock()
    report = Report()
    running: dict[Kind, tuple[Call[Report], Deadline]] = {}
    for kind, examination in examinations.items():
        reason = _why_not(kind, asked, examination, wanted, started)
        if reason:
            missed = scope_of(examination.resource_kind, host)
            report.coverage.extend(cover(examination.rules, missed, "skipped", reason))
            continue
        target = Target(
            host=host,
            now=started,
            deadline=Deadline(examination.deadline_seconds),
            logs=tuple(logs),
            scope=known_scope,
            state=state,
            time_range=wanted.time_range,
            announce=partial(counter.announce, kind),
            advance=partial(counter.advance, kind),
        )
        running[kind] = _start(kind, examination, target)
    lines = 0
    for kind, (call, patience) in running.items():
        part = _outcome(kind, call, patience, examinations[kind], host)
        report.findings.extend(part.findings)
        report.coverage.extend(part.coverage)
        lines += part.processed_logs
    findings, coverage = _filtered(report, wanted, _rules_of(examinations))
    return ScanResult(
        scan_id=scan_id,
        scope=known_scope,
        on=host,
        processed_logs=lines,
        issues_filed=0,
        status="completed",
        started_at=started,
        completed_at=clock(),
        coverage=tuple(coverage),
        findings=tuple(findings),
    )


def _why_not(
    kind: Kind,
    asked: frozenset[Kind],
    examination: Examination,
    wanted: Filters,
    now: datetime,
) -> str:
    """Return why a kind is not examined at all, empty if it is."""
    if kind not in asked or not any(wanted.wants(rule) for rule in examination.rules):
        return NOT_ASKED
    past = wanted.time_range
    if past and not examination.sees_the_past and not past.holds(now.timestamp()):
        return "sees only the present, which is outside the time range"
    return ""


def _start(
    kind: Kind, examination: Examination, target: Target
) -> tuple[Call[Report], Deadline]:
    patience = Deadline(examination.deadline_seconds + GRACE_SECONDS)
    return Call(partial(examination.examine, target), f"probe {kind}"), patience


def _outcome(
    kind: Kind,
    call: Call[Report],
    patience: Deadline,
    examination: Examination,
    host: str,
) -> Report:
    """Return the report of one kind, or that it failed."""
    try:
        return call.result(patience)
    except TimeoutError:
        reason = f"not done after {examination.deadline_seconds:g} s"
    except Exception as error:
        reason = f"the probe failed ({type(error).__name__})"
        logger.warning("probe %s failed", kind, exc_info=error)
    missed = scope_of(examination.resource_kind, host)
    return Report([], cover(examination.rules, missed, "failed", reason))


def _filtered(
    report: Report, wanted: Filters, rules: Mapping[str, Rule]
) -> tuple[list[Finding], list[Coverage]]:
    """Leave out what was not asked for, and say so in the coverage."""
    least = wanted.severity
    findings = [
        finding
        for finding in report.findings
        if wanted.wants(rules[finding.rule])
        and (least is None or finding.severity >= least)
    ]
    findings.sort(key=lambda it: (-it.severity.rank, it.rule, it.resource.uid))
    kept, left = findings[:MAX_FINDINGS], findings[MAX_FINDINGS:]
    crowded = {finding.rule for finding in left}
    coverage = []
    for entry in report.coverage:
        if not wanted.wants(rules[entry.detector]):
            entry = _lowered(entry, "skipped", NOT_ASKED)
        elif least is not None and least > Severity.INFO:
            entry = _lowered(
                entry, "truncated", f"only {least} and worse was asked for"
            )
        elif entry.detector in crowded:
            entry = _lowered(entry, "truncated", f"more than {MAX_FINDINGS} findings")
        coverage.append(entry)
    return kept, coverage


def _lowered(entry: Coverage, status: CoverageStatus, reason: str) -> Coverage:
    """Return the entry no longer ``scanned``; what was worse already stays."""
    if entry.status != "scanned":
        return entry
    return structs.replace(entry, status=status, reason=reason)


def _rules_of(examinations: Mapping[Kind, Examination]) -> dict[str, Rule]:
    return {
        rule.code: rule
        for examination in examinations.values()
        for rule in examination.rules
    }
