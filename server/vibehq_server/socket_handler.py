"""
``/parties/{party}/{room}[/path]``: the one door to every room, WebSocket and HTTP.

The raw path is split here, because Tornado decodes what its patterns capture and a
room's name is its percent-encoded segment. Whatever is refused is refused before the
upgrade.
"""

import asyncio
import logging
import secrets
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tornado.websocket import WebSocketHandler

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.ids import MAX_CONNECTION_ID, ConnectionId, RoomKey
from vibehq_nb.core.messages import Close
from vibehq_nb.core.roles import Role, may_join
from vibehq_server.connection import Connection, ConnectRequest
from vibehq_server.handlers import VibeHandler
from vibehq_server.outbox import Outbox
from vibehq_server.room import HttpRequest, Room

logger = logging.getLogger(__name__)

PING_SECONDS = 15.0
PROBE_SECONDS = 5.0
WORKER_MESSAGE_BYTES = 2 * 1024 * 1024


def split_path(path: str, base_path: str = "") -> tuple[str, str, str]:
    """
    Return party, room and rest of a raw path under ``{base_path}/parties/``.

    Empty segments are dropped, nothing is decoded.

    Raises:
        DeniedError: ``no-such-room`` when there is no party and room in it.
    """
    parts = [part for part in path.removeprefix(base_path).split("/") if part]
    if len(parts) < 3 or parts.pop(0) != "parties":
        raise DeniedError("no-such-room", "The path is /parties/PARTY/ROOM.")
    return parts[0], parts[1], "/".join(parts[2:])


class RoomSocket(VibeHandler, WebSocketHandler):
    """One connection to a room, or one plain request to it."""

    room: Room | None = None
    connection: Connection | None = None
    _awaits_pong = False

    async def get(self, *args: str, **kwargs: str) -> None:
        """Upgrade to a WebSocket, or answer a plain GET."""
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            await self._plain()
            return
        self._key, _ = self._address()
        self._connection_id = self._choose_id(self._key)
        self.room = await self.context.hub.room(*self._key)
        await WebSocketHandler.get(self, *args, **kwargs)

    def _split_path(self) -> tuple[str, str, str]:
        return split_path(self.request.path, self.context.base_path)

    def ticket_room(self) -> RoomKey | None:
        """Return the room a ticket has to be for."""
        party, name, _ = self._split_path()
        return self.context.hub.key(party, name)

    def _address(self) -> tuple[RoomKey, str]:
        party, name, rest = self._split_path()
        key = self.context.hub.key(party, name)
        if not may_join(key.party, self.identity.roles) or not self.identity.allows(
            key
        ):
            raise DeniedError("forbidden", "You may not enter this room.")
        return key, rest

    def _choose_id(self, key: RoomKey) -> ConnectionId:
        given = self.get_query_argument("_pk", "", strip=False)
        if len(given) > MAX_CONNECTION_ID:
            raise DeniedError("no-such-room", "The connection id is too long.")
        room = self.context.hub.find(*key)
        for other in room.get_connections(given) if room and given else ():
            if other.id == given and other.identity.user != self.identity.user:
                raise DeniedError("forbidden", "This connection id is another user's.")
        return ConnectionId(given or secrets.token_urlsafe(16))

    async def open(self, *args: str, **kwargs: str) -> None:
        """Enter the room."""
        self.set_nodelay(True)
        # It may have been forgotten as idle since the handshake began.
        self.room = await self.context.hub.room(*self._key)
        request = self._connect_request()
        self.connection = Connection(
            self._connection_id, self.identity, request, self, Outbox(self)
        )
        try:
            await self.room.join(self.connection, request)
        except Exception:
            logger.exception("%s: a connection could not join", self.room.key)
            self.room.connections.discard(self.connection)
            self.connection.close(Close.INTERNAL, "the room could not be entered")

    def _connect_request(self) -> ConnectRequest:
        pairs = [
            (name, value)
            for name, value in parse_qsl(self.request.query, keep_blank_values=True)
            if name != "ticket"
        ]
        query: dict[str, str] = {}
        for name, value in pairs:
            query.setdefault(name, value)
        _, _, rest = self._split_path()
        address = f"{self.request.protocol}://{self.request.host}{self.request.path}"
        return ConnectRequest(
            uri=f"{address}?{urlencode(pairs)}",
            path=rest,
            query=query,
            headers={name.lower(): v for name, v in self.request.headers.get_all()},
        )

    async def on_message(self, message: str | bytes) -> None:
        """
        Give a message to the room.

        Tornado reads on only when this returns: a busy room slows its senders down,
        and nothing piles up here.
        """
        if self.connection is not None and self.room is not None:
            await self.room.deliver(self.connection, message)

    def on_close(self) -> None:
        """Leave the room."""
        if self.connection is None or self.room is None:
            return
        code = self.close_code or 1006
        was_clean = self.close_code is not None
        reason = self.close_reason or ""
        self.context.hub.spawn(
            self._leave(self.room, self.connection, code, reason, was_clean),
            f"leave {self.room.key}",
        )

    async def _leave(
        self,
        room: Room,
        connection: Connection,
        code: int,
        reason: str,
        was_clean: bool,
    ) -> None:
        await room.leave(connection, code, reason, was_clean)
        self.context.hub.forget_idle(room)

    def on_pong(self, data: bytes) -> None:
        """Note that the peer is alive."""
        self._awaits_pong = False

    def probe(self) -> None:
        """Ping at once; drop the socket after 5 s without a pong."""
        self._awaits_pong = True
        try:
            self.ping()
        except Exception:
            self._drop()
            return
        asyncio.get_running_loop().call_later(PROBE_SECONDS, self._judge_probe)

    def _judge_probe(self) -> None:
        if self._awaits_pong:
            self._drop()

    def _drop(self) -> None:
        stream = getattr(self.ws_connection, "stream", None)
        if stream is not None:
            stream.close()

    @property
    def ping_interval(self) -> float:
        """Seconds between pings."""
        return PING_SECONDS

    @property
    def ping_timeout(self) -> float:
        """Seconds a peer may take to answer a ping."""
        return PING_SECONDS

    @property
    def max_message_size(self) -> int:
        """Bytes of one message; a larger one closes with 1009."""
        if self.identity.has(Role.WORKER):
            return WORKER_MESSAGE_BYTES
        return (
            WORKER_MESSAGE_BYTES if self.room is None else self.room.max_message_bytes
        )

    def get_compression_options(self) -> dict[str, Any] | None:
        """Compress nothing: it costs 145 KiB a connection."""
        return None

    async def _plain(self) -> None:
        key, rest = self._address()
        room = await self.context.hub.room(*key)
        self.context.hub.forget_idle(room)
        headers = {name.lower(): v for name, v in self.request.headers.get_all()}
        query = dict(reversed(parse_qsl(self.request.query, keep_blank_values=True)))
        method = self.request.method or "GET"
        request = HttpRequest(method, rest, query, headers, self.request.body)
        response = await room.run(room.on_request, request)
        self.set_status(response.status)
        for name, value in response.headers.items():
            self.set_header(name, value)
        self.finish(response.body)

    async def post(self, *args: str, **kwargs: str) -> None:
        """Give a plain request to the room."""
        await self._plain()

    put = patch = delete = post
