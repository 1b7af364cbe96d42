"""
Logs in which errors jump or programs crash.

The files of one log (``app.log``, ``app.log.1``, ``app.log.2.gz``) are judged as one.
What counts is recent: the last 15 minutes against the day before for the error rate,
the last day for stack traces. Records without any time count as long as the file was
written recently, because nothing else can be said of them.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import structs

from vibehq_nb.core.findings import Coverage, Evidence, Finding
from vibehq_nb.core.resources import resource, scope_of
from vibehq_nb.core.severity import Severity
from vibehq_nb.ops import log_state
from vibehq_nb.ops.log_counts import (
    Counts,
    Log,
    counts_of,
    is_window_whole,
    merge,
    recent_traces,
)
from vibehq_nb.ops.log_files import (
    MAX_FILE_BYTES,
    Cursor,
    LogFile,
    LogReader,
    family_of,
)
from vibehq_nb.ops.log_paths import Candidate, SkippedError, select
from vibehq_nb.ops.log_records import MAX_GROUPS, TraceGroup
from vibehq_nb.ops.redact import redact
from vibehq_nb.ops.rule import Report, Rule, Target, cover, level_of

RULES = (
    Rule(
        code="LOG-001",
        title="Error rate is high",
        kind="logs",
        type="stability",
        cost="medium",
        deadline_seconds=60.0,
        remediation="Read the latest errors, compare with what changed last (deploy, "
        "configuration, a service it needs), and take that back.",
    ),
    Rule(
        code="LOG-002",
        title="Stack trace",
        kind="logs",
        type="stability",
        cost="medium",
        deadline_seconds=60.0,
        remediation="Open the named frame; the sample shows the latest occurrence.",
    ),
)
RATE, TRACES = RULES

MIN_ERRORS = 10
"""In the window; fewer are no rate."""
MIN_BASELINE = 100
"""Records before the window; fewer are nothing to compare with."""
SHARE_LEVELS = (
    (5.0, Severity.MEDIUM),
    (20.0, Severity.HIGH),
    (50.0, Severity.CRITICAL),
)
"""Percent of the window's records."""
SHARE_CLEAR_BELOW = 2.5
CRITICAL_ERRORS = 50
"""In the window; fewer are never critical."""
JUMP = 3.0
"""Times the rate before."""
ERRORS_ONLY = 90.0
"""Percent; a log with more errors than this holds nothing else, its share is moot."""
TRACE_LEVELS = ((1.0, Severity.LOW), (10.0, Severity.MEDIUM), (100.0, Severity.HIGH))
"""Occurrences in a day."""
FATAL_EXCEPTIONS = ("MemoryError", "OutOfMemoryError", "StackOverflowError")
STEP_BYTES = 2**20
"""One step of progress."""


def examine(target: Target) -> Report:
    """Read the named logs and judge them; without names nothing is read."""
    if not target.logs:
        everything = scope_of("log", target.host)
        return Report([], cover(RULES, everything, "skipped", "no logs are named"))
    files, coverage = probe(target)
    now = target.now
    if target.time_range and target.time_range.end:
        now = min(now, target.time_range.end)
    findings = []
    for log in merge(files):
        findings += detect(log, target.host, now)
        coverage += coverage_of(log, target, now)
    return Report(findings, coverage, sum(file.lines_read for file in files))


def probe(target: Target) -> tuple[list[LogFile], list[Coverage]]:
    """
    Read what the patterns name; return the files, and why others were left out.

    A time range is judged from the whole of each file and leaves no cursors: they
    would claim that everything before them is known.
    """
    state = None if target.time_range else target.state
    before, trouble = log_state.load(state)
    after: dict[str, Cursor] = {}
    reader = LogReader(
        now=target.now,
        zone=target.now.astimezone().tzinfo or target.now.tzinfo or UTC,
        deadline=target.deadline,
        before=before if target.scope == "incremental" else {},
        after=after,
        time_range=target.time_range,
    )
    selection = select(target.logs)
    files, skipped = _read_all(reader, selection.files, target)
    coverage = [
        entry
        for path, reason in [*selection.skipped, *skipped]
        for entry in cover(RULES, _uid(path, target.host), "skipped", reason)
    ]
    if state is not None:
        try:
            log_state.save(state, after)
        except OSError:
            trouble = "the scan state cannot be written"
    if trouble:
        reason = f"{trouble}: logs are read from their beginning"
        coverage += cover(RULES, scope_of("log", target.host), "skipped", reason)
    return files, coverage


def _read_all(
    reader: LogReader, candidates: list[Candidate], target: Target
) -> tuple[list[LogFile], list[tuple[str, str]]]:
    files: list[LogFile] = []
    skipped: list[tuple[str, str]] = []
    steps = [_FileSteps(candidate, target.advance) for candidate in candidates]
    target.announce(sum(step.total for step in steps))
    for candidate, step in zip(candidates, steps, strict=True):
        reader.advance = step.read
        try:
            files.append(reader.read(candidate))
        except SkippedError as error:
            skipped.append((str(candidate.path), str(error)))
        step.close()
    return files, skipped


class _FileSteps:
    """Turns bytes read of one file into steps of progress."""

    def __init__(self, candidate: Candidate, advance: Callable[[int], None]) -> None:
        try:
            size = candidate.path.stat().st_size
        except OSError:
            size = 0
        self.total = 1 + min(size, MAX_FILE_BYTES) // STEP_BYTES
        self._advance = advance
        self._bytes = self._done = 0

    def read(self, count: int) -> None:
        self._bytes += count
        self._reach(min(self._bytes // STEP_BYTES, self.total))

    def close(self) -> None:
        self._reach(self.total)

    def _reach(self, done: int) -> None:
        if done > self._done:
            self._advance(done - self._done)
            self._done = done


def _uid(path: str, host: str) -> str:
    return resource("log", family_of(path), host).uid


def detect(log: Log, host: str, now: datetime) -> list[Finding]:
    """Return the log's error rate if it is high, and each kind of stack trace."""
    window, before = counts_of(log, now)
    findings = _judge_rate(log, window, before, host)
    for key, group in sorted(log.facts.groups.items()):
        count = recent_traces(log, group, now)
        if count:
            findings.append(_trace_finding(log, key, group, count, host))
    return findings


def _judge_rate(log: Log, window: Counts, before: Counts, host: str) -> list[Finding]:
    """
    Judge the window's share of errors.

    A share that was as high all day is not news unless it is very high. A log that
    holds nothing but errors has no share: there the errors a minute must jump.
    """
    has_before = before.records >= MIN_BASELINE
    if has_before and before.percent >= ERRORS_ONLY:
        limit = JUMP * before.per_minute
        if not limit or window.errors < MIN_ERRORS or window.per_minute < limit:
            return []
        measure = (window.per_minute, limit, "errors/min")
        return [_rate_finding(log, Severity.MEDIUM, measure, window, before, host)]
    level = level_of(window.percent, SHARE_LEVELS)
    is_news = not has_before or window.percent >= JUMP * before.percent
    is_high = level is not None and level[1] >= Severity.HIGH
    is_raised = level and window.errors >= MIN_ERRORS and (is_news or is_high)
    if not is_raised and window.percent < SHARE_CLEAR_BELOW:
        return []
    threshold, severity = level or SHARE_LEVELS[0]
    if window.errors < CRITICAL_ERRORS:
        severity = min(severity, Severity.HIGH)
    if not has_before and window.errors == window.records:
        severity = Severity.MEDIUM  # perhaps a log that holds only errors
    measure = (window.percent, threshold, "%")
    finding = _rate_finding(log, severity, measure, window, before, host)
    return [finding if is_raised else structs.replace(finding, hold=True)]


def _rate_finding(
    log: Log,
    severity: Severity,
    measure: tuple[float, float, str],
    window: Counts,
    before: Counts,
    host: str,
) -> Finding:
    measured, threshold, unit = measure
    counted = (
        f"{window.errors} errors in the latest {window.records} records; "
        f"before: {before.errors} in {before.records}"
    )
    return Finding(
        rule=RATE.code,
        title=RATE.title,
        severity=severity,
        resource=resource("log", log.path, host),
        host=host,
        measured=round(measured, 1),
        threshold=round(threshold, 1),
        unit=unit,
        evidence=(Evidence(kind="count", path=log.path, sample=counted),),
        remediation=RATE.remediation,
        runbook=RATE.runbook,
    )


def _trace_finding(
    log: Log, key: str, group: TraceGroup, count: int, host: str
) -> Finding:
    threshold, severity = level_of(count, TRACE_LEVELS) or TRACE_LEVELS[0]
    if group.exception.endswith(FATAL_EXCEPTIONS):
        severity = max(severity, Severity.HIGH)
    where = f" in {group.frame}" if group.frame else ""
    evidence = Evidence(
        kind="log", path=group.path, line=group.line, sample=group.sample
    )
    return Finding(
        rule=TRACES.code,
        title=redact(f"{TRACES.title}: {group.exception}{where}"),
        severity=severity,
        resource=resource("log", log.path, host),
        host=host,
        measured=float(count),
        threshold=threshold,
        unit="occurrences",
        evidence=(evidence,),
        remediation=TRACES.remediation,
        runbook=TRACES.runbook,
        sub_key=key,
    )


def coverage_of(log: Log, target: Target, now: datetime) -> list[Coverage]:
    """Return how far one log was read, for each rule."""
    uid = resource("log", log.path, target.host).uid
    if target.time_range is not None:
        return cover(RULES, uid, "truncated", "only the time range was judged")
    if log.incomplete:
        return cover(RULES, uid, "truncated", log.incomplete)
    cut = f"{log.facts.skipped_bytes} bytes before the latest were not read"
    rate = cover((RATE,), uid, "scanned")
    traces = cover((TRACES,), uid, "scanned")
    if not is_window_whole(log, now):
        rate = cover((RATE,), uid, "truncated", cut)
    if log.facts.skipped_bytes:
        traces = cover((TRACES,), uid, "truncated", cut)
    elif log.facts.ungrouped:
        reason = f"more than {MAX_GROUPS} kinds of stack traces in one file"
        traces = cover((TRACES,), uid, "truncated", reason)
    return rate + traces
