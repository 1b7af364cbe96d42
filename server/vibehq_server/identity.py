"""Who is behind a request, and what that one may do."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.roles import Role

Kind = Literal["person", "notebook", "service", "worker", "nobody"]


@dataclass(slots=True)
class Lease:
    """
    How long a credential opens anything, shared by all that came of it.

    Attributes:
        until: Seconds since 1970; 0 once it is revoked or signed out.
    """

    until: float


@dataclass(frozen=True, slots=True)
class Identity:
    """
    The authenticated sender of a request.

    Attributes:
        user: A stable name; a worker's is its id.
        kind: ``person`` in a browser, ``notebook`` with a token, ``service`` with a
            grant, ``worker`` with a worker key, ``nobody`` in an open room without
            a credential.
        roles: What it may do.
        session: Tells two browsers or two grants of one user apart.
        rooms: Patterns over ``party/room`` that it may reach.
        lease: That of its session or grant; None where another judge keeps it.
    """

    user: str
    kind: Kind
    roles: frozenset[Role]
    session: str = ""
    rooms: tuple[str, ...] = field(default=("*",))
    lease: Lease | None = field(default=None, compare=False, repr=False)

    def allows(self, room: RoomKey) -> bool:
        """Tell whether *room* is within reach."""
        return any(fnmatchcase(str(room), pattern) for pattern in self.rooms)

    def has(self, role: Role) -> bool:
        """Tell whether *role* is among the roles."""
        return role in self.roles

    def has_ended(self, now: float) -> bool:
        """Tell whether its session or grant has ended by *now*, revoked or run out."""
        return self.lease is not None and now >= self.lease.until
