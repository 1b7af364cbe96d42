"""
The ops room: scans, findings and events.

Which finding is which, and what changed, is ``vibehq_nb.core.findings``; this room
adds the workers, the clock and the log.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from vibehq_nb.core.codec import decode_plain, encode_canonical
from vibehq_nb.core.errors import DecodeError, DeniedError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.messages import (
    Emit,
    Event,
    FindingCreated,
    FindingResolved,
    FindingUpdated,
    Message,
    ScanFailed,
    ScanResult,
    ScanStart,
    Subscribe,
    Subscribed,
)
from vibehq_nb.core.roles import Role
from vibehq_nb.core.severity import Severity
from vibehq_server.connection import Connection
from vibehq_server.identity import Identity
from vibehq_server.rooms.ops_board import MAX_SCANS, Board, FindingsSeen, iso
from vibehq_server.rooms.ops_filters import (
    Filters,
    decode_filters,
)
from vibehq_server.rooms.ops_scanning import ScanningRoom

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

MAX_EVENT_BYTES = 48 * 1024


class OpsRoom(ScanningRoom):
    """What is wrong, since when, and who is looking at it."""

    names: ClassVar[frozenset[str] | None] = frozenset({"main"})
    stays: ClassVar[bool] = True
    entries: ClassVar[tuple[type[Message], ...]] = (
        ScanStart,
        ScanResult,
        ScanFailed,
        FindingCreated,
        FindingUpdated,
        FindingResolved,
        FindingsSeen,
        Event,
    )

    def __init__(self, key: RoomKey, hub: "Hub") -> None:
        """Know of nothing yet."""
        super().__init__(key, hub)
        self._filters: dict[Connection, Filters] = {}

    def state(self) -> dict[str, Any]:
        """Return findings, the latest scans and events, and what runs."""
        return self._board.as_state()

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state that :meth:`state` returned; ``{}`` is the first."""
        self._board = Board(state)

    def apply(self, message: Message, at_ms: int) -> None:
        """Fold one entry in."""
        self._board.apply(message, at_ms)

    # Subscribers

    def wants(self, connection: Connection, message: Message) -> bool:
        """Tell whether the connection's filters let *message* pass."""
        filters = self._filters.get(connection)
        return filters is None or filters.passes(message)

    async def on_close(
        self, connection: Connection, code: int, reason: str, was_clean: bool
    ) -> None:
        """Forget the connection's filters."""
        self._filters.pop(connection, None)
        await super().on_close(connection, code, reason, was_clean)

    async def receive(self, connection: Connection, message: Message) -> int | None:
        """Act on a subscription or an event."""
        match message:
            case Subscribe(filters=plain):
                self._filters[connection] = decode_filters(plain)
                self.send(connection, Subscribed(filters=plain))
            case Emit(name=name, data=data):
                return self.emit(connection.identity, name, data)
        return None

    def emit(self, identity: Identity, name: str, data: dict[str, Any]) -> int:
        """
        Tell everybody of something; return its offset.

        Raises:
            DeniedError: ``bad-request`` for more than 48 KiB of data.
            DecodeError: If the data has no exact JSON form.
        """
        if len(encode_canonical(data)) > MAX_EVENT_BYTES:
            raise DeniedError("bad-request", "An event holds at most 48 KiB.")
        return self.append(
            Event(name=name, data=data, by=identity.user, at=iso(self.now), offset=0)
        )

    # What can be asked of the room; inside run()

    def scans(self, limit: int = MAX_SCANS) -> list[dict[str, Any]]:
        """Return what runs and the latest scans, newest first, without findings."""
        running = [self._board.find_scan(scan_id) for scan_id in self._board.running]
        return [*reversed(running), *self._board.scans][:limit]

    async def scan_result(self, scan_id: str) -> dict[str, Any]:
        """
        Return a scan, with findings and coverage if it is completed.

        Raises:
            DeniedError: ``not-found``.
        """
        found = self._board.find_scan(scan_id)
        if found["status"] != "completed":
            return found
        await self.committed()
        [entry] = await self.hub.log.read(self.key, found["offset"] - 1, 1)
        whole: dict[str, Any] = decode_plain(entry.body)
        return {**found, **whole}

    def issues(
        self, limit: int = 50, severity: str | None = None, state: str | None = None
    ) -> list[dict[str, Any]]:
        """
        Return findings, the worst first.

        Args:
            limit: How many at most.
            severity: This and worse.
            state: One of the states, or ``open`` for all but resolved.

        Raises:
            DecodeError: For a severity there is not.
        """
        if severity is not None and severity not in list(Severity):
            raise DecodeError("severity is not one of " + ", ".join(Severity))
        least = None if severity is None else Severity(severity)
        return [k.as_wire() for k in self._board.ranked(least, state)[:limit]]

    def resolve(self, identity: Identity, finding_id: str, note: str) -> dict[str, Any]:
        """
        Take a finding as resolved, until a scan sees it again.

        Raises:
            DeniedError: ``not-found``, ``forbidden``, ``bad-request`` without a note,
                ``conflict`` if it is resolved already.
        """
        if identity.roles.isdisjoint({Role.OPERATOR, Role.ADMIN}):
            raise DeniedError("forbidden", "Your role may not resolve findings.")
        if not note.strip():
            raise DeniedError("bad-request", "Say what was done: a note is needed.")
        known = self._board.find(finding_id)
        if not known.tracked.is_open:
            raise DeniedError("conflict", "This finding is resolved already.")
        resolved = msgspec.structs.replace(
            known,
            note=f"{identity.user}: {note.strip()}",
            tracked=msgspec.structs.replace(
                known.tracked, state="resolved", resolved_at=self.now
            ),
        )
        self.append(FindingResolved(finding=resolved.as_wire(), offset=0))
        return resolved.as_wire()
