"""
Processes that are stuck, unreaped or about to run out of descriptors.

A single look lies: a zombie between its end and its parent's ``wait`` and a process
in a disk read are both normal. So the probe looks twice, a second apart, and reports
what was the same both times. A process is named by what it runs and as whom, never by
its id. What was stopped or frozen on purpose is not broken.
"""

from collections import defaultdict
from collections.abc import Iterable

from vibehq_nb.core.findings import MAX_EVIDENCE, Coverage, Evidence, Finding
from vibehq_nb.core.resources import resource, scope_of
from vibehq_nb.core.severity import Severity
from vibehq_nb.ops.process_table import Process, ProcessFacts, probe
from vibehq_nb.ops.redact import sample
from vibehq_nb.ops.rule import Report, Rule, Target, cover, level_of

RULES = (
    Rule(
        code="PRC-001",
        title="Zombies are not reaped",
        kind="processes",
        type="stability",
        cost="low",
        deadline_seconds=15.0,
        remediation="The parent must wait for its children: fix or restart it; in a "
        "container start it under an init (docker run --init).",
    ),
    Rule(
        code="PRC-002",
        title="Descriptors near the limit",
        kind="processes",
        type="stability",
        cost="medium",
        deadline_seconds=15.0,
        remediation="Look for a leak (what are the descriptors?), restart the process, "
        "or raise its soft limit (LimitNOFILE, ulimit -n).",
    ),
    Rule(
        code="PRC-003",
        title="Stuck in an uninterruptible wait",
        kind="processes",
        type="performance",
        cost="low",
        deadline_seconds=15.0,
        remediation="Find what it waits for (/proc/PID/wchan, /proc/PID/stack, kernel "
        "log, storage, network mounts): most signals cannot end it.",
    ),
)
ZOMBIES, DESCRIPTORS, STUCK = RULES

ZOMBIE_LEVELS = ((1.0, Severity.LOW), (10.0, Severity.MEDIUM), (100.0, Severity.HIGH))
"""Zombies of one kind of parent."""
STUCK_LEVELS = ((1.0, Severity.MEDIUM), (5.0, Severity.HIGH))
DESCRIPTOR_LEVELS = ((80.0, Severity.MEDIUM), (95.0, Severity.HIGH))
"""Percent of the soft limit."""
DESCRIPTORS_CLEAR_BELOW = 70.0


def examine(target: Target) -> Report:
    """Look twice at every process of this host and judge."""
    target.announce(1)
    facts = probe(target.deadline)
    target.advance(1)
    return Report(detect(facts, target.host), coverage_of(facts, target.host))


def detect(facts: ProcessFacts, host: str) -> list[Finding]:
    """Return what is unreaped, near its limit or stuck, one per kind of process."""
    findings = []
    for group in _by_key(facts.zombies):
        samples = [
            f"pid {zombie.pid} ({zombie.name}), child of pid {_owner(zombie).pid}"
            for zombie in group
        ]
        findings.append(_count(ZOMBIES, ZOMBIE_LEVELS, group, samples, host))
    for group in _by_key(facts.stuck):
        samples = [f"pid {process.pid}" for process in group]
        findings.append(_count(STUCK, STUCK_LEVELS, group, samples, host))
    for group in _by_key(facts.counted):
        findings += _near_limit(group, host)
    return findings


def _owner(process: Process) -> Process:
    return process.parent or process


def _by_key(processes: Iterable[Process]) -> list[list[Process]]:
    groups: dict[str, list[Process]] = defaultdict(list)
    for process in processes:
        groups[_owner(process).key].append(process)
    return [groups[key] for key in sorted(groups)]


def _count(
    rule: Rule,
    levels: tuple[tuple[float, Severity], ...],
    group: list[Process],
    samples: list[str],
    host: str,
) -> Finding:
    threshold, severity = level_of(len(group), levels) or levels[0]
    measure = (severity, float(len(group)), threshold, "processes")
    return _finding(rule, _owner(group[0]), host, samples, measure)


def _near_limit(group: list[Process], host: str) -> list[Finding]:
    group = sorted(group, key=lambda process: -process.descriptor_percent)
    percent = group[0].descriptor_percent
    if percent < DESCRIPTORS_CLEAR_BELOW:
        return []
    level = level_of(percent, DESCRIPTOR_LEVELS)
    threshold, severity = level or DESCRIPTOR_LEVELS[0]
    samples = [
        f"pid {process.pid}: {process.descriptors} of {process.descriptor_limit}"
        for process in group
        if process.descriptor_percent >= DESCRIPTORS_CLEAR_BELOW
    ]
    measure = (severity, round(percent, 1), threshold, "%")
    return [_finding(DESCRIPTORS, group[0], host, samples, measure, hold=level is None)]


def _finding(
    rule: Rule,
    process: Process,
    host: str,
    samples: list[str],
    measure: tuple[Severity, float, float, str],
    hold: bool = False,
) -> Finding:
    severity, measured, threshold, unit = measure
    return Finding(
        rule=rule.code,
        title=rule.title,
        severity=severity,
        resource=resource(
            "process", f"{process.name} ({process.user})", host, process.key
        ),
        host=host,
        measured=measured,
        threshold=threshold,
        unit=unit,
        evidence=tuple(
            Evidence(kind="process", path=process.name, sample=sample(text))
            for text in samples[:MAX_EVIDENCE]
        ),
        remediation=rule.remediation,
        runbook=rule.runbook,
        hold=hold,
    )


def coverage_of(facts: ProcessFacts, host: str) -> list[Coverage]:
    """Return how far this host's processes were seen, user by user."""
    everything = scope_of("process", host)
    if not facts.was_complete:
        return cover(RULES, everything, "truncated", "the probe's time was up")
    coverage = cover((ZOMBIES, STUCK), everything, "scanned")
    if not facts.has_limits:
        reason = "this system does not tell a process's limits"
        return coverage + cover((DESCRIPTORS,), everything, "skipped", reason)
    coverage += cover((DESCRIPTORS,), everything, "scanned")
    for user, count in sorted(facts.unreadable.items()):
        reason = f"may not count the descriptors of {count} processes of {user}"
        scope = scope_of("process", host, f"{user}/")
        coverage += cover((DESCRIPTORS,), scope, "truncated", reason)
    return coverage
