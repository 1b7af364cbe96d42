"""Which workers and terminals there are, as their rooms report them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


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

    def as_state(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "workers": [asdict(w) for _, w in sorted(self.workers.items())],
            "terminals": [asdict(t) for _, t in sorted(self.terminals.items())],
        }
