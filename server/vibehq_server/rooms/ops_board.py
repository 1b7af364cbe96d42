"""What the ops room knows: findings, scans and events, as its entries say. No I/O."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.findings import REOPEN_WITHIN, TrackedFinding, finding_row
from vibehq_nb.core.messages import (
    Event,
    FindingCreated,
    FindingResolved,
    FindingUpdated,
    Message,
    ScanFailed,
    ScanResult,
    ScanStart,
)
from vibehq_nb.core.severity import Severity

MAX_SCANS = 20
MAX_EVENTS = 100
MAX_RESOLVED = 500
"""Resolved findings kept, so that they can be reopened; the log has all."""


class FindingsSeen(Message, tag="_findings-seen"):
    """Internal entry: a scan saw these findings as they stood."""

    ids: list[str]
    at: datetime
    offset: int = 0


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """
    A finding over time, and whose it is.

    Attributes:
        worker: Whose scan saw it last; only its scans can resolve it.
        note: What a person said who resolved it by hand.
    """

    tracked: TrackedFinding
    worker: str
    note: str = ""

    def as_wire(self) -> dict[str, Any]:
        """Return the columns of a finding, and all there is to it in ``detail``."""
        row = {
            **finding_row(self.tracked),
            "kind": self.tracked.finding.resource.kind,
            "worker": self.worker,
            "resolved_at": self.tracked.resolved_at,
            "note": self.note,
            "detail": self.tracked.finding,
        }
        wire: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(row))
        return wire


def known_from(wire: dict[str, Any]) -> Known:
    """Return what :meth:`Known.as_wire` was made of."""
    tracked = msgspec.convert({**wire, "finding": wire["detail"]}, TrackedFinding)
    return Known(tracked=tracked, worker=wire["worker"], note=wire["note"])


class Board:
    """A fold of the room's entries."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        """Begin with what :meth:`as_state` returned, or empty."""
        state = state or {}
        found = [known_from(wire) for wire in state.get("findings", [])]
        self.findings = {known.tracked.id: known for known in found}
        self.running: dict[str, dict[str, Any]] = dict(state.get("running", {}))
        self.scans: list[dict[str, Any]] = list(state.get("scans", []))
        self.events: list[dict[str, Any]] = list(state.get("events", []))

    def as_state(self) -> dict[str, Any]:
        """Return everything as plain data; scans and events newest first."""
        return {
            "findings": [known.as_wire() for known in self.findings.values()],
            "scans": self.scans,
            "running": self.running,
            "events": self.events,
        }

    def apply(self, message: Message, at_ms: int) -> None:
        """Fold one entry in."""
        match message:
            case FindingCreated() | FindingUpdated() | FindingResolved():
                known = known_from(message.finding)
                self.findings.pop(known.tracked.id, None)
                self.findings[known.tracked.id] = known
            case FindingsSeen():
                self._see(message)
            case ScanStart(scan_id=scan_id):
                self.running[scan_id] = _plain(message)
            case ScanResult() | ScanFailed():
                self._end(message, at_ms)
            case Event():
                self.events = [_plain(message), *self.events][:MAX_EVENTS]
            case _:
                pass

    def _see(self, seen: FindingsSeen) -> None:
        for finding_id in seen.ids:
            known = self.findings[finding_id]
            tracked = msgspec.structs.replace(
                known.tracked,
                state="persisting",
                last_seen=seen.at,
                count=known.tracked.count + 1,
            )
            self.findings[finding_id] = msgspec.structs.replace(known, tracked=tracked)

    def _end(self, message: ScanResult | ScanFailed, at_ms: int) -> None:
        start = self.running.pop(message.scan_id, {})
        summary = {**start, **_plain(message)}
        for name in ("findings", "coverage"):
            summary.pop(name, None)
        if isinstance(message, ScanFailed):
            ended = datetime.fromtimestamp(at_ms / 1000, UTC)
            summary |= {"status": "failed", "completed_at": iso(ended)}
        self.scans = [summary, *self.scans][:MAX_SCANS]
        self._forget(datetime.fromtimestamp(at_ms / 1000, UTC))

    def _forget(self, now: datetime) -> None:
        resolved = [
            (known.tracked.resolved_at, finding_id)
            for finding_id, known in self.findings.items()
            if known.tracked.resolved_at is not None and not known.tracked.is_open
        ]
        resolved.sort()
        for number, (resolved_at, finding_id) in enumerate(resolved):
            too_many = len(resolved) - number > MAX_RESOLVED
            if too_many or now - resolved_at > REOPEN_WITHIN:
                del self.findings[finding_id]

    def find(self, finding_id: str) -> Known:
        """
        Return the finding with this id.

        Raises:
            DeniedError: ``not-found``.
        """
        known = self.findings.get(finding_id)
        if known is None:
            raise DeniedError("not-found", "There is no such finding here.")
        return known

    def find_scan(self, scan_id: str) -> dict[str, Any]:
        """
        Return what is known of a scan: ``status`` is running, completed or failed.

        Raises:
            DeniedError: ``not-found``, also for scans that ended long ago.
        """
        if scan_id in self.running:
            return {**self.running[scan_id], "status": "running"}
        for scan in self.scans:
            if scan["scan_id"] == scan_id:
                return scan
        raise DeniedError("not-found", "There is no such scan among the latest 20.")

    def ranked(self, severity: Severity | None, state: str | None) -> list[Known]:
        """Return the findings from *severity* on, of *state*, the worst first."""
        chosen = [
            known
            for known in self.findings.values()
            if (severity is None or known.tracked.finding.severity >= severity)
            and _is_in(known.tracked, state)
        ]
        chosen.sort(key=lambda k: k.tracked.last_seen, reverse=True)
        chosen.sort(key=lambda k: k.tracked.finding.severity.rank, reverse=True)
        return chosen


def _is_in(tracked: TrackedFinding, state: str | None) -> bool:
    if state == "open":
        return tracked.is_open
    return state in (None, tracked.state)


def _plain(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(message)
    plain.pop("type", None)
    return plain


def iso(when: datetime) -> str:
    """Return *when* as the wire has it: RFC 3339, UTC."""
    return str(msgspec.to_builtins(when))
