"""One live WebSocket, as a room sees it."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from vibehq_nb.core.codec import encode
from vibehq_nb.core.ids import ConnectionId
from vibehq_nb.core.messages import Close, Message
from vibehq_server.counters import Traffic
from vibehq_server.frames import encode_frame
from vibehq_server.identity import Identity
from vibehq_server.outbox import Outbox
from vibehq_server.rates import Meter
from vibehq_server.requests import ConnectRequest

SENDABLE = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})
"""Close codes of the protocol that may stand in a close frame."""

__all__ = ["ConnectRequest", "Connection", "Socket"]


class Socket(Protocol):
    """What a connection needs of its WebSocket handler."""

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Start the closing handshake."""

    def probe(self) -> None:
        """Ping at once; drop the socket after 5 s without a pong."""


class Connection:
    """
    One live WebSocket. It is an object of its own: its id may be used again.

    Attributes:
        id: The ``_pk`` of the client, or a generated one.
        identity: Who is behind it.
        request: The handshake.
        tags: Names it can be found by; the first is the id.
        outbox: The bounded queue of its frames.
        meter: What it has sent lately.
        since: When it was opened, in seconds since 1970.
        closed_with: The code the server closed with; None while it is open or left
            by itself.
        write: Sends an encoded frame; after :meth:`close` it does nothing.
    """

    __slots__ = (
        "_socket",
        "closed_with",
        "id",
        "identity",
        "is_open",
        "meter",
        "outbox",
        "received_bytes",
        "received_frames",
        "request",
        "since",
        "state",
        "tags",
        "write",
    )

    def __init__(
        self,
        connection_id: ConnectionId,
        identity: Identity,
        request: ConnectRequest,
        socket: Socket,
        outbox: Outbox,
    ) -> None:
        """Bind *socket* and *outbox* to an identity."""
        self.id = connection_id
        self.identity = identity
        self.request = request
        self.outbox = outbox
        outbox.on_full = self._close_slow
        # Once for each frame to each connection: without a call in between.
        self.write = outbox.write
        self.tags: tuple[str, ...] = (connection_id,)
        self.state: Any = None
        self._socket = socket
        self.is_open = True
        self.meter = Meter(None)
        self.since = 0.0
        self.received_frames = 0
        self.received_bytes = 0
        self.closed_with: int | None = None

    @property
    def uri(self) -> str:
        """The URL of the handshake, tickets removed."""
        return self.request.uri

    @property
    def is_raw(self) -> bool:
        """Whether the client wants bytes alone (``?mode=raw``)."""
        return self.request.query.get("mode") == "raw"

    def set_state(self, value: Any | Callable[[Any], Any]) -> Any:
        """Set the state, or update it by a function of the one before; return it."""
        self.state = value(self.state) if callable(value) else value
        return self.state

    def send(self, message: str | bytes) -> None:
        """Send text or bytes at once, unlogged."""
        binary = isinstance(message, bytes)
        payload = message if isinstance(message, bytes) else message.encode()
        self.write(encode_frame(payload, binary=binary))

    def send_message(self, message: Message) -> None:
        """Send one protocol message; a raw connection is sent none."""
        if not self.is_raw:
            self.write(encode_frame(encode(message), binary=False))

    def write_together(self, frames: Sequence[bytes]) -> None:
        """Send encoded frames, all or none: to the outbox's bound they are one."""
        self.outbox.write_together(frames)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """
        Close with *code* and a *reason* of at most 123 bytes.

        Raises:
            ValueError: If the code is none that may be sent (RFC 6455, 7.4).
        """
        if code not in SENDABLE and not 3000 <= code <= 4999:
            raise ValueError(f"{code} is no close code that may be sent")
        if self.is_open:
            self.is_open = False
            self.closed_with = code
            self._socket.close(code, reason.encode()[:123].decode(errors="ignore"))

    def _close_slow(self) -> None:
        # It may come back. Until then its socket is dropped 5 s from now, read or not.
        self.close(Close.SLOW, "slow consumer")

    def count_unknown(self) -> None:
        """Count a message of unknown type; close at the tenth in a row."""
        if not self.meter.allows_unknown(time.monotonic()):
            self.close(1008, "too many messages of unknown type")

    def note_received(self, message: str | bytes) -> None:
        """Count a message that came in."""
        self.received_frames += 1
        if isinstance(message, str) and not message.isascii():
            message = message.encode()
        self.received_bytes += len(message)

    def traffic(self) -> Traffic:
        """Return what passed so far, both ways."""
        outbox = self.outbox
        return Traffic(
            self.received_frames,
            self.received_bytes,
            outbox.sent_frames,
            outbox.sent_bytes,
        )

    def probe(self) -> None:
        """Drop the connection soon if its peer does not answer a ping."""
        self._socket.probe()
