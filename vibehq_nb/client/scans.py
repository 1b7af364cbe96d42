"""Scans: ask for one, follow it, and keep what it found."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from vibehq_nb.client.errors import ApiError, ScanFailedError
from vibehq_nb.client.event_room import EventRoom
from vibehq_nb.client.http import HttpApi
from vibehq_nb.client.tables import (
    SHOWN,
    findings_frame,
    plain_frame,
    severity_html,
    summary_html,
)
from vibehq_nb.core.messages import (
    Message,
    ScanFailed,
    ScanProgress,
    ScanResult,
    StateSnapshot,
)

if TYPE_CHECKING:
    import pandas

CHANGED = ("new", "reopened", "updated", "resolved", "unknown")
COVERAGE_COLUMNS = ("host", "detector", "status", "reason")
AGAIN_SECONDS = 30.0

Report = Callable[[str, int, int], None]
"""Told how far a scan is: phase, processed, total."""


@dataclass(frozen=True, slots=True, repr=False)
class Scan:
    """
    A scan that is complete.

    Attributes:
        result: What the server stored and sent to everybody, as plain data.
    """

    result: dict[str, Any]

    @property
    def scan_id(self) -> str:
        """Its id."""
        return str(self.result["scan_id"])

    @property
    def findings(self) -> "pandas.DataFrame":
        """What is there now, worst first; fixed columns and types."""
        rows = [row for row in self._rows() if row.get("state") != "resolved"]
        return findings_frame(rows)

    @property
    def changes(self) -> "pandas.DataFrame":
        """What differs from the scan before, whatever its new state is."""
        return findings_frame(
            row for row in self._rows() if row.get("state") in CHANGED
        )

    @property
    def coverage(self) -> "pandas.DataFrame":
        """What was looked at and what was not, and why: one row a detector."""
        rows: list[dict[str, Any]] = self.result.get("coverage", [])
        names = list(dict.fromkeys(key for row in rows for key in row))
        return plain_frame(rows, names or COVERAGE_COLUMNS)

    @property
    def summary(self) -> str:
        """One line: how much was found, how bad, in how many logs."""
        rows = [row for row in self._rows() if row.get("state") != "resolved"]
        worst = [
            f"{count} {name}"
            for name in ("critical", "high", "medium", "low", "info")
            if (count := sum(row.get("severity") == name for row in rows))
        ]
        found = f"{len(rows)} finding{'' if len(rows) == 1 else 's'}"
        detail = f" ({', '.join(worst)})" if worst else ""
        logs = self.result.get("processed_logs", 0)
        lines = f"{logs} log line{'' if logs == 1 else 's'}"
        return f"{self.result.get('scope', '')} scan: {found}{detail}, {lines} read"

    def _rows(self) -> list[dict[str, Any]]:
        return list(self.result.get("findings", []))

    def __len__(self) -> int:
        """Return how many findings there are now."""
        return len(self.findings)

    def __repr__(self) -> str:
        """Return summary and table, the same text for the same facts."""
        frame = self.findings
        if frame.empty:
            return self.summary
        return f"{self.summary}\n{frame[list(SHOWN)].to_string(index=False)}"

    def _repr_html_(self) -> str:
        frame = self.findings
        table = "" if frame.empty else severity_html(frame)
        return summary_html(self.summary) + table


async def scan(
    api: HttpApi,
    scope: str = "full",
    on: str | Sequence[str] = "*",
    kinds: Sequence[str] | None = None,
    logs: Sequence[str] | None = None,
    filters: dict[str, Any] | None = None,
    report: Report | None = None,
) -> Scan:
    """
    Run a scan and return it when it is complete.

    Args:
        api: The server.
        scope: ``full`` or ``incremental`` (what came since the last one).
        on: The workers it runs on; ``*`` for all that are there.
        kinds: Only these kinds of detectors.
        logs: These log files too.
        filters: Only findings that pass these.
        report: Told how far it is, on the client's loop.

    Raises:
        ScanFailedError: If it ends without a result.
        ApiError: If the server refuses it.
    """
    body: dict[str, Any] = {"scope": scope, "on": on if on == "*" else _words(on)}
    optional = {"kinds": kinds, "logs": logs}
    body |= {key: _words(value) for key, value in optional.items() if value is not None}
    if filters is not None:
        body["filters"] = filters
    async with EventRoom(api.server, "ops") as room:
        messages = aiter(room)
        # Joined before it is asked for: no progress and no end can be missed.
        async for message in messages:
            if isinstance(message, StateSnapshot):
                break
        answer = await asyncio.to_thread(api.request, "POST", "/api/ops/scan", body)
        return await _follow(api, room, str(answer["scan_id"]), report)


def _words(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else [str(item) for item in value]


async def _follow(
    api: HttpApi, room: EventRoom, scan_id: str, report: Report | None
) -> Scan:
    messages = aiter(room)
    while True:
        try:
            async with asyncio.timeout(AGAIN_SECONDS):
                message = await anext(messages)
        except TimeoutError:
            messages = aiter(room)
            found = await _stored(api, scan_id)
        else:
            found = await _judge(api, message, scan_id, report)
        if found is not None:
            return found


async def _judge(
    api: HttpApi, message: Message, scan_id: str, report: Report | None
) -> Scan | None:
    match message:
        case ScanProgress(scan_id=about) if about == scan_id:
            if report is not None:
                report(message.phase, message.processed, message.total)
        case ScanResult(scan_id=about) if about == scan_id:
            return Scan(msgspec.to_builtins(message))
        case ScanFailed(scan_id=about) if about == scan_id:
            raise ScanFailedError(scan_id, message.code, message.message)
        case StateSnapshot():
            return await _stored(api, scan_id)  # after a gap the end may be behind us
    return None


async def _stored(api: HttpApi, scan_id: str) -> Scan | None:
    try:
        found: dict[str, Any] = await asyncio.to_thread(
            api.request, "GET", f"/api/ops/scans/{scan_id}"
        )
    except ApiError as error:
        if error.status in (0, 404, 503):
            return None
        raise
    if found.get("status") == "failed":
        raise ScanFailedError(
            scan_id, str(found.get("code", "")), str(found.get("message", ""))
        )
    return Scan(found) if found.get("status") == "completed" else None
