"""One-time tickets: 30 seconds, one room, burnt when shown, in memory only."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.roles import Role
from vibehq_server.auth.secrets import TICKET_PREFIX, digest, make_credential
from vibehq_server.identity import Identity

TICKET_SECONDS = 30.0
MAX_TICKETS = 4096
MAX_PER_SESSION = 64


@dataclass(frozen=True, slots=True)
class _Ticket:
    identity: Identity
    room: RoomKey
    expires: float


class Tickets:
    """
    The tickets that are out.

    Over 64 a session loses its own oldest one; over 4,096 the oldest of all goes.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Measure their 30 seconds with *monotonic*."""
        self._monotonic = monotonic
        self._tickets: OrderedDict[str, _Ticket] = OrderedDict()

    def mint(self, identity: Identity, room: RoomKey, role: Role | None) -> str:
        """Return a ticket that stands for *identity* in *room* alone, once."""
        self._drop_old()
        self._drop_oldest_of(identity)
        roles = identity.roles if role is None else frozenset({role})
        held = replace(identity, roles=roles)
        ticket = make_credential(TICKET_PREFIX)
        expires = self._monotonic() + TICKET_SECONDS
        self._tickets[digest(ticket)] = _Ticket(held, room, expires)
        return ticket

    def burn(self, ticket: str, room: RoomKey | None) -> Identity | None:
        """Return whom *ticket* stands for in *room*; it is used up in any case."""
        found = self._tickets.pop(digest(ticket), None)
        if found is None or found.room != room or found.expires <= self._monotonic():
            return None
        return found.identity

    def forget(self, session: str) -> None:
        """Drop the tickets minted by *session*."""
        gone = [
            key
            for key, ticket in self._tickets.items()
            if ticket.identity.session == session
        ]
        for key in gone:
            del self._tickets[key]

    def _drop_oldest_of(self, identity: Identity) -> None:
        own = [
            key
            for key, ticket in self._tickets.items()
            if _minter(ticket.identity) == _minter(identity)
        ]
        for key in own[: max(0, len(own) - MAX_PER_SESSION + 1)]:
            del self._tickets[key]

    def _drop_old(self) -> None:
        now = self._monotonic()
        while self._tickets:
            first = next(iter(self._tickets.values()))
            if first.expires > now and len(self._tickets) < MAX_TICKETS:
                return
            self._tickets.popitem(last=False)


def _minter(identity: Identity) -> tuple[str, str, str]:
    # Sessions of another identity provider have no name of their own.
    return identity.kind, identity.user, identity.session
