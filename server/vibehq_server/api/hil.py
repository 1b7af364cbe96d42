"""``/api/hil``: requests for a decision, and decisions."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta

from vibehq_nb.core.approvals import ConflictError
from vibehq_nb.core.errors import DecodeError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.messages import AskApproval, CancelApproval, Decide, MessageId
from vibehq_server.api.base import ApiHandler
from vibehq_server.refusals import Refusal

HIL = RoomKey("hil", "main")


class RequestsHandler(ApiHandler):
    """``/api/hil/requests``."""

    async def get(self) -> None:
        """List requests, the newest first."""
        self.require_read(HIL)
        room = await self.live_room(*HIL)
        status = self.query("status")
        limit = self.query_number("limit", 50)
        offset = self.query_number("offset", 0, 10**9)
        found, total = await room.run(room.list, status, limit, offset)
        self.answer({"requests": found, "total": total})

    async def post(self) -> None:
        """Ask for a decision on one exact action."""
        self.require_send(HIL, "hil-request")
        asked = self.decode_body(AskApproval)
        room = await self.live_room(*HIL)
        self.answer(await room.run(room.ask, self.identity, asked), 201)


class RequestHandler(ApiHandler):
    """``GET /api/hil/requests/{id}``."""

    async def get(self, approval_id: str) -> None:
        """Tell one request as it stands."""
        self.require_read(HIL)
        room = await self.live_room(*HIL)
        self.answer(await room.run(room.get, approval_id))


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decision, as the path names its request already."""

    version: Annotated[int, Meta(ge=0)]
    verdict: Literal["approve", "reject"]
    action_digest: Annotated[str, Meta(min_length=64, max_length=64)]
    key: MessageId
    reason: Annotated[str, Meta(max_length=2000)] = ""


class ResponseHandler(ApiHandler):
    """``POST /api/hil/requests/{id}/response``."""

    async def post(self, approval_id: str) -> None:
        """Decide; the same key gets the same answer."""
        page = self.page_url(f"/r/{quote(approval_id, safe='')}")
        advice = f"Decide on the page {page}, or sign in as an approver: vibehq login."
        self.require_send(HIL, "hil-decision", "deciding", advice)
        asked = self.decode_body(Answer)
        fields: dict[str, Any] = msgspec.structs.asdict(asked)
        room = await self.live_room(*HIL)
        decision = Decide(approval_id=approval_id, **fields)
        try:
            stored = await room.run(room.decide, self.identity, decision)
        except ConflictError as error:
            # Whoever comes second is told what was decided, and by whom.
            request = msgspec.to_builtins(await room.run(room.get, approval_id))
            first = {"status": request["status"], "decisions": request["decisions"]}
            raise Refusal(409, error.code, error.reason, first) from None
        self.answer(stored)


class Use(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which action is about to be carried out."""

    action_digest: Annotated[str, Meta(min_length=64, max_length=64)]


class UseHandler(ApiHandler):
    """``POST /api/hil/requests/{id}/use``."""

    async def post(self, approval_id: str) -> None:
        """Use an approval, once, for exactly its action."""
        self.require_send(HIL, "hil-request")
        asked = self.decode_body(Use)
        room = await self.live_room(*HIL)
        used = await room.run(
            room.consume, self.identity, approval_id, asked.action_digest
        )
        self.answer(used)


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a requester may make of a request."""

    status: str


class StatusHandler(ApiHandler):
    """``PATCH /api/hil/requests/{id}/status``."""

    async def patch(self, approval_id: str) -> None:
        """Withdraw a request of one's own."""
        self.require_send(HIL, "hil-cancel")
        asked = self.decode_body(Status)
        if asked.status != "cancelled":
            raise DecodeError("the one status to set is cancelled")
        room = await self.live_room(*HIL)
        cancel = CancelApproval(approval_id=approval_id)
        self.answer(await room.run(room.cancel, self.identity, cancel))
