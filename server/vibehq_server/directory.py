"""Who and what is there: workers, terminals, and who is in which room."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.roles import Role
from vibehq_server.connection import Connection
from vibehq_server.identity import Identity

Present = dict[tuple[RoomKey, str], list[str]]
"""Room and user → roles, over all connections of that user in that room."""


@dataclass(slots=True)
class WorkerInfo:
    """A worker that has said hello to this server."""

    id: str
    host: str
    version: str
    online: bool
    generation: int
    providers: list[str] = field(default_factory=list)


@dataclass(slots=True)
class TerminalInfo:
    """A terminal that a worker has announced."""

    id: str
    worker: str
    target: str = "local"
    state: str = "waiting"
    cols: int = 80
    rows: int = 24
    viewers: int = 0
    writer: str | None = None


class Directory:
    """The server's view of who is there; rebuilt from the workers' hellos."""

    def __init__(self) -> None:
        """Know nobody yet."""
        self.workers: dict[str, WorkerInfo] = {}
        self.terminals: dict[str, TerminalInfo] = {}
        self._rooms: dict[RoomKey, set[Connection]] = {}
        self.on_change: Callable[[], None] = lambda: None
        """Called after every change."""

    def add_worker(self, worker: WorkerInfo) -> None:
        """Note a worker's hello."""
        self.workers[worker.id] = worker
        self.on_change()

    def set_online(self, worker: str, online: bool) -> None:
        """Note that a worker came or went."""
        if worker in self.workers:
            self.workers[worker].online = online
            self.on_change()

    def online(self) -> list[str]:
        """Return the ids of the workers that are there, sorted."""
        return sorted(w.id for w in self.workers.values() if w.online)

    def update_terminal(self, terminal: str, worker: str, **changes: Any) -> None:
        """Note what is new about a terminal."""
        info = self.terminals.setdefault(terminal, TerminalInfo(terminal, worker))
        before = asdict(info)
        for name, value in changes.items():
            setattr(info, name, value)
        if asdict(info) != before:
            self.on_change()

    def drop_terminal(self, terminal: str) -> None:
        """Forget a terminal that is closed."""
        if self.terminals.pop(terminal, None) is not None:
            self.on_change()

    def entered(self, room: RoomKey, connection: Connection) -> None:
        """Note that a connection is in *room*."""
        self._rooms.setdefault(room, set()).add(connection)
        self.on_change()

    def left(self, room: RoomKey, connection: Connection) -> None:
        """Note that a connection is no longer in *room*; again is a no-op."""
        inside = self._rooms.get(room, set())
        if connection not in inside:
            return
        inside.discard(connection)
        if not inside:
            del self._rooms[room]
        self.on_change()

    def connections(self, party: str) -> Iterator[Connection]:
        """Iterate over the open connections to rooms of *party*."""
        for room, inside in tuple(self._rooms.items()):
            if room.party == party:
                yield from tuple(inside)

    def present(self) -> Present:
        """Return who is in which room; a worker's link is nobody who watches."""
        found: dict[tuple[RoomKey, str], set[str]] = {}
        for room, inside in self._rooms.items():
            for identity in (connection.identity for connection in inside):
                if not identity.has(Role.WORKER):
                    found.setdefault((room, identity.user), set()).update(
                        identity.roles
                    )
        return {who: sorted(roles) for who, roles in found.items()}

    def may_see_worker(self, identity: Identity, worker: str) -> bool:
        """Tell whether *identity* reaches a worker's room or a terminal of it."""
        if identity.allows(RoomKey("worker", worker)):
            return True
        own = {t.id for t in self.terminals.values() if t.worker == worker}
        return any(may_see_terminal(identity, t) for t in {worker, *own})

    def state_for(self, identity: Identity) -> dict[str, Any]:
        """Return what *identity* may know, as plain data."""
        watching: dict[RoomKey, list[dict[str, Any]]] = {}
        for (room, user), roles in sorted(self.present().items()):
            watching.setdefault(room, []).append({"user": user, "roles": roles})
        return {
            "workers": [
                asdict(worker)
                for _, worker in sorted(self.workers.items())
                if self.may_see_worker(identity, worker.id)
            ],
            "terminals": [
                asdict(terminal)
                for _, terminal in sorted(self.terminals.items())
                if may_see_terminal(identity, terminal.id)
            ],
            "rooms": [
                {
                    "party": room.party,
                    "room": room.name,
                    "connections": len(inside),
                    "watching": watching.get(room, []),
                }
                for room, inside in sorted(self._rooms.items())
                if identity.allows(room)
            ],
        }


def may_see_terminal(identity: Identity, terminal: str) -> bool:
    """Tell whether a terminal is within the reach of *identity*."""
    return identity.allows(RoomKey("terminal", terminal))
