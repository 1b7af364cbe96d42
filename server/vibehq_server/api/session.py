"""Who am I, one-time tickets, grants, sign-in links."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vibehq_nb.core.errors import DeniedError, UsageError
from vibehq_nb.core.messages import PROTOCOL
from vibehq_nb.core.roles import Role, may_join
from vibehq_server import __version__
from vibehq_server.api.base import ApiHandler
from vibehq_server.auth.standalone import CODE_SECONDS, StandaloneAuthenticator
from vibehq_server.auth.store import MAX_GRANT_SECONDS, Grant
from vibehq_server.auth.tickets import TICKET_SECONDS

UserName = Annotated[
    str, Meta(min_length=1, max_length=128, pattern=r"\A[^\s\x00-\x1f\x7f/?#*\[\]]+\Z")
]
RoomPattern = Annotated[
    str, Meta(min_length=1, max_length=256, pattern=r"\A[^\s\x00-\x1f\x7f]+\Z")
]


class MeHandler(ApiHandler):
    """``GET /api/me``: who the server takes you for."""

    def get(self) -> None:
        """Answer with the identity and the server's version."""
        self.answer(
            {
                "user": self.identity.user,
                "kind": self.identity.kind,
                "roles": sorted(self.identity.roles),
                "session": self.identity.session,
                "rooms": self.identity.rooms,
                "version": __version__,
                "protocol": PROTOCOL,
                "mode": self.context.mode,
                "csrf": None,
            }
        )


class AskTicket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ticket: for this room, in this role or in all that one has."""

    party: str
    room: str
    role: Role | None = None


class TicketsHandler(ApiHandler):
    """``POST /api/tickets``: a one-time key to one room, for a socket's query."""

    def post(self) -> None:
        """Mint a ticket."""
        asked = self.decode_body(AskTicket)
        key = self.context.hub.key(asked.party, asked.room)
        self.require_room(key)
        roles = self.identity.roles if asked.role is None else {asked.role}
        if not self.identity.roles.issuperset(roles) or not may_join(key.party, roles):
            raise DeniedError("forbidden", "You cannot enter this room in that role.")
        ticket = self.context.auth.tickets.mint(self.identity, key, asked.role)
        self.answer({"ticket": ticket, "expires_in": int(TICKET_SECONDS)})


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
        """List the live grants; tokens are not among what is kept."""
        self.require(Role.ADMIN)
        self.answer({"grants": [_shown(g) for g in self.context.auth.store.grants()]})

    def post(self) -> None:
        """Give a grant; its token is shown this once."""
        self.require(Role.ADMIN)
        asked = self.decode_body(AskGrant)
        roles = frozenset(Role(name) for name in asked.roles)
        rooms = tuple(asked.rooms)
        if Role.WORKER in roles:
            if len(roles) > 1:
                raise UsageError("A worker's grant holds the role worker alone.")
            rooms = worker_rooms(asked.user)
        token, grant = self.context.auth.store.create_grant(
            asked.user, roles, rooms, asked.ttl_seconds, self.identity.user
        )
        self.answer({"token": token, **_shown(grant)}, 201)


def worker_rooms(worker: str) -> tuple[str, ...]:
    """Return the rooms a worker of this name may enter."""
    return (
        f"worker/{worker}",
        f"terminal/{worker}",
        f"terminal/{worker}:*",
        "ops/main",
        "hil/main",
    )


def _shown(grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.id,
        "user": grant.user,
        "roles": sorted(grant.roles),
        "rooms": grant.rooms,
        "created_at": grant.created,
        "expires_at": grant.expires,
        "created_by": grant.created_by,
    }


class GrantHandler(ApiHandler):
    """``DELETE /api/grants/{id}``: take a grant back."""

    def delete(self, grant_id: str) -> None:
        """Revoke it, its sessions and tickets, and close its sockets."""
        self.require(Role.ADMIN)
        auth = self.context.auth
        ended = auth.store.revoke_grant(grant_id)
        if ended is None:
            raise DeniedError("not-found", "There is no such live grant.")
        for session in ended:
            auth.tickets.forget(session)
        closed = self.context.hub.close_sessions(lambda who: who.session in ended)
        self.answer({"id": grant_id, "closed": closed})


class LoginLinksHandler(ApiHandler):
    """``POST /api/login-links``: a fresh one-time sign-in link of the owner."""

    def post(self) -> None:
        """Make one."""
        self.require(Role.ADMIN)
        auth = self.context.auth
        if not isinstance(auth, StandaloneAuthenticator):
            raise DeniedError("conflict", "Inside Jupyter, Jupyter signs in.")
        path = f"/login#{auth.make_login_code()}"
        self.answer({"path": path, "expires_in": int(CODE_SECONDS)}, 201)
