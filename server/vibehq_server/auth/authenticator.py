"""
The judge of requests: is the Host ours, the Origin ours, and who is asking.

What is common to both modes lives here: worker and admin keys, grants, tickets. A
mode adds one more way in: a session cookie (standalone) or Jupyter's identity.
"""

import getpass
import logging
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vibehq_nb.core.ids import RoomKey, worker_of
from vibehq_nb.core.roles import NOTEBOOK, Role
from vibehq_server.auth.invites import Invites
from vibehq_server.auth.limits import FailureLimit
from vibehq_server.auth.secrets import (
    GRANT_PREFIX,
    MAX_CREDENTIAL,
    OUR_PREFIX,
    is_same,
)
from vibehq_server.auth.store import AuthStore
from vibehq_server.auth.tickets import Tickets
from vibehq_server.identity import Identity

if TYPE_CHECKING:
    from vibehq_server.handlers import VibeHandler

logger = logging.getLogger(__name__)

How = Literal["bearer", "ticket", "cookie", "token", "nothing"]


@dataclass(frozen=True, slots=True)
class Credential:
    """Who is asking, and how that one showed it."""

    identity: Identity
    how: How


@dataclass(frozen=True, slots=True)
class Keys:
    """The two keys in ``endpoint.json``."""

    worker: str
    admin: str


def local_user() -> str:
    """Return ``user@host`` of the account this process runs as."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no name for this uid, as in some containers
        user = "user"
    return f"{user}@{socket.gethostname().partition('.')[0]}"


class Authenticator(ABC):
    """Judges requests for one server; the handlers ask it before any method runs."""

    def __init__(
        self,
        store: AuthStore,
        keys: Keys,
        owner: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Accept *keys*, what *store* holds, and tickets minted here."""
        self.store = store
        self.owner = owner
        self.tickets = Tickets(monotonic)
        self.invites = Invites(monotonic)
        self.failures = FailureLimit(monotonic)
        self._keys = keys

    @abstractmethod
    def allows_host(self, handler: "VibeHandler") -> bool:
        """Tell whether the request's Host names this server."""

    @abstractmethod
    def allows_origin(self, handler: "VibeHandler", origin: str) -> bool:
        """Tell whether a page of *origin* may use this server."""

    @abstractmethod
    async def identify_session(self, handler: "VibeHandler") -> Credential | None:
        """Return who the mode's own way in says is asking."""

    @abstractmethod
    def has_session_credential(self, handler: "VibeHandler") -> bool:
        """Tell whether the request shows anything to the mode's own way in."""

    @abstractmethod
    def sign_in_url(self, handler: "VibeHandler") -> str:
        """Return where a browser without a session is sent."""

    def approvers(self) -> frozenset[str]:
        """Return the users who may approve here."""
        return frozenset({self.owner}) | self.store.approvers()

    async def identify(
        self, handler: "VibeHandler", room: RoomKey | None
    ) -> Credential | None:
        """
        Return who is asking, or None.

        A credential of ours that opens nothing is an answer: there is no second way
        in behind it.
        """
        ticket = handler.get_query_argument("ticket", None)
        if ticket is not None:
            return self._identify_ticket(ticket, room)
        bearer = bearer_of(handler.request.headers.get("Authorization", ""))
        if bearer is not None and bearer.startswith(OUR_PREFIX):
            return self._identify_bearer(bearer, room)
        return await self.identify_session(handler)

    def is_anonymous(self, handler: "VibeHandler") -> bool:
        """Tell whether a request shows no credential at all."""
        return (
            handler.get_query_argument("ticket", None) is None
            and not handler.request.headers.get("Authorization")
            and not self.has_session_credential(handler)
        )

    def _identify_ticket(self, ticket: str, room: RoomKey | None) -> Credential | None:
        identity = self.tickets.burn(ticket, room)
        if identity is None or identity.has_ended(self.store.clock()):
            return None
        return Credential(identity, "ticket")

    def _identify_bearer(self, bearer: str, room: RoomKey | None) -> Credential | None:
        if len(bearer) > MAX_CREDENTIAL:
            return None
        if bearer.startswith(GRANT_PREFIX):
            grant = self.store.find_grant(bearer)
            return Credential(grant.identity("service"), "bearer") if grant else None
        if is_same(bearer, self._keys.worker):
            return Credential(_worker_identity(room), "bearer")
        if is_same(bearer, self._keys.admin):
            roles = NOTEBOOK | {Role.ADMIN}
            return Credential(
                Identity(self.owner, "notebook", roles, "admin"), "bearer"
            )
        return None


def _worker_identity(room: RoomKey | None) -> Identity:
    """The key is this host's; which of its workers asks is said by the path."""
    worker = "worker"
    if room is not None and room.party in {"worker", "terminal"}:
        worker = worker_of(room.name)
    return Identity(worker, "worker", frozenset({Role.WORKER}), "worker-key")


def bearer_of(header: str) -> str | None:
    """Return the token of an ``Authorization`` header, or None."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() not in {"bearer", "token"}:
        return None
    return token.strip() or None
