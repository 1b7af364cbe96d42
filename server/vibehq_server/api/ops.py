"""``/api/ops``: scans, findings, events."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from vibehq_nb.core.errors import DecodeError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.messages import Emit, Object, Words
from vibehq_nb.core.roles import Role
from vibehq_server.api.base import ApiHandler

OPS = RoomKey("ops", "main")

Scope = Literal["full", "incremental"]


class AskScan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scan; ``type`` is the older name of ``scope``."""

    scope: Scope | UnsetType = UNSET
    type: Scope | UnsetType = UNSET
    on: Literal["*"] | Words = "*"
    kinds: Words | None = None
    logs: Words = []
    filters: Object = {}


class ScanHandler(ApiHandler):
    """``POST /api/ops/scan``."""

    async def post(self) -> None:
        """Begin a scan; its end is sent to the room and kept."""
        self.require_room(OPS)
        self.require(Role.OPERATOR)
        asked = self.decode_body(AskScan)
        scope = asked.scope or asked.type or "incremental"
        room = await self.live_room(*OPS)
        scan_id = await room.run(
            room.scan,
            self.identity,
            scope,
            asked.on,
            asked.kinds,
            asked.logs,
            asked.filters,
        )
        self.answer({"scan_id": scan_id}, 202)


class ScansHandler(ApiHandler):
    """``GET /api/ops/scans[/{scan_id}]``."""

    async def get(self, scan_id: str = "") -> None:
        """List the last scans, or tell one."""
        self.require_read(OPS)
        room = await self.live_room(*OPS)
        if scan_id:
            self.answer(await room.run(room.scan_result, scan_id))
            return
        scans = await room.run(room.scans, self.query_number("limit", 20))
        self.answer({"scans": scans})


class IssuesHandler(ApiHandler):
    """``GET /api/ops/issues``."""

    async def get(self) -> None:
        """List findings, the worst first."""
        self.require_read(OPS)
        room = await self.live_room(*OPS)
        given: dict[str, Any] = {
            name: text
            for name in ("severity", "state")
            if (text := self.query(name)) is not None
        }
        limit = self.query_number("limit", 100)
        issues = await room.run(lambda: room.issues(limit=limit, **given))
        self.answer({"issues": issues})


class Resolve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a finding is taken as resolved."""

    note: Annotated[str, Meta(max_length=2000)] = ""


class ResolveHandler(ApiHandler):
    """``POST /api/ops/issues/{id}/resolve``."""

    async def post(self, issue_id: str) -> None:
        """Mark a finding resolved until it is seen again."""
        self.require_room(OPS)
        self.require(Role.OPERATOR)
        asked = self.decode_body(Resolve)
        room = await self.live_room(*OPS)
        issue = await room.run(room.resolve, self.identity, issue_id, asked.note)
        self.answer(issue if issue is not None else {"id": issue_id})


class BroadcastHandler(ApiHandler):
    """``POST /api/ops/broadcast``."""

    async def post(self, *args: str, **kwargs: str) -> None:
        """Tell everybody of something."""
        self.require_send(OPS, "event")
        asked = self.decode_body(Emit)
        if asked.id is not UNSET:
            raise DecodeError("an id is for sockets; leave it out")
        room = await self.live_room(*OPS)
        offset = await room.run(room.emit, self.identity, asked.name, asked.data)
        self.answer({"offset": offset}, 202)
