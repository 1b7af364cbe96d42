import math
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vibehq_nb.core.findings import (
    FINDING_COLUMNS,
    REOPEN_WITHIN,
    Coverage,
    Diff,
    Finding,
    TrackedFinding,
    diff,
    finding_row,
    is_covered,
    measured_band,
)
from vibehq_nb.core.resources import fingerprint, resource, scope_of
from vibehq_nb.core.severity import STANDARDS, Severity

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
EVERYTHING = (
    Coverage(detector="DSK-001", resource_scope="disk:*", status="scanned"),
    Coverage(detector="LOG-001", resource_scope="*", status="scanned"),
)


def make_finding(
    name: str = "/",
    severity: Severity = Severity.MEDIUM,
    measured: float = 91.0,
    host: str = "web-1",
    rule: str = "DSK-001",
    hold: bool = False,
) -> Finding:
    return Finding(
        rule=rule,
        title="File system almost full",
        severity=severity,
        resource=resource("disk", name, host),
        host=host,
        measured=measured,
        threshold=90.0,
        unit="%",
        hold=hold,
    )


def tracked_after(*found: Finding, now: datetime = NOW) -> dict[str, TrackedFinding]:
    return diff({}, found, EVERYTHING, now).tracked


def states(changed: Diff) -> list[str]:
    return [tracked.state for tracked in changed.tracked.values()]


def test_severities_are_ordered_by_rank_and_not_by_letter() -> None:
    assert sorted(reversed(Severity)) == ["info", "low", "medium", "high", "critical"]
    assert Severity.HIGH > Severity.LOW
    assert Severity.CRITICAL >= "critical"
    assert Severity.INFO < "low"
    assert Severity.INFO <= Severity.LOW


def test_every_severity_has_a_name_in_each_standard() -> None:
    assert set(STANDARDS) == set(Severity)
    assert STANDARDS[Severity.HIGH].sarif_level == "error"


def test_fingerprint_has_a_version_and_is_pinned() -> None:
    assert fingerprint("DSK-001", "disk:web-1:/") == "v1:30cdaf290e71edf6"


def test_fingerprint_ignores_what_was_measured() -> None:
    weak, strong = make_finding(), make_finding(severity=Severity.HIGH, measured=97)

    assert weak.fingerprint == strong.fingerprint


@given(st.text(), st.text(), st.text(), st.text())
def test_fingerprints_keep_the_parts_apart(a: str, b: str, c: str, d: str) -> None:
    assert (fingerprint("R", a, b) == fingerprint("R", c, d)) == ((a, b) == (c, d))


@given(st.text(), st.text())
def test_no_hosts_scope_covers_another_hosts_resource(host: str, other: str) -> None:
    finding = make_finding(host=other)
    scope = Coverage(
        detector="DSK-001", resource_scope=scope_of("disk", host), status="scanned"
    )

    assert is_covered(finding, [scope]) == (host == other)


def test_a_first_finding_is_new() -> None:
    changed = diff({}, [make_finding()], EVERYTHING, NOW)

    assert states(changed) == ["new"]
    assert changed.changes == changed.new
    assert changed.new[0].first_seen == changed.new[0].last_seen == NOW


def test_a_finding_that_stays_persists_and_is_no_news() -> None:
    changed = diff(tracked_after(make_finding()), [make_finding()], EVERYTHING, LATER)

    assert states(changed) == ["persisting"]
    assert changed.changes == ()
    assert changed.persisting[0].count == 2
    assert changed.persisting[0].first_seen == NOW
    assert changed.persisting[0].last_seen == LATER


@pytest.mark.parametrize(
    "worse",
    [make_finding(severity=Severity.HIGH), make_finding(measured=96.0)],
    ids=["severity", "band"],
)
def test_a_change_of_severity_or_band_is_an_update(worse: Finding) -> None:
    changed = diff(tracked_after(make_finding()), [worse], EVERYTHING, LATER)

    assert states(changed) == ["updated"]
    assert changed.changes == changed.updated


def test_a_finding_that_is_gone_from_a_scanned_scope_is_resolved() -> None:
    changed = diff(tracked_after(make_finding()), [], EVERYTHING, LATER)

    assert states(changed) == ["resolved"]
    assert changed.resolved[0].resolved_at == LATER
    assert changed.resolved[0].last_seen == NOW


@pytest.mark.parametrize("status", ["skipped", "failed", "truncated"])
def test_a_finding_is_unknown_where_nobody_looked(status: str) -> None:
    coverage = msgspec.convert(
        {"detector": "DSK-001", "resource_scope": "disk:*", "status": status}, Coverage
    )

    assert states(diff(tracked_after(make_finding()), [], [coverage], LATER)) == [
        "unknown"
    ]
    assert states(diff(tracked_after(make_finding()), [], [], LATER)) == ["unknown"]


def test_the_narrowest_scope_decides_what_is_covered() -> None:
    mount = make_finding("/data")
    failed = Coverage(
        detector="DSK-001", resource_scope=mount.resource.uid, status="failed"
    )

    assert not is_covered(mount, [*EVERYTHING, failed])
    assert is_covered(make_finding("/"), [*EVERYTHING, failed])


def test_of_two_equal_scopes_the_worse_one_counts() -> None:
    failed = Coverage(detector="DSK-001", resource_scope="disk:*", status="failed")

    assert not is_covered(make_finding(), [*EVERYTHING, failed])
    assert not is_covered(make_finding(), [failed, *EVERYTHING])


def test_leaving_unknown_is_news_and_staying_unknown_is_not() -> None:
    unknown = diff(tracked_after(make_finding()), [], [], LATER)
    still = diff(unknown.tracked, [], [], LATER)
    back = diff(unknown.tracked, [make_finding()], EVERYTHING, LATER)

    assert len(unknown.changes) == 1
    assert still.changes == ()
    assert len(still.unknown) == 1
    assert back.changes == back.persisting


def test_a_resolved_finding_that_returns_is_reopened() -> None:
    resolved = diff(tracked_after(make_finding()), [], EVERYTHING, NOW).tracked

    changed = diff(resolved, [make_finding()], EVERYTHING, NOW + REOPEN_WITHIN)

    assert states(changed) == ["reopened"]
    assert changed.reopened[0].first_seen == NOW
    assert changed.reopened[0].resolved_at is None


def test_a_resolved_finding_is_forgotten_and_then_new_again() -> None:
    resolved = diff(tracked_after(make_finding()), [], EVERYTHING, NOW).tracked
    late = NOW + REOPEN_WITHIN + timedelta(seconds=1)

    assert diff(resolved, [], EVERYTHING, late).tracked == {}
    changed = diff(resolved, [make_finding()], EVERYTHING, late)
    assert states(changed) == ["new"]
    assert changed.new[0].first_seen == late


def test_a_held_finding_raises_nothing_and_keeps_an_open_one() -> None:
    held = make_finding(measured=87.0, hold=True)
    opened = tracked_after(make_finding())
    resolved = diff(opened, [], EVERYTHING, NOW).tracked

    assert diff({}, [held], EVERYTHING, NOW).tracked == {}
    assert states(diff(resolved, [held], EVERYTHING, LATER)) == ["resolved"]
    assert diff(opened, [held], EVERYTHING, LATER).updated[0].is_open


def test_bands_are_five_points_or_doublings() -> None:
    assert measured_band(make_finding(measured=94.9)) == 18
    assert measured_band(make_finding(measured=95.0)) == 19
    counted = msgspec.structs.replace(make_finding(), unit="processes", threshold=10.0)
    bands = [
        measured_band(msgspec.structs.replace(counted, measured=n))
        for n in (0.0, 10.0, 19.0, 20.0, None)
    ]
    assert bands == [0, 0, 0, 1, None]


@pytest.mark.parametrize("unit", ["", "%"])
@pytest.mark.parametrize("measured", [1e308, 1e-308, -1.0, 0.0, math.inf, math.nan])
@pytest.mark.parametrize("threshold", [1e308, 1e-308, -1.0, 0.0, math.inf, math.nan])
def test_every_measurement_has_a_band(
    measured: float, threshold: float, unit: str
) -> None:
    found = msgspec.structs.replace(
        make_finding(measured=measured), threshold=threshold, unit=unit
    )

    assert isinstance(measured_band(found), int)


def test_a_row_has_the_tables_columns_in_order() -> None:
    tracked = next(iter(tracked_after(make_finding()).values()))

    row = finding_row(tracked)

    assert tuple(row) == FINDING_COLUMNS
    assert row["severity"] == "medium"
    assert row["resource"] == "/"
    assert row["id"] == tracked.finding.fingerprint


def test_tracked_findings_survive_json_with_rfc_3339_times() -> None:
    tracked = next(iter(tracked_after(make_finding()).values()))

    encoded = msgspec.json.encode(tracked)

    assert b'"first_seen":"2026-11-22T10:00:00Z"' in encoded
    assert msgspec.json.decode(encoded, type=TrackedFinding) == tracked


findings = st.builds(
    make_finding,
    name=st.sampled_from(["/", "/a", "/b", "/c"]),
    severity=st.sampled_from(list(Severity)),
    measured=st.floats(0, 100),
    host=st.sampled_from(["web-1", "web-2"]),
    rule=st.sampled_from(["DSK-001", "LOG-001"]),
    hold=st.booleans(),
)
coverages = st.lists(
    st.builds(
        Coverage,
        detector=st.sampled_from(["DSK-001", "LOG-001"]),
        resource_scope=st.sampled_from(
            ["*", "disk:*", "disk:web-1:*", "disk:web-1:/", "disk:web-2:/a"]
        ),
        status=st.sampled_from(["scanned", "skipped", "failed", "truncated"]),
    ),
    max_size=4,
)
scans = st.lists(
    st.tuples(st.lists(findings, max_size=4), coverages), min_size=1, max_size=4
)


@settings(max_examples=60)
@given(scans)
def test_over_any_scans_nothing_is_lost_and_resolved_means_looked_at(
    history: list[tuple[list[Finding], list[Coverage]]],
) -> None:
    known: dict[str, TrackedFinding] = {}
    for index, (found, coverage) in enumerate(history):
        now = NOW + timedelta(hours=index)
        changed = diff(known, found, coverage, now)
        seen = {finding.fingerprint for finding in found}
        raised = {finding.fingerprint for finding in found if not finding.hold}

        assert set(known) | raised <= set(changed.tracked)
        assert set(changed.tracked) <= set(known) | raised
        for tracked in changed.resolved:
            assert tracked.id not in raised
            assert is_covered(tracked.finding, coverage) or tracked.id in seen
        for tracked in changed.unknown:
            assert not is_covered(tracked.finding, coverage)
        assert all(
            tracked.is_open for key, tracked in changed.tracked.items() if key in raised
        )
        assert diff(known, reversed(found), coverage[::-1], now) == changed
        known = changed.tracked


@settings(max_examples=30)
@given(st.lists(findings, max_size=6))
def test_the_same_scan_again_changes_nothing(found: list[Finding]) -> None:
    known = diff({}, found, EVERYTHING, NOW).tracked

    again = diff(known, found, EVERYTHING, LATER)

    assert again.changes == ()
    assert len(again.persisting) == len(known)
