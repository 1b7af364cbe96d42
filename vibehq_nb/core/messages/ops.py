"""Messages of the ops room: scans, findings, events."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from vibehq_nb.core.messages.base import Count, Message, MessageId, Name, Object


class ScanStart(Message):
    """A scan was asked for and begins."""

    scan_id: str
    scope: str
    on: list[str]
    """The workers it runs on."""
    requested_by: str
    at: str
    offset: Count


class ScanProgress(Message):
    """How far a scan is; at most every 100 ms."""

    scan_id: str
    processed: Count
    total: Count
    phase: str
    on: str = ""


class WorkerScanResult(Message, tag="scan-result"):
    """What one worker found, before it is compared with the scan before."""

    scan_id: str
    processed_logs: Count
    started_at: str
    completed_at: str
    coverage: list[Object]
    findings: list[Object]


class ScanResult(Message):
    """A scan's one good end: stored, then sent."""

    scan_id: str
    scope: str
    on: list[str]
    processed_logs: Count
    issues_filed: Count
    status: Literal["completed"]
    started_at: str
    completed_at: str
    coverage: list[Object]
    findings: list[Object]
    changes: dict[str, int]
    offset: Count


class ScanFailed(Message):
    """A scan's other end."""

    scan_id: str
    code: str
    message: str
    offset: Count = 0
    """0 between worker and room."""


class Subscribe(Message):
    """Send only what passes these filters: severity, kinds, types."""

    filters: Object
    id: MessageId | UnsetType = UNSET


class Subscribed(Message):
    """The filters in force."""

    filters: Object


class FindingCreated(Message):
    """A finding that was not there before."""

    finding: Object
    offset: Count


class FindingUpdated(Message):
    """A known finding whose severity, measure or state changed."""

    finding: Object
    offset: Count


class FindingResolved(Message):
    """A finding that is gone."""

    finding: Object
    offset: Count


class Emit(Message, tag="event"):
    """Tell everybody of something: a deploy, a note."""

    name: Name
    data: Object = msgspec.field(default_factory=dict)
    id: MessageId | UnsetType = UNSET


class Event(Message):
    """Something a worker or a notebook told."""

    name: str
    data: Object
    by: str
    at: str
    offset: Count
