import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from vibehq_nb.core.findings import Coverage, Finding, ScanResult
from vibehq_nb.core.resources import resource, scope_of
from vibehq_nb.core.severity import Severity
from vibehq_nb.ops import scan
from vibehq_nb.ops.request import ScanRequestError, decode_filters
from vibehq_nb.ops.rule import Kind, Report, Rule, Target, cover
from vibehq_nb.ops.scan import ALL_RULES, EXAMINATIONS, Examination, run_scan

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def make_rule(code: str = "DSK-001", deadline_seconds: float = 5.0) -> Rule:
    return Rule(
        code=code,
        title="t",
        kind="disk" if code.startswith("DSK") else "logs",
        type="stability" if code.endswith("1") else "performance",
        cost="low",
        deadline_seconds=deadline_seconds,
        remediation="r",
    )


def make_finding(
    rule: str, severity: Severity = Severity.HIGH, name: str = "/"
) -> Finding:
    return Finding(
        rule=rule,
        title="t",
        severity=severity,
        resource=resource("disk", name, "web-1"),
        host="web-1",
    )


def make_examination(
    *findings: Finding,
    examine: Callable[[Target], Report] | None = None,
    deadline_seconds: float = 5.0,
    prefix: str = "DSK",
) -> Examination:
    rules = tuple(make_rule(f"{prefix}-00{n}", deadline_seconds) for n in (1, 2))
    coverage = cover(rules, scope_of("disk", "web-1"), "scanned")
    return Examination(
        rules,
        examine or (lambda target: Report(list(findings), list(coverage), 7)),
        "disk",
    )


def run(
    examinations: dict[Kind, Examination], *args: Any, **options: Any
) -> ScanResult:
    return run_scan(
        *args,
        host="web-1",
        scan_id="s1",
        clock=lambda: NOW,
        examinations=examinations,
        **options,
    )


def statuses(result: ScanResult) -> dict[str, str]:
    return {entry.detector: entry.status for entry in result.coverage}


def test_a_scan_reports_what_its_probes_found() -> None:
    result = run({"disk": make_examination(make_finding("DSK-001"))}, "full")

    assert (result.status, result.scope, result.on) == ("completed", "full", "web-1")
    assert [finding.rule for finding in result.findings] == ["DSK-001"]
    assert result.processed_logs == 7
    assert statuses(result) == {"DSK-001": "scanned", "DSK-002": "scanned"}


def test_a_probe_that_fails_is_failed_coverage_and_no_failed_scan() -> None:
    def fail(target: Target) -> Report:
        raise OSError("secret detail")

    result = run(
        {
            "disk": make_examination(examine=fail),
            "logs": make_examination(make_finding("LOG-001"), prefix="LOG"),
        }
    )

    assert result.status == "completed"
    assert statuses(result)["DSK-001"] == "failed"
    assert result.coverage[0].reason == "the probe failed (OSError)"
    assert [finding.rule for finding in result.findings] == ["LOG-001"]


def test_a_probe_that_hangs_is_failed_coverage_after_its_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan, "GRACE_SECONDS", 0.05)
    release = threading.Event()

    def hang(target: Target) -> Report:
        release.wait(20)
        return Report()

    result = run({"disk": make_examination(examine=hang, deadline_seconds=0.05)})
    release.set()

    assert statuses(result) == {"DSK-001": "failed", "DSK-002": "failed"}
    assert result.coverage[0].reason == "not done after 0.05 s"


def test_kinds_that_were_not_asked_for_are_skipped() -> None:
    examinations: dict[Kind, Examination] = {
        "disk": make_examination(make_finding("DSK-001")),
        "logs": make_examination(make_finding("LOG-001"), prefix="LOG"),
    }

    for result in (
        run(examinations, kinds=["logs"]),
        run(examinations, filters={"kinds": ["logs"]}),
    ):
        assert [finding.rule for finding in result.findings] == ["LOG-001"]
        assert statuses(result)["DSK-001"] == "skipped"


def test_a_filtered_type_is_skipped_and_its_findings_are_left_out() -> None:
    examination = make_examination(make_finding("DSK-001"), make_finding("DSK-002"))

    result = run({"disk": examination}, filters={"type": "performance"})

    assert [finding.rule for finding in result.findings] == ["DSK-002"]
    assert statuses(result) == {"DSK-001": "skipped", "DSK-002": "scanned"}


def test_a_least_severity_leaves_out_findings_and_covers_nothing_whole() -> None:
    examination = make_examination(
        make_finding("DSK-001", Severity.LOW),
        make_finding("DSK-002", Severity.CRITICAL),
    )

    result = run({"disk": examination}, filters={"severity": "high"})

    assert [finding.severity for finding in result.findings] == ["critical"]
    assert statuses(result) == {"DSK-001": "truncated", "DSK-002": "truncated"}


def test_what_sees_only_the_present_is_skipped_in_a_past_time_range() -> None:
    examinations: dict[Kind, Examination] = {"disk": make_examination()}
    past = {"end": (NOW - timedelta(hours=1)).isoformat()}
    recent = {"start": (NOW - timedelta(hours=1)).isoformat()}

    assert (
        "skipped" in statuses(run(examinations, filters={"time_range": past})).values()
    )
    assert (
        "scanned"
        in statuses(run(examinations, filters={"time_range": recent})).values()
    )


def test_findings_are_bounded_to_the_most_severe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan, "MAX_FINDINGS", 1)
    examination = make_examination(
        make_finding("DSK-001", Severity.LOW), make_finding("DSK-002", Severity.HIGH)
    )

    result = run({"disk": examination})

    assert [finding.rule for finding in result.findings] == ["DSK-002"]
    assert statuses(result) == {"DSK-001": "truncated", "DSK-002": "scanned"}


def test_progress_is_told_at_most_every_100_ms() -> None:
    told: list[tuple[int, int, str]] = []

    def busy(target: Target) -> Report:
        target.announce(1000)
        for _ in range(1000):
            target.advance(1)
        return Report()

    run(
        {"disk": make_examination(examine=busy)},
        progress=lambda *step: told.append(step),
    )

    assert told[0] == (0, 1000, "disk")
    assert len(told) < 10


def test_a_result_is_json_with_rfc_3339_times() -> None:
    encoded = msgspec.json.encode(run({"disk": make_examination()}))

    assert b'"started_at":"2026-11-22T12:00:00Z"' in encoded
    assert msgspec.json.decode(encoded, type=ScanResult).coverage[0] == Coverage(
        detector="DSK-001", resource_scope="disk:web-1:*", status="scanned"
    )


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"scope": "ful"}, "did you mean full?"),
        ({"kinds": ["dsk"]}, "did you mean disk?"),
        ({"kinds": []}, "at least one kind"),
        ({"filters": {"severty": "high"}}, "did you mean severity?"),
        ({"filters": {"severity": "hihg"}}, "did you mean high?"),
        ({"filters": {"severity": 3}}, "Unknown severity"),
        ({"filters": {"types": 3}}, "list of words"),
        ({"filters": {"time_range": {"from": 1}}}, "a start, an end"),
        ({"filters": {"time_range": {"start": "2026-11-22 10:00"}}}, "RFC 3339"),
        (
            {
                "filters": {
                    "time_range": {
                        "start": "2026-11-22T10:00:00Z",
                        "end": "2026-11-22T09:00:00Z",
                    }
                }
            },
            "ends after its start",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_hint(
    arguments: dict[str, Any], hint: str
) -> None:
    with pytest.raises(ScanRequestError) as refusal:
        run({}, **arguments)

    assert hint in str(refusal.value)


def test_a_refusal_does_not_repeat_what_was_asked() -> None:
    with pytest.raises(ScanRequestError) as refusal:
        run({}, "<script>")

    assert "<script>" not in str(refusal.value)


def test_the_seeds_spelling_of_a_time_range_is_understood() -> None:
    filters = decode_filters({"timeRange": {"start": "2026-11-22T10:00:00Z"}})

    assert filters.time_range is not None
    assert filters.time_range.end is None


def test_every_rule_has_one_code_and_says_what_to_do() -> None:
    codes = [rule.code for rule in ALL_RULES]

    assert len(codes) == len(set(codes)) == 7
    assert all(rule.remediation and rule.deadline_seconds > 0 for rule in ALL_RULES)
    assert {rule.kind for rule in ALL_RULES} == set(EXAMINATIONS)
