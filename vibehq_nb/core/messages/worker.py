"""Messages on a worker's control socket."""

from typing import Literal

import msgspec

from vibehq_nb.core.messages.base import (
    Cells,
    Count,
    Message,
    MessageId,
    Name,
    Object,
    Text,
    Words,
)


class WorkerHello(Message):
    """A worker's first frame on its control socket."""

    protocol: int
    version: Name
    worker: Name
    host: Text
    generation: Count
    """Milliseconds since 1970 at the worker's start; the higher one fences."""
    providers: Words
    terminals: list[Name]


class Spawn(Message):
    """Open a terminal; answered when it runs."""

    id: MessageId
    terminal: Name
    target: Text = "local"
    """The provider and its object: ``local``, ``docker:web-1`` …"""
    command: list[str] | None = None
    cwd: str | None = None
    cols: Cells = 80
    rows: Cells = 24


class Inspect(Message):
    """Tell what a terminal does now; answered with ``foreground`` in the result."""

    id: MessageId
    terminal: Name


class Signal(Message):
    """Send a signal to a terminal's foreground job."""

    id: MessageId
    terminal: Name
    signal: Literal["HUP", "INT", "QUIT", "KILL", "TERM", "USR1", "USR2", "WINCH"]


class CloseTerminal(Message, tag="close"):
    """End a terminal: hang up, then terminate, then kill."""

    id: MessageId
    terminal: Name


class StopWorker(Message, tag="stop"):
    """End the worker and all its terminals."""

    id: MessageId
    force: bool = False
    """Also while jobs run in them."""


class Freeze(Message):
    """Stop every process of a terminal."""

    id: MessageId
    terminal: Name


class Thaw(Message):
    """Let the processes of a terminal go on."""

    id: MessageId
    terminal: Name


class Scan(Message):
    """Run a scan on this host; progress and one result follow."""

    id: MessageId
    scan_id: Name
    scope: Literal["full", "incremental"]
    kinds: Words | None = None
    logs: Words = msgspec.field(default_factory=list)
    filters: Object = msgspec.field(default_factory=dict)
    deadline: float = 300.0
    """Seconds."""


class Cancel(Message):
    """Stop a scan."""

    id: MessageId
    scan_id: Name


class Done(Message):
    """The request with this id is carried out."""

    id: MessageId
    result: Object = msgspec.field(default_factory=dict)


class Failed(Message):
    """The request with this id was not carried out."""

    id: MessageId
    code: Name
    message: str
