"""
Frames on their way to one connection: encoded once, written at once, bounded.

The one module that knows Tornado's stream behind a WebSocket. It uses
``handler.ws_connection.stream`` and its ``writing``, ``write_to_fd`` and ``write``;
a contract test pins them, and without them ``write_message`` serves.
"""

import struct
from asyncio import Future
from collections.abc import Callable
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

OUTBOX_BYTES = 512 * 1024
"""A connection that owes more than this is slow."""

_FIN_TEXT = 0x81
_FIN_BINARY = 0x82


def encode_frame(payload: bytes, *, binary: bool) -> bytes:
    """Return one unmasked WebSocket frame that holds *payload* (RFC 6455, 5.2)."""
    head = _FIN_BINARY if binary else _FIN_TEXT
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", head, size) + payload
    if size < 65536:
        return struct.pack("!BBH", head, 126, size) + payload
    return struct.pack("!BBQ", head, 127, size) + payload


class Outbox:
    """
    The bounded queue to one connection.

    ``write`` never waits. What the kernel does not take at once is queued and counted
    in ``pending``; who writes decides by it what to do with a slow connection.
    """

    def __init__(self, handler: WebSocketHandler) -> None:
        """Write to the stream behind *handler*."""
        self._handler = handler
        self.pending = 0
        self.sent_frames = 0
        self.sent_bytes = 0
        self.on_drain: Callable[[], None] = lambda: None
        """Called when the last queued byte has gone."""

    @property
    def is_over(self) -> bool:
        """Whether more is queued than a connection may owe."""
        return self.pending > OUTBOX_BYTES

    def write(self, frame: bytes) -> None:
        """Send *frame*, an encoded one; silently dropped when the peer is gone."""
        link = self._handler.ws_connection
        if link is None or link.is_closing():
            return
        self.sent_frames += 1
        self.sent_bytes += len(frame)
        stream = getattr(link, "stream", None)
        try:
            if stream is None:
                self._write_message(frame)
                return
            if not stream.writing():
                frame = frame[_write_now(stream, frame) :]
            if frame:
                self._queue(stream.write(frame), len(frame))
        except (StreamClosedError, WebSocketClosedError):
            return
        except OSError as error:
            if stream is not None:
                stream.close(exc_info=error)

    def _write_message(self, frame: bytes) -> None:
        binary = frame[0] == _FIN_BINARY
        start = {126: 4, 127: 10}.get(frame[1], 2)
        sent = self._handler.write_message(frame[start:], binary=binary)
        self._queue(sent, len(frame))

    def _queue(self, written: Any, size: int) -> None:
        self.pending += size

        def drained(_future: "Future[None]") -> None:
            self.pending -= size
            if self.pending == 0:
                self.on_drain()

        written.add_done_callback(drained)


def _write_now(stream: Any, frame: bytes) -> int:
    """Hand *frame* to the kernel and return how much of it was taken."""
    try:
        return int(stream.write_to_fd(memoryview(frame)))
    except BlockingIOError:
        return 0
