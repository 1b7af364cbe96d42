"""
``/parties/{party}/{room}[/path]``: the one door to every room, WebSocket and HTTP.

Whatever is refused is refused before the upgrade.
"""

import asyncio
import json
import logging
import random
import secrets
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from tornado.websocket import WebSocketClosedError

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.ids import MAX_CONNECTION_ID, ConnectionId
from vibehq_nb.core.messages import Close
from vibehq_nb.core.roles import Role
from vibehq_server.connection import Connection
from vibehq_server.deflate import Inflater, agree_on_deflate
from vibehq_server.handshake import check_handshake, is_upgrade
from vibehq_server.notices import note_close, note_refused
from vibehq_server.outbox import DeflatingOutbox, Outbox
from vibehq_server.rates import Meter
from vibehq_server.refusals import Refusal
from vibehq_server.requests import ConnectRequest, Response
from vibehq_server.room import Room
from vibehq_server.room_handler import RoomHandler
from vibehq_server.ws_protocol import StrictSocketHandler

logger = logging.getLogger(__name__)

PING_SECONDS = 15.0
PROBE_SECONDS = 5.0
WORKER_MESSAGE_BYTES = 2 * 1024 * 1024


class RoomSocket(RoomHandler, StrictSocketHandler):
    """One connection to a room, or one plain request to it."""

    room: Room | None = None
    connection: Connection | None = None
    _deflates = False
    _heard_at = 0.0
    _is_held_up = False
    _beat: asyncio.TimerHandle | None = None

    async def get(self, *args: str, **kwargs: str) -> None:
        """Upgrade to a WebSocket, or answer a plain GET."""
        if not is_upgrade(self.request.headers):
            await self._plain()
            return
        check_handshake(self.request.headers)
        now = asyncio.get_running_loop().time()
        address = self.request.remote_ip or ""
        with self.context.hub.door.entered(address, now, random.random()):
            if await self._may_upgrade():
                await StrictSocketHandler.get(self)  # until it is closed

    async def _may_upgrade(self) -> bool:
        self._key, _ = self._address()
        asked = self._connect_request()
        judged = await self._kind.on_before_connect(asked, self._key)
        if isinstance(judged, Response):
            self._answer(judged)
            return False
        self._request = judged or asked
        self._connection_id = self._choose_id(self._request)
        self.room = await self.context.hub.room(*self._key)
        self._deflates = self._agree_on_deflate(self.room)
        return True

    def _agree_on_deflate(self, room: Room) -> bool:
        offers = self.request.headers.get("Sec-WebSocket-Extensions", "")
        agreed = agree_on_deflate(offers) if room.compression else None
        if agreed is not None:
            self.set_header("Sec-WebSocket-Extensions", agreed)
        return agreed is not None

    def _choose_id(self, request: ConnectRequest) -> ConnectionId:
        given = request.query.get("_pk", "")
        if len(given) > MAX_CONNECTION_ID:
            raise DeniedError("bad-request", "The connection id is too long.")
        room = self.context.hub.find(*self._key)
        other = room.get_connection(given) if room and given else None
        if other is not None and other.identity.user != self.identity.user:
            raise DeniedError("forbidden", "This connection id is another user's.")
        return ConnectionId(given or secrets.token_urlsafe(16))

    # The connection

    async def open(self, *args: str, **kwargs: str) -> None:
        """Enter the room."""
        self.set_nodelay(True)
        if self.context.hub.is_stopping:
            self.close(Close.RESTART, "the server restarts")
            return
        self.connection = Connection(
            self._connection_id,
            self.identity,
            self._request,
            self,
            self._make_outbox(),
        )
        is_worker = self.identity.has(Role.WORKER)
        self.connection.meter = Meter(None if is_worker else self._kind.message_rate)
        self.connection.since = self.context.hub.clock()
        self.context.hub.counters.opened[self._key.party] += 1
        self.context.hub.directory.entered(self._key, self.connection)
        self.context.hub.enter(self.connection)
        self._rest()
        try:
            with self._held_up():
                # It may have been let go since the handshake began.
                self.room = await self.context.hub.room(*self._key)
                await self.room.join(self.connection, self._request)
        except Exception:
            self._fail_to_join(self.connection)

    @contextmanager
    def _held_up(self) -> Iterator[None]:
        """Judge no silence while a hook takes its time: nothing is read meanwhile."""
        self._is_held_up = True
        try:
            yield
        finally:
            self._is_held_up = False
            self._heard_at = asyncio.get_running_loop().time()

    def _make_outbox(self) -> Outbox:
        if not self._deflates or self.room is None or self.ws_connection is None:
            return Outbox(self)
        # Tornado negotiates by itself only with state: it has agreed to nothing here.
        link: Any = self.ws_connection
        link.inflater = Inflater(self.max_message_size)
        return DeflatingOutbox(self, self.room.deflater)

    def _fail_to_join(self, connection: Connection) -> None:
        reference = secrets.token_hex(4)
        logger.exception(
            "%s: failure %s, a connection could not join", self._key, reference
        )
        if self.room is not None:
            self.room.connections.discard(connection)
        text = f"The room could not be entered (reference {reference})."
        connection.send(json.dumps({"error": text}))
        connection.close(Close.INTERNAL, text)

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """
        Give a message to the room; return what is to be awaited, if anything is.

        Tornado reads on only when this returns: a busy room slows its senders down,
        and nothing piles up here. What comes after the session or grant has ended, or
        after the server has closed, is not delivered.
        """
        connection, room = self.connection, self.room
        if connection is None or room is None:
            return None
        connection.note_received(message)
        self._heard_at = asyncio.get_running_loop().time()
        refusal = self._refusal(self._heard_at)
        if refusal is not None:
            connection.close(*refusal)
        if not connection.is_open:
            return None
        if not room.is_over and room.deliver_now(connection, message):
            return None
        return self._deliver(connection, message)

    async def _deliver(self, connection: Connection, message: str | bytes) -> None:
        assert self.room is not None
        if self.room.is_over:
            self.room = await self.context.hub.room(*self._key)
        with self._held_up():
            await self.room.deliver(connection, message)

    def _refusal(self, now: float) -> tuple[int, str] | None:
        """Return why the peer may send nothing more, if it may not."""
        if self.identity.has_ended(self.context.hub.clock()):
            return Close.SIGNED_OUT, "signed out"
        assert self.connection is not None
        if not self.connection.meter.allows_message(now):
            return Close.RATE, "too many messages"
        return None

    def on_violation(self, code: int, reason: str) -> None:
        """Count and tell a peer that broke a rule of the protocol or of the room."""
        if self.connection is not None:
            self.connection.closed_with = code
            hub = self.context.hub
            note_close(hub, self._key, self.connection, code, reason)

    def hand_over(self, *, is_last: bool) -> None:
        """Write what this turn of the loop has sent so far."""
        if self.connection is not None and is_last:
            self.connection.outbox.finish()
        elif self.connection is not None:
            self.connection.outbox.flush()

    def on_close(self) -> None:
        """Leave the room."""
        if self._beat is not None:
            self._beat.cancel()
        if self.connection is None or self.room is None:
            return
        # Without a close frame of the peer there is no code: RFC 6455 calls it 1006.
        was_clean = self.close_code is not None
        code = 1006 if self.close_code is None else self.close_code
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
        traffic, hub = connection.traffic(), self.context.hub
        hub.counters.note_closed(room.key, connection.closed_with or code, traffic)
        hub.directory.left(room.key, connection)
        connection.is_open = False
        room.connections.discard(connection)  # also while the room is asleep
        try:
            if room.is_over and not hub.is_stopping:
                room = await hub.room(*self._key)
            await room.leave(connection, code, reason, was_clean)
        finally:
            hub.leave(connection)
        hub.forget_idle(room)

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Start the closing handshake; why is told to the operator."""
        if self.connection is not None and code is not None:
            hub = self.context.hub
            note_close(hub, self._key, self.connection, code, reason or "")
        super().close(code, reason)

    def on_refusal(self, refusal: Refusal) -> None:
        """Count and tell a handshake that is refused."""
        if self.request.headers.get("Upgrade", "").lower() == "websocket":
            path, hub = self.request.path, self.context.hub
            note_refused(hub, path, refusal.code, self.request_id)

    # Tornado's own pings are off: it bids a silent peer goodbye, and waits 5 s more.

    def _rest(self) -> None:
        loop = asyncio.get_running_loop()
        self._beat = loop.call_later(PING_SECONDS, self._ping_again)

    def _ping_again(self) -> None:
        self._ask(PING_SECONDS)
        self._rest()

    def on_pong(self, data: bytes) -> None:
        """Note that the peer is alive."""
        self._heard_at = asyncio.get_running_loop().time()

    def probe(self) -> None:
        """Ping at once; drop the socket after 5 s without a pong."""
        self._ask(PROBE_SECONDS)

    def _ask(self, patience_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            self.ping()
        except WebSocketClosedError:
            return  # it is being closed, and that has its own deadline
        loop.call_later(patience_seconds, self._judge, loop.time())

    def _judge(self, asked_at: float) -> None:
        if self._heard_at < asked_at and not self._is_held_up:
            self._drop()

    def _drop(self) -> None:
        stream = getattr(self.ws_connection, "stream", None)
        if stream is not None:
            stream.close()

    @property
    def ping_interval(self) -> float:
        """Zero: the pings are ours."""
        return 0.0

    @property
    def max_message_size(self) -> int:
        """Bytes of one message; a larger one closes with 1009."""
        if self.identity.has(Role.WORKER):
            return WORKER_MESSAGE_BYTES
        return (
            WORKER_MESSAGE_BYTES if self.room is None else self.room.max_message_bytes
        )

    def get_compression_options(self) -> dict[str, Any] | None:
        """Let Tornado agree to nothing: it would keep 145 KiB a connection."""
        return None
