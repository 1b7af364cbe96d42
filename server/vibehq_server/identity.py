"""Who is behind a request, and what that one may do."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.roles import Role

Kind = Literal["person", "notebook", "service", "worker", "nobody"]


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
    """

    user: str
    kind: Kind
    roles: frozenset[Role]
    session: str = ""
    rooms: tuple[str, ...] = field(default=("*",))

    def allows(self, room: RoomKey) -> bool:
        """Tell whether *room* is within reach."""
        return any(fnmatchcase(str(room), pattern) for pattern in self.rooms)

    def has(self, role: Role) -> bool:
        """Tell whether *role* is among the roles."""
        return role in self.roles
