"""
A room: one named actor, its connections, and the hooks its author writes.

Hooks and messages of a room run one after another; rooms run side by side. A hook
that raises takes no other connection down, and no trace reaches a client.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from vibehq_nb.core.ids import RoomKey
from vibehq_server.connection import Connection, ConnectRequest
from vibehq_server.outbox import encode_frame

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A plain HTTP request to a room."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """What a room answers to an HTTP request."""

    body: bytes | str = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Room:
    """
    The base of every room; it sends nothing of its own.

    Class attributes are the room's settings: ``access`` is ``session`` (the server's
    authentication, nothing anonymous) or ``open`` (the room's own hooks decide);
    ``max_message_bytes`` bounds one message.
    """

    access: ClassVar[Literal["session", "open"]] = "session"
    max_message_bytes: ClassVar[int] = 1024 * 1024
    names: ClassVar[frozenset[str] | None] = None
    """The only rooms there are of this party; None for any name."""

    def __init__(self, key: RoomKey, hub: "Hub") -> None:
        """Create the room; ``on_start`` runs before anything else."""
        self.key = key
        self.hub = hub
        self.connections: set[Connection] = set()
        self._mailbox = asyncio.Lock()
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def name(self) -> str:
        """The raw room name, as it stands in the URL."""
        return self.key.name

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost if the room were forgotten."""
        return False

    @property
    def now(self) -> datetime:
        """The time, aware, in UTC."""
        return datetime.fromtimestamp(self.hub.clock(), UTC)

    # Hooks

    async def on_start(self, props: dict[str, Any]) -> None:
        """Run once, before every other hook; a failure is retried by the next use."""

    async def on_stop(self) -> None:
        """Run once, when the server stops."""

    async def on_connect(self, connection: Connection, request: ConnectRequest) -> None:
        """Run when a connection is accepted."""

    async def on_message(self, connection: Connection, message: str | bytes) -> None:
        """Run for each message."""

    async def on_close(
        self, connection: Connection, code: int, reason: str, was_clean: bool
    ) -> None:
        """Run when a connection is gone; it is no longer among the connections."""

    async def on_error(self, connection: Connection, error: Exception) -> None:
        """Run when a hook raised; the connection stays."""

    async def on_request(self, request: HttpRequest) -> Response:
        """Answer a plain HTTP request."""
        return Response("There is nothing here.", 404)

    def get_connection_tags(
        self, connection: Connection, request: ConnectRequest
    ) -> Iterable[str]:
        """Return up to nine names the connection can be found by."""
        return ()

    # What a hook may use

    def broadcast(self, message: str | bytes, without: Iterable[str] = ()) -> None:
        """Send *message* to every connection but those with an id in *without*."""
        skipped = frozenset(without)
        binary = isinstance(message, bytes)
        payload = message if isinstance(message, bytes) else message.encode()
        frame = encode_frame(payload, binary=binary)
        for connection in tuple(self.connections):
            if connection.id not in skipped:
                connection.write(frame)

    def get_connections(self, tag: str | None = None) -> Iterator[Connection]:
        """Iterate over the open connections, or those that carry *tag*."""
        for connection in tuple(self.connections):
            if tag is None or tag in connection.tags:
                yield connection

    def get_connection(self, connection_id: str) -> Connection | None:
        """Return the connection with this id, if there is one."""
        for connection in self.connections:
            if connection.id == connection_id:
                return connection
        return None

    def call_at(self, when: datetime, work: Callable[[], Any]) -> None:
        """Run *work* as the room's actor at *when*; forgotten when the server stops."""
        delay = max(0.0, when.timestamp() - self.hub.clock())
        handle: asyncio.TimerHandle

        def due() -> None:
            self._timers.discard(handle)
            if self.now < when:  # a long wait, or the clock was set back
                self.call_at(when, work)
            else:
                self.hub.spawn(self.run(work), f"timer of {self.key}")

        handle = asyncio.get_running_loop().call_later(min(delay, 3600.0), due)
        self._timers.add(handle)

    # How the server uses a room

    async def run(self, work: Callable[..., Any], *args: Any) -> Any:
        """
        Run *work* as the room's actor and return its result.

        Waits for the hooks before it. Raises what *work* raises.
        """
        async with self._mailbox:
            result = work(*args)
            return await result if inspect.isawaitable(result) else result

    async def join(self, connection: Connection, request: ConnectRequest) -> None:
        """Take a connection in."""
        self._admit(connection, request)
        self.connections.add(connection)
        await self.run(self.on_connect, connection, request)

    def _admit(self, connection: Connection, request: ConnectRequest) -> None:
        for other in self.get_connections(connection.id):
            other.probe()  # most likely its own predecessor, half dead
        tags = tuple(self.get_connection_tags(connection, request))
        connection.tags = (connection.id, *(t for t in tags if t != connection.id))

    async def deliver(self, connection: Connection, message: str | bytes) -> None:
        """Give a message of *connection* to its hook; a failure stays in here."""
        try:
            await self.run(self.on_message, connection, message)
        except Exception as error:
            logger.exception("%s: a message failed", self.key)
            await self.run(self.on_error, connection, error)

    async def leave(
        self, connection: Connection, code: int, reason: str, was_clean: bool
    ) -> None:
        """Let a connection go."""
        connection.is_open = False
        self.connections.discard(connection)
        try:
            await self.run(self.on_close, connection, code, reason, was_clean)
        except Exception:
            logger.exception("%s: on_close failed", self.key)

    def tick(self) -> None:
        """Run each 15 s; replicated rooms tell their connections how far they are."""

    async def stop(self) -> None:
        """End the room's timers and run its last hook."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        await self.run(self.on_stop)
