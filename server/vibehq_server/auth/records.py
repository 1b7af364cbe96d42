"""What is kept of a grant and of a session: everything but the credential itself."""

import json
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from vibehq_nb.core.roles import Role
from vibehq_server.identity import Identity, Kind, Lease

IDLE_SECONDS = 8 * 3600.0
SESSION_SECONDS = 24 * 3600.0


class GrantRow(NamedTuple):
    """A grant as its table has it."""

    id: str
    hash: str
    user: str
    roles: str
    rooms: str
    created: float
    expires: float
    created_by: str
    revoked: float | None


class SessionRow(NamedTuple):
    """A session as its table has it."""

    hash: str
    id: str
    user: str
    roles: str
    rooms: str
    grant_id: str | None
    created: float
    seen: float


@dataclass(frozen=True, slots=True)
class Grant:
    """What an administrator gave to a user for a time."""

    id: str
    hash: str
    user: str
    roles: frozenset[Role]
    rooms: tuple[str, ...]
    created: float
    expires: float
    created_by: str
    revoked: float | None = None
    lease: Lease = field(default_factory=lambda: Lease(0.0), compare=False)

    @classmethod
    def of_row(cls, row: GrantRow) -> "Grant":
        """Return the grant in *row*."""
        until = row.expires if row.revoked is None else 0.0
        return cls(
            **row._asdict()
            | {
                "roles": decode_roles(row.roles),
                "rooms": decode_rooms(row.rooms),
                "lease": Lease(until),
            }
        )

    def as_row(self) -> GrantRow:
        """Return its row."""
        return GrantRow(
            self.id,
            self.hash,
            self.user,
            json.dumps(sorted(self.roles)),
            json.dumps(self.rooms),
            self.created,
            self.expires,
            self.created_by,
            self.revoked,
        )

    def is_live(self, now: float) -> bool:
        """Tell whether it still opens anything."""
        return now < self.lease.until

    def status(self, now: float) -> Literal["live", "revoked", "expired"]:
        """Return what has become of it by *now*."""
        if self.revoked is not None:
            return "revoked"
        return "live" if self.is_live(now) else "expired"

    def identity(self, kind: Kind) -> Identity:
        """Return who shows it."""
        return Identity(self.user, kind, self.roles, self.id, self.rooms, self.lease)


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser."""

    hash: str
    id: str
    user: str
    roles: frozenset[Role]
    rooms: tuple[str, ...]
    grant_id: str | None
    created: float
    seen: float
    grant_until: float = float("inf")
    lease: Lease = field(default_factory=lambda: Lease(0.0), compare=False)

    @classmethod
    def of_row(cls, row: SessionRow, grant: Grant | None) -> "Session":
        """Return the session in *row*, which came of *grant*; it lives from now on."""
        until = float("inf") if row.grant_id is None else 0.0
        session = cls(
            **row._asdict()
            | {"roles": decode_roles(row.roles), "rooms": decode_rooms(row.rooms)},
            grant_until=until if grant is None else grant.lease.until,
        )
        session.extend_lease()
        return session

    def as_row(self) -> SessionRow:
        """Return its row."""
        return SessionRow(
            self.hash,
            self.id,
            self.user,
            json.dumps(sorted(self.roles)),
            json.dumps(self.rooms),
            self.grant_id,
            self.created,
            self.seen,
        )

    def extend_lease(self) -> None:
        """Let it live 8 idle hours on, 24 in all, and no longer than its grant."""
        self.lease.until = min(
            self.created + SESSION_SECONDS, self.seen + IDLE_SECONDS, self.grant_until
        )

    def is_live(self, now: float) -> bool:
        """Tell whether it still opens anything."""
        return now < self.lease.until

    def identity(self) -> Identity:
        """Return the person behind it."""
        return Identity(
            self.user, "person", self.roles, self.id, self.rooms, self.lease
        )


def decode_roles(text: str) -> frozenset[Role]:
    """Return the roles in a row."""
    return frozenset(Role(name) for name in json.loads(text))


def decode_rooms(text: str) -> tuple[str, ...]:
    """Return the room patterns in a row."""
    return tuple(json.loads(text))
