from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vibehq_nb.core.findings import Finding, is_covered
from vibehq_nb.core.severity import Severity
from vibehq_nb.ops.log_counts import Log
from vibehq_nb.ops.log_records import LogFacts, TraceGroup
from vibehq_nb.ops.rule import Deadline, Target, TimeRange
from vibehq_nb.ops.rules.logs import coverage_of, detect, examine

NOW = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
MINUTE = int(NOW.timestamp()) // 60


def make_log(
    window: tuple[int, int] = (0, 0),
    before: tuple[int, int] = (0, 0),
    modified: datetime = NOW,
    **facts: object,
) -> Log:
    """A log with (records, errors) of the window and of the day before."""
    minutes = {MINUTE - 3: window, MINUTE - 200: before}
    return Log(
        "/app.log",
        LogFacts(minutes=minutes, **facts),  # type: ignore[arg-type]
        modified.timestamp(),
    )


def make_target(logs: tuple[str, ...] = ("/app.log",), **fields: object) -> Target:
    return Target(
        host="web-1",
        now=NOW,
        deadline=Deadline(60),
        logs=logs,
        **fields,  # type: ignore[arg-type]
    )


def rates(log: Log, now: datetime = NOW) -> list[Finding]:
    return [it for it in detect(log, "web-1", now) if it.rule == "LOG-001"]


@pytest.mark.parametrize(
    ("window", "before", "expected"),
    [
        ((100, 0), (1000, 0), None),
        ((100, 9), (1000, 0), (Severity.MEDIUM, True)),
        ((200, 10), (1000, 0), (Severity.MEDIUM, False)),
        ((200, 10), (1000, 40), (Severity.MEDIUM, True)),
        ((100, 20), (1000, 190), (Severity.HIGH, False)),
        ((60, 40), (1000, 0), (Severity.HIGH, False)),
        ((100, 60), (1000, 0), (Severity.CRITICAL, False)),
        ((1000, 10), (1000, 0), None),
        ((30, 20), (0, 0), (Severity.HIGH, False)),
        ((20, 20), (0, 0), (Severity.MEDIUM, False)),
    ],
    ids=[
        "no errors",
        "too few to raise",
        "a jump",
        "as bad all day",
        "high whatever was before",
        "too few to be critical",
        "critical",
        "one percent",
        "nothing to compare with",
        "perhaps a log of errors only",
    ],
)
def test_the_error_rate_is_judged_against_the_day(
    window: tuple[int, int],
    before: tuple[int, int],
    expected: tuple[Severity, bool] | None,
) -> None:
    found = rates(make_log(window, before))

    assert [(it.severity, it.hold) for it in found] == ([expected] if expected else [])


def test_a_log_of_errors_only_is_judged_by_their_number() -> None:
    steady = make_log((15, 15), (200, 200))
    jump = make_log((150, 150), (200, 200))

    assert rates(steady) == []
    assert [it.unit for it in rates(jump)] == ["errors/min"]


def test_errors_that_are_older_than_the_window_do_not_count() -> None:
    assert rates(make_log((100, 60)), NOW + timedelta(minutes=16)) == []


def test_a_log_without_times_counts_while_it_is_written() -> None:
    log = Log("/app.log", LogFacts(undated="." * 150 + "E" * 50), NOW.timestamp())

    assert [it.measured for it in rates(log)] == [25.0]
    assert rates(log, NOW + timedelta(hours=1)) == []


def make_group(count: int, exception: str = "ValueError") -> dict[str, TraceGroup]:
    hours = {MINUTE // 60: count}
    group = TraceGroup(exception, "a.py:f", hours, 0, "sample", "/app.log.1", 7)
    return {f"{exception}|a.py:f": group}


@pytest.mark.parametrize(
    ("count", "severity"),
    [(1, Severity.LOW), (10, Severity.MEDIUM), (100, Severity.HIGH)],
)
def test_a_stack_trace_is_graded_by_how_often_it_came(
    count: int, severity: Severity
) -> None:
    [finding] = detect(make_log(groups=make_group(count)), "web-1", NOW)

    assert finding.rule == "LOG-002"
    assert finding.title == "Stack trace: ValueError in a.py:f"
    assert (finding.severity, finding.measured) == (severity, count)
    assert (finding.evidence[0].path, finding.evidence[0].line) == ("/app.log.1", 7)


def test_running_out_of_memory_is_high_at_once() -> None:
    groups = make_group(1, "java.lang.OutOfMemoryError")

    [finding] = detect(make_log(groups=groups), "web-1", NOW)

    assert finding.severity is Severity.HIGH


def test_yesterdays_stack_traces_are_gone() -> None:
    log = make_log(groups=make_group(5))

    assert detect(log, "web-1", NOW + timedelta(hours=25)) == []


def test_a_log_that_was_cut_covers_its_rate_only_if_the_window_is_whole() -> None:
    [trace] = detect(make_log(groups=make_group(1)), "web-1", NOW)
    [rate] = rates(make_log((100, 60)))
    whole = coverage_of(make_log(), make_target(), NOW)
    cut = coverage_of(make_log(skipped_bytes=9), make_target(), NOW)
    short = make_log(skipped_bytes=9)
    del short.facts.minutes[MINUTE - 200]
    shorter = coverage_of(short, make_target(), NOW)

    assert [is_covered(trace, it) for it in (whole, cut, shorter)] == [
        True,
        False,
        False,
    ]
    assert [is_covered(rate, it) for it in (whole, cut, shorter)] == [True, True, False]


def test_a_time_range_never_resolves_anything() -> None:
    target = make_target(time_range=TimeRange(NOW - timedelta(hours=1), NOW))

    assert {it.status for it in coverage_of(make_log(), target, NOW)} == {"truncated"}


def test_without_names_no_log_is_read_and_that_is_told() -> None:
    report = examine(make_target(logs=()))

    assert {(it.status, it.reason) for it in report.coverage} == {
        ("skipped", "no logs are named")
    }


def test_what_is_not_read_is_skipped_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "binary.log").write_bytes(b"\0\1")
    (tmp_path / "good.log").write_text("INFO x\n")

    report = examine(make_target((str(tmp_path / "*.log"), str(tmp_path / "none"))))

    assert {
        (it.resource_scope.rpartition("/")[2], it.status, it.reason)
        for it in report.coverage
    } == {
        ("binary.log", "skipped", "binary"),
        ("good.log", "scanned", ""),
        ("none", "skipped", "no file matches"),
    }
    assert report.processed_logs == 1


def test_a_state_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("INFO x\n")

    report = examine(
        make_target((str(tmp_path / "a.log"),), state=tmp_path / "none" / "state")
    )

    assert any("cannot be written" in it.reason for it in report.coverage)
    assert report.processed_logs == 1


def test_a_scan_of_a_time_range_neither_uses_nor_leaves_cursors(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("2026-11-22 11:59:00 ERROR x\n" * 20)
    state = tmp_path / "state"
    past = TimeRange(end=NOW - timedelta(minutes=30))

    logs = (str(tmp_path / "a.log"),)
    inside = examine(make_target(logs, scope="incremental", state=state))
    outside = examine(
        make_target(logs, scope="incremental", state=state, time_range=past)
    )

    assert [it.rule for it in inside.findings] == ["LOG-001"]
    assert outside.findings == []
    assert outside.processed_logs == 20
