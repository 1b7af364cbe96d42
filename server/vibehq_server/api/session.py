"""Who am I, one-time tickets, sign-in links."""

import msgspec

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import PROTOCOL
from vibehq_nb.core.roles import Role, may_join
from vibehq_server import __version__
from vibehq_server.api.base import ApiHandler
from vibehq_server.auth.standalone import CODE_SECONDS, StandaloneAuthenticator
from vibehq_server.auth.tickets import TICKET_SECONDS


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
