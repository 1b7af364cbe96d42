"""``/api/grants``: give, list, take back; nothing is given that is not in the log."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vibehq_nb.core.errors import DeniedError, NotStoredError, UsageError
from vibehq_nb.core.roles import Role
from vibehq_server.api.base import ApiHandler
from vibehq_server.auth.records import Grant
from vibehq_server.auth.store import MAX_GRANT_SECONDS
from vibehq_server.context import ServerContext
from vibehq_server.refusals import Refusal
from vibehq_server.rooms.grants import note_grant

UserName = Annotated[
    str, Meta(min_length=1, max_length=128, pattern=r"\A[^\s\x00-\x1f\x7f/?#*\[\]]+\Z")
]
RoomPattern = Annotated[
    str, Meta(min_length=1, max_length=256, pattern=r"\A[^\s\x00-\x1f\x7f]+\Z")
]


class AskGrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A grant: who may do what, where, for how many seconds."""

    user: UserName
    roles: Annotated[
        list[Literal["viewer", "operator", "approver", "worker"]],
        Meta(min_length=1, max_length=4),
    ]
    rooms: Annotated[list[RoomPattern], Meta(min_length=1, max_length=64)] = (
        msgspec.field(default_factory=lambda: ["*"])
    )
    ttl_seconds: Annotated[float, Meta(ge=1, le=MAX_GRANT_SECONDS)] = 3600.0


class GrantsHandler(ApiHandler):
    """``/api/grants``: what an administrator gave out."""

    def get(self) -> None:
        """List the live grants, or with ``?all=1`` all; no token is among them."""
        self.require(Role.ADMIN)
        store = self.context.auth.store
        grants = store.grants(with_ended=self.query("all") == "1")
        now = store.clock()
        self.answer({"grants": [_shown(grant, now) for grant in grants]})

    async def post(self) -> None:
        """
        Give a grant; its token is shown this once.

        The audited log comes first: a grant that is not in it opens nothing.
        """
        self.require(Role.ADMIN)
        asked = self.decode_body(AskGrant)
        roles = frozenset(Role(name) for name in asked.roles)
        rooms = tuple(asked.rooms)
        if Role.WORKER in roles:
            if len(roles) > 1:
                raise UsageError("A worker's grant holds the role worker alone.")
            rooms = worker_rooms(asked.user)
        store = self.context.auth.store
        draft = store.draft_grant(
            asked.user, roles, rooms, asked.ttl_seconds, self.identity.user
        )
        token, grant = await give(self.context, draft)
        self.answer({"token": token, **_shown(grant, store.clock())}, 201)


async def give(
    context: ServerContext, draft: tuple[str, Grant], **more: Any
) -> tuple[str, Grant]:
    """
    Let a drafted grant open what it says, once it is in the log with *more*.

    Raises:
        NotStoredError: If log or disk refuse it; it opens nothing then.
    """
    _, grant = draft
    await note_grant(context.hub, "grant-created", grant.created_by, grant, **more)
    try:
        context.auth.store.add_grant(grant)
    except NotStoredError:
        await note_grant(context.hub, "grant-void", grant.created_by, grant)
        raise
    return draft


def worker_rooms(worker: str) -> tuple[str, ...]:
    """Return the rooms a worker of this name may enter."""
    return (
        f"worker/{worker}",
        f"terminal/{worker}",
        f"terminal/{worker}:*",
        "ops/main",
        "hil/main",
    )


def _shown(grant: Grant, now: float) -> dict[str, Any]:
    return {
        "id": grant.id,
        "user": grant.user,
        "roles": sorted(grant.roles),
        "rooms": grant.rooms,
        "created_at": grant.created,
        "expires_at": grant.expires,
        "created_by": grant.created_by,
        "status": grant.status(now),
        "revoked_at": grant.revoked,
    }


class GrantHandler(ApiHandler):
    """``DELETE /api/grants/{id}``: take a grant back."""

    async def delete(self, grant_id: str) -> None:
        """
        Revoke it, its sessions and tickets, and close its sockets.

        That comes first and cannot fail; then it is made to last and noted.
        """
        self.require(Role.ADMIN)
        auth, hub = self.context.auth, self.context.hub
        ended = auth.store.revoke_grant(grant_id)
        if ended is None:
            raise DeniedError("not-found", "There is no such live grant.")
        for session in ended:
            auth.tickets.forget(session)
        closed = hub.close_sessions(lambda who: who.session in ended)
        try:
            grant = auth.store.save_revocation(grant_id)
            by = self.identity.user
            await note_grant(hub, "grant-revoked", by, grant, closed=closed)
        except (NotStoredError, TimeoutError):
            raise Refusal(
                503,
                "not-stored",
                "The grant is revoked and its sockets are closed, but that could not "
                "be stored: revoke it again, or a restart may bring it back.",
            ) from None
        auth.store.confirm_revocation(grant_id)
        self.answer({"id": grant_id, "closed": closed})
