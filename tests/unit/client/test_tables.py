"""Tables have the same columns and types whatever they hold."""

from typing import Any

import pandas as pd
import pytest

from vibehq_nb.client.scans import Scan
from vibehq_nb.client.tables import (
    COLUMNS,
    COMMAND_COLUMNS,
    commands_frame,
    findings_frame,
    severity_html,
)


def finding(**changes: Any) -> dict[str, Any]:
    return {
        "severity": "high",
        "state": "new",
        "title": "Disk almost full",
        "resource": "/",
        "host": "web-1",
        "rule": "DSK-001",
        "first_seen": "2026-11-22T10:00:00Z",
        "last_seen": "2026-11-22T11:00:00.250000Z",
        "count": 2,
        "runbook": None,
        "id": "v1:0",
        **changes,
    }


def scan(*findings: dict[str, Any], **changes: Any) -> Scan:
    return Scan(
        {
            "scan_id": "s",
            "scope": "full",
            "processed_logs": 1200,
            "status": "completed",
            "coverage": [],
            "findings": list(findings),
            **changes,
        }
    )


def test_an_empty_table_has_the_columns_and_types_of_a_full_one() -> None:
    empty, full = findings_frame([]), findings_frame([finding()])

    assert tuple(empty.columns) == COLUMNS
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


def test_types_are_fixed() -> None:
    frame = findings_frame([finding()])

    assert isinstance(frame["severity"].dtype, pd.CategoricalDtype)
    assert frame["severity"].dtype.ordered
    assert str(frame["first_seen"].dtype) == "datetime64[us, UTC]"
    assert str(frame["count"].dtype) == "int64"
    assert str(frame["title"].dtype) == "string"


def test_a_table_of_commands_has_its_types_also_when_it_is_empty() -> None:
    rows = [
        {
            "number": 1,
            "started_at": "2026-11-22T10:00:00.250Z",
            "user": None,
            "command": "sleep 9",
            "exit_code": None,
            "cwd": "/",
            "output_start": 5,
            "state": "running",
        },
        {"started_at": "2026-11-22T10:00:01.000Z", "exit_code": 3, "duration_s": 0.5},
    ]

    empty, full = commands_frame([]), commands_frame(rows)

    for frame in (empty, full):
        assert {name: str(frame[name].dtype) for name in frame} == COMMAND_COLUMNS
    assert full["exit_code"].isna().tolist() == [True, False]
    assert full["duration_s"].isna().tolist() == [True, False]
    assert full["user"].isna().tolist() == [True, True]


def test_severity_can_be_queried_by_name_and_by_order() -> None:
    frame = findings_frame([finding(severity=name) for name in ("low", "high", "info")])

    assert list(frame["severity"]) == ["high", "low", "info"]
    assert len(frame.query("severity == 'high'")) == 1
    assert len(frame[frame["severity"] >= "low"]) == 2


def test_what_is_resolved_is_a_change_and_not_a_finding() -> None:
    found = scan(
        finding(state="new"), finding(state="persisting"), finding(state="resolved")
    )

    assert len(found.findings) == 2
    assert sorted(found.changes["state"]) == ["new", "resolved"]


def test_a_scan_reads_the_same_at_every_run() -> None:
    first = scan(finding(), scan_id="a")
    second = scan(
        finding(first_seen="2027-01-01T00:00:00Z", host="other", id="v1:9"), scan_id="b"
    )

    assert repr(first) == repr(second)
    assert first._repr_html_() == second._repr_html_()
    assert first.summary == "full scan: 1 finding (1 high), 1200 log lines read"


def test_a_scan_without_findings_shows_its_summary() -> None:
    found = scan()

    assert repr(found) == "full scan: 0 findings, 1200 log lines read"
    assert "<table" not in found._repr_html_()
    assert list(found.coverage.columns)


def test_severities_are_coloured_and_text_is_escaped() -> None:
    html = severity_html(findings_frame([finding(title="<script>alert(1)</script>")]))

    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "background-color: #dc2626" in html


@pytest.mark.parametrize("severity", ["critical", "high", "medium", "low", "info"])
def test_every_severity_has_a_readable_colour(severity: str) -> None:
    from vibehq_nb.client.tables import COLOURS

    style = dict(part.split(":") for part in COLOURS[severity].split(";"))

    assert contrast(style["background-color"], style["color"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, as WCAG 2.2 defines it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
