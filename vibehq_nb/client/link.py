"""
One open WebSocket. The only module that knows the websockets library's inside.

A frame is written in the call that hands it over, as in a browser: a contract test
pins the attributes this takes.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import State
from websockets.typing import Subprotocol

from vibehq_nb.client.errors import ConnectError
from vibehq_nb.client.http import LOOPBACK
from vibehq_nb.core.errors import UsageError

PING_SECONDS = 15.0
CLOSE_SECONDS = 2.0
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
MAX_REASON_BYTES = 123
NO_CODE = 1006

# At DEBUG the library logs the handshake, credentials included: it never gets there.
_frames_logger = logging.getLogger(f"{__name__}.frames")
_frames_logger.setLevel(logging.INFO)


class ReadyState(IntEnum):
    """What a WebSocket's ``readyState`` says, with the numbers of the browser's."""

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


@dataclass(frozen=True, slots=True)
class CloseEvent:
    """
    A link is down, or a try to get one failed.

    Attributes:
        code: The peer's close code, or ours; 1006 if there was none.
        reason: What was said with it.
        was_clean: Whether both sides closed.
        status: The HTTP status of a refused handshake; else 0.
        will_reconnect: Whether another try follows.
    """

    code: int
    reason: str = ""
    was_clean: bool = False
    status: int = 0
    will_reconnect: bool = False


def check_close(code: int, reason: str) -> None:
    """
    Refuse what a client may not close with.

    Raises:
        UsageError: If *code* is not 1000 or 3000 to 4999, or *reason* is too long.
    """
    if code != 1000 and not 3000 <= code <= 4999:
        raise UsageError("A close code is 1000, or 3000 to 4999.")
    if len(reason.encode()) > MAX_REASON_BYTES:
        raise UsageError(f"A close reason is at most {MAX_REASON_BYTES} bytes long.")


class _Connect(connect):
    """Follows no redirect: a token goes to the address it was given for only."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _Connection(ClientConnection):
    """Does not wait for a peer that said goodbye and keeps the line."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.protocol.close_rcvd is not None:
            self.loop.call_later(CLOSE_SECONDS, self.transport.abort)


class Link:
    """An open WebSocket, and one that was."""

    def __init__(self, connection: ClientConnection) -> None:
        """Take over an open connection."""
        self._connection = connection

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to close."""
        return self._connection.state is State.OPEN

    @property
    def waiting_bytes(self) -> int:
        """Bytes written here that the operating system has not taken yet."""
        return self._connection.transport.get_write_buffer_size()

    @property
    def subprotocol(self) -> str:
        """The subprotocol the server chose; empty if none."""
        return self._connection.subprotocol or ""

    @property
    def close_event(self) -> CloseEvent:
        """How it ended; for a link that has."""
        code = self._connection.close_code or NO_CODE
        reason = self._connection.close_reason or ""
        return CloseEvent(code, reason, was_clean=code != NO_CODE)

    def write(self, frame: str | bytes) -> None:
        """Write *frame* to an open link; text for str, binary for bytes."""
        if isinstance(frame, str):
            self._connection.protocol.send_text(frame.encode())
        else:
            self._connection.protocol.send_binary(frame)
        self._connection.send_data()

    async def receive(self) -> str | bytes | None:
        """Return the next frame; None once the link is down."""
        try:
            return await self._connection.recv()
        except ConnectionClosed:
            return None

    async def close(self, code: int, reason: str) -> None:
        """Close it; after two seconds without an answer it is dropped."""
        await self._connection.close(code, reason)

    def abort(self) -> None:
        """Drop it, in the middle of whatever it does."""
        self._connection.transport.abort()


async def dial(
    url: str,
    headers: Mapping[str, str],
    protocols: Sequence[str],
    timeout: float,
) -> Link:
    """
    Open a WebSocket, or give up after *timeout* seconds.

    Raises:
        ConnectError: If there is none; its text holds nothing of the query.
    """
    # Without its query: that may hold a ticket.
    parts = urlsplit(url)
    where = f"{parts.scheme}://{parts.netloc}{parts.path}"
    try:
        connection = await _Connect(
            url,
            additional_headers=dict(headers),
            subprotocols=[Subprotocol(name) for name in protocols] or None,
            compression=None,
            open_timeout=timeout,
            close_timeout=CLOSE_SECONDS,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
            max_size=MAX_FRAME_BYTES,
            proxy=None if parts.hostname in LOOPBACK else True,
            logger=_frames_logger,
            create_connection=_Connection,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        raise ConnectError(
            f"{where} answered {status} to the handshake.", status
        ) from None
    except TimeoutError:
        raise ConnectError(f"{where}: timeout after {timeout:g} s.") from None
    except OSError as error:
        cause = error.strerror or type(error).__name__
        raise ConnectError(f"{where} cannot be reached: {cause}.") from None
    except Exception as error:  # the library's many, a proxy's, a missing package
        cause = type(error).__name__
        raise ConnectError(f"{where} opened no WebSocket: {cause}.") from None
    return Link(connection)
