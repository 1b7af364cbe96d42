"""A real room server for tests: real sockets, rooms of one's choice, named users."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import tornado.httpserver
import tornado.web
from tornado.testing import bind_unused_port
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from vibehq_nb.core.roles import Role
from vibehq_server.auth.authenticator import Credential
from vibehq_server.hub import Hub
from vibehq_server.identity import Identity
from vibehq_server.room import Room
from vibehq_server.room_logs.memory import MemoryRoomLog
from vibehq_server.socket_handler import RoomSocket

OPERATOR = "viewer,operator"
PERSON = "viewer,operator,approver"


class NamedUsers:
    """Believes ``X-As: user roles``; what a real judge does is tested with it."""

    def allows_host(self, handler: Any) -> bool:
        return True

    def allows_origin(self, handler: Any, origin: str) -> bool:
        return True

    def is_anonymous(self, handler: Any) -> bool:
        return True

    async def identify(self, handler: Any, room: Any) -> Credential | None:
        named = handler.request.headers.get("X-As")
        if named is None:
            return None
        user, _, roles = named.partition(" ")
        kind = "worker" if "worker" in roles else "person"
        held = frozenset(Role(role) for role in roles.split(","))
        return Credential(Identity(user, kind, held, "test"), "bearer")


@dataclass
class Peer:
    """One WebSocket client that keeps what it is sent, in order."""

    socket: ClientConnection
    frames: list[Any] = field(default_factory=list)

    async def next(self) -> Any:
        """Return the next frame: a dict for text, bytes for binary."""
        async with asyncio.timeout(10):
            frame = await self.socket.recv()
        return frame if isinstance(frame, bytes) else json.loads(frame)

    async def until(self, kind: str) -> dict[str, Any]:
        """Return the next message of this type; what came before is dropped."""
        while True:
            frame = await self.next()
            if isinstance(frame, dict) and frame["type"] == kind:
                return frame

    async def read_bytes(self, size: int) -> bytes:
        """Return the next *size* binary bytes; messages in between are kept."""
        data = b""
        while len(data) < size:
            frame = await self.next()
            if isinstance(frame, bytes):
                data += frame
            else:
                self.frames.append(frame)
        return data

    async def send(self, message: dict[str, Any] | bytes | str) -> None:
        """Send a message, or raw text or bytes."""
        plain = isinstance(message, bytes | str)
        await self.socket.send(message if plain else json.dumps(message))

    async def close_code(self) -> int | None:
        """Read on until the server closes, and return its code."""
        async with asyncio.timeout(10):
            with suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        return self.socket.close_code


class House:
    """A running server."""

    def __init__(self, hub: Hub, port: int) -> None:
        self.hub = hub
        self.url = f"ws://127.0.0.1:{port}"
        self._open: list[ClientConnection] = []

    async def connect(
        self, room: str, user: str = "ana", roles: str = OPERATOR, **query: Any
    ) -> Peer:
        """Open a connection to ``party/room`` as *user*."""
        pairs = "&".join(f"{name}={value}" for name, value in query.items())
        socket = await connect(
            f"{self.url}/parties/{room}?{pairs}",
            additional_headers={"X-As": f"{user} {roles}"},
            max_size=None,
            max_queue=None,
            compression=None,
        )
        self.own(socket)
        return Peer(socket)

    def own(self, socket: ClientConnection) -> None:
        """Close *socket* with the house."""
        self._open.append(socket)

    async def close(self) -> None:
        for socket in self._open:
            await socket.close()


@asynccontextmanager
async def running(
    parties: Mapping[str, type[Room]], log: Any = None, **options: Any
) -> AsyncIterator[House]:
    """Run a server with *parties* until the block ends."""
    hub = Hub(parties, log or MemoryRoomLog(), version="test", **options)
    await hub.start()
    context = SimpleNamespace(
        hub=hub, auth=NamedUsers(), base_path="", on_error=lambda _: None
    )
    app = tornado.web.Application(
        [(r"/+parties/.*", RoomSocket)], vibehq=context, log_function=lambda _: None
    )
    server = tornado.httpserver.HTTPServer(app)
    socket, port = bind_unused_port()
    server.add_sockets([socket])
    house = House(hub, port)
    try:
        yield house
    finally:
        await house.close()
        await hub.stop()
        server.stop()
        await server.close_all_connections()
