"""Findings and commands as pandas tables: fixed columns and types, even when empty."""

import hashlib
import html
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.severity import Severity

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    "severity",
    "state",
    "title",
    "resource",
    "host",
    "rule",
    "first_seen",
    "last_seen",
    "count",
    "runbook",
    "id",
)
COMMAND_COLUMNS: Mapping[str, str] = {
    "started_at": "datetime64[ns, UTC]",
    "user": "string",
    "command": "string",
    "exit_code": "Int64",
    "duration_s": "Float64",
    "cwd": "string",
    "output_start": "Int64",
    "output_end": "Int64",
    "state": "string",
}
"""Column → type of a table of commands."""

LOG_COLUMNS: Mapping[str, str] = {
    "offset": "Int64",
    "at": "datetime64[ns, UTC]",
    "type": "string",
    "user": "string",
    "lost": "string",
    "how": "string",
    "bytes": "Int64",
    "cols": "Int64",
    "rows": "Int64",
    "policy": "string",
    "by": "string",
    "epoch": "string",
    "at_byte": "Int64",
}
"""Column → type of a table of a terminal's log."""

SHOWN = ("severity", "state", "title", "resource", "count")
"""What a notebook shows of it: what is the same at every run of the same facts."""

SEVERITIES = tuple(severity.value for severity in Severity)

COLOURS: Mapping[str, str] = {
    "critical": "background-color:#7f1d1d;color:#ffffff;font-weight:600",
    "high": "background-color:#dc2626;color:#ffffff",
    "medium": "background-color:#f59e0b;color:#1c1917",
    "low": "background-color:#fde68a;color:#1c1917",
    "info": "background-color:#dbeafe;color:#1e3a8a",
}
"""Severity → CSS; every pair has a contrast of at least 4.5."""


def load_pandas() -> Any:
    """
    Return pandas, imported at first use.

    Raises:
        UsageError: If it is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UsageError('Tables need pandas: pip install "vibehq-nb[lab]".') from None
    return pandas


def findings_frame(findings: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    """
    Return *findings* as a table, worst first.

    Columns and types are always those of :data:`COLUMNS`: ``severity`` is an ordered
    category, the two times are UTC, ``count`` is an integer, the rest is text.
    """
    pd = load_pandas()
    rows = list(findings)
    table = {
        name: pd.Series([_cell(row, name) for row in rows], dtype="string")
        for name in COLUMNS
        if name not in ("severity", "first_seen", "last_seen", "count")
    }
    table["severity"] = pd.Categorical(
        [row.get("severity") for row in rows], categories=SEVERITIES, ordered=True
    )
    for name in ("first_seen", "last_seen"):
        times = pd.to_datetime(
            pd.Series([row.get(name) for row in rows], dtype="object"),
            utc=True,
            format="ISO8601",
        )
        table[name] = times.astype("datetime64[us, UTC]")
    table["count"] = pd.Series([row.get("count", 1) for row in rows], dtype="int64")
    frame = pd.DataFrame(table, columns=list(COLUMNS))
    ordered: pandas.DataFrame = frame.sort_values(
        ["severity", "title", "resource"],
        ascending=[False, True, True],
        kind="stable",
        ignore_index=True,
    )
    return ordered


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("uid")
    return "" if value is None else str(value)


def plain_frame(
    rows: Iterable[Mapping[str, Any]], columns: Iterable[str]
) -> "pandas.DataFrame":
    """Return *rows* as a table of *columns*, also when there are none."""
    pd = load_pandas()
    table: pandas.DataFrame = pd.DataFrame(
        [dict(row) for row in rows], columns=list(columns)
    )
    return table


def commands_frame(commands: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    """
    Return *commands* as a table in their order.

    Columns and types are always those of :data:`COMMAND_COLUMNS`: ``started_at`` is
    UTC, numbers may be missing, the rest is text. ``state`` is ended, running, or
    unknown where the shell or its worker is gone without a word on it.
    """
    return _typed_frame(commands, COMMAND_COLUMNS)


def log_frame(entries: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    """
    Return a terminal's log as a table in its order.

    Columns and types are always those of :data:`LOG_COLUMNS`; what an entry does not
    say is missing.
    """
    return _typed_frame(entries, LOG_COLUMNS)


def _typed_frame(
    entries: Iterable[Mapping[str, Any]], columns: Mapping[str, str]
) -> "pandas.DataFrame":
    pd = load_pandas()
    rows = list(entries)
    table = {}
    for name, dtype in columns.items():
        cells = [row.get(name) for row in rows]
        if dtype.startswith("datetime"):
            times = pd.Series(cells, dtype="object")
            times = pd.to_datetime(times, utc=True, format="ISO8601")
            table[name] = times.astype(dtype)
        else:
            table[name] = pd.Series(cells, dtype=dtype)
    frame: pandas.DataFrame = pd.DataFrame(table, columns=list(columns))
    return frame


def severity_html(frame: "pandas.DataFrame") -> str:
    """Return the shown columns of *frame* as HTML with a colour per severity."""
    shown = frame[list(SHOWN)].astype({"severity": "string"})
    # One name for the same content: stable from run to run, apart from other tables.
    name = hashlib.sha256(shown.to_csv().encode()).hexdigest()[:8]
    styler = shown.style.map(lambda cell: COLOURS.get(cell, ""), subset=["severity"])
    styler = styler.format(escape="html").hide(axis="index")
    return str(styler.set_uuid(name).to_html())


def summary_html(text: str) -> str:
    """Return *text* as a paragraph."""
    return f"<p>{html.escape(text)}</p>"
