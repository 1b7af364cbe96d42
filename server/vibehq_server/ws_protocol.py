"""
The WebSocket protocol of a room's sockets: RFC 6455 to the letter, and bounded.

Tornado's own accepts unmasked frames and close codes nobody may send, drops the
connection without a code where one is due, and takes frames at any rate. Here a peer
that breaks the protocol is told why (1002, 1007, 1009) and one that floods or
dawdles is told that (1008). The peer has a moment to read the code: closed at once,
a socket with unread bytes is reset, and the code is lost on the way.

The one module that knows the inside of Tornado's ``WebSocketProtocol13``. It replaces
``_receive_frame`` and uses ``stream``, ``params``, ``handler``, ``close``, ``_abort``,
``_handle_message`` (for pings and pongs), ``client_terminated``, ``server_terminated``,
``close_code``, ``close_reason``, ``_wire_bytes_in`` and ``_websocket_mask``; a contract
test pins them.

One deviation: a close reason that is no UTF-8 is answered 1002, not 1007: a close
frame is wrong as a whole, and holds no message.
"""

import asyncio
import struct
import sys
from typing import Any

from tornado.util import _websocket_mask
from tornado.websocket import WebSocketHandler, WebSocketProtocol13

from vibehq_nb.core.rates import Bucket, Rate
from vibehq_server.deflate import InflateError, Inflater

CONTROL_RATE = Rate(per_second=20, burst=20)
"""Pings and pongs; an honest peer sends one each 15 s."""

FRAGMENT_RATE = Rate(per_second=512, burst=512)
"""Frames that are a part of a message: 2 MiB in parts of 4 KiB, each second."""

MESSAGE_SECONDS = 10.0
"""From the first fragment of a message to its last."""

READ_BYTES = 64 * 1024
"""What is asked of the kernel at once: Tornado reads no more."""

LINGER_SECONDS = 1.0
LINGER_BYTES = 4 * 1024 * 1024
"""What is read and dropped so that the peer can read why it is closed."""

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})
_FIN, _RESERVED, _OPCODE, _CONTROL = 0x80, 0x70, 0x0F, 0x08
_DEFLATED = 0x40
_MASKED, _LENGTH = 0x80, 0x7F
_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})

NO_CODE = 1005
"""What ``close_code`` says of a close frame without one."""


class _FrameError(Exception):
    """The peer broke the protocol; closed with *code* and *reason*."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class RoomProtocol(WebSocketProtocol13):
    """
    Tornado's protocol for one connection, with its own reader of frames.

    ``close_code`` and ``close_reason`` are what the peer's close frame said: 1005 and
    "" where it named no code, None and None where none came or it was not legal.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what Tornado's takes."""
        super().__init__(*args, **kwargs)
        self._control: Bucket | None = None
        self._fragments: Bucket | None = None
        self._inbox = bytearray()  # a message and one read at most
        self._message: bytearray | None = None  # bounded by max_message_size
        self._message_opcode = _TEXT
        self._is_deflated = False  # the message that is being read
        self.inflater: Inflater | None = None
        """Takes compressed messages, where the handshake agreed to them."""
        self._message_timer: asyncio.TimerHandle | None = None

    async def _receive_frame(self) -> None:
        """Read one frame and act on it; Tornado calls this until the peer has gone."""
        try:
            opcode, is_final, payload = await self._read_frame()
            if self.server_terminated and opcode != _CLOSE:
                return  # a close frame is on its way: what comes behind it is late
            if opcode & _CONTROL:
                self._take_control(opcode, payload)
            elif is_final and self._message is None:
                await self._take_message(opcode, payload)
            else:
                await self._take_fragment(opcode, is_final, payload)
        except _FrameError as wrong:
            await self._fail(wrong)

    # Reading

    async def _read_frame(self) -> tuple[int, bool, bytes]:
        # What is already wrong with the first 2 bytes is told without the others.
        inbox = self._inbox
        if len(inbox) < 2:
            await self._fill(2)
        first, second = inbox[0], inbox[1]
        self._judge(first, second)
        length = second & _LENGTH
        size = {126: 8, 127: 14}.get(length, 6)
        if size > 6:
            await self._fill(size - 4)
            (length,) = struct.unpack("!H" if size == 8 else "!Q", inbox[2 : size - 4])
        before = 0 if first & _CONTROL else len(self._message or b"")
        if before + length > self.params.max_message_size:
            raise _FrameError(1009, "message too big")
        end = size + length
        if len(inbox) < end:
            await self._fill(end)
        mask, payload = bytes(inbox[size - 4 : size]), bytes(inbox[size:end])
        del inbox[:end]
        self._wire_bytes_in += end
        opcode = first & _OPCODE
        if opcode in (_TEXT, _BINARY):
            self._is_deflated = bool(first & _DEFLATED)
        return opcode, bool(first & _FIN), _websocket_mask(mask, payload)

    async def _fill(self, least: int) -> None:
        """Read until at least so many bytes are here; often many frames at once."""
        inbox = self._inbox
        while len(inbox) < least:
            want = max(least - len(inbox), READ_BYTES)
            inbox += await self.stream.read_bytes(want, partial=True)

    def _judge(self, first: int, second: int) -> None:
        opcode = first & _OPCODE
        may_be_deflated = self.inflater is not None and opcode in (_TEXT, _BINARY)
        reserved = first & _RESERVED & ~(_DEFLATED if may_be_deflated else 0)
        if reserved or opcode not in _OPCODES:
            raise _FrameError(1002, "unknown frame")
        if not second & _MASKED:
            raise _FrameError(1002, "frame not masked")
        if opcode & _CONTROL:
            self._judge_control(first, second)
        elif self.server_terminated:
            return  # dropped, and no part of a message
        elif (opcode == _CONTINUATION) != (self._message is not None):
            raise _FrameError(1002, "fragment out of place")
        elif self._message is not None or not first & _FIN:
            self._fragments = self._fragments or Bucket(FRAGMENT_RATE)
            self._count(self._fragments)

    def _judge_control(self, first: int, second: int) -> None:
        if not first & _FIN or second & _LENGTH > 125:
            raise _FrameError(1002, "control frame too long or in parts")
        if first & _OPCODE != _CLOSE:
            self._control = self._control or Bucket(CONTROL_RATE)
            self._count(self._control)

    def _count(self, bucket: Bucket) -> None:
        if not bucket.take(asyncio.get_running_loop().time()):
            raise _FrameError(1008, "too many frames")

    # Acting

    async def _take_message(self, opcode: int, payload: bytes) -> None:
        if self._is_deflated and self.inflater is not None:
            payload = self._inflate(self.inflater, payload)
        message: str | bytes = payload
        if opcode == _TEXT:
            try:
                message = payload.decode()
            except UnicodeDecodeError:
                raise _FrameError(1007, "text is not UTF-8") from None
        try:
            handled = self.handler.on_message(message)
            if handled is not None:
                await handled
        except Exception:
            self.handler.log_exception(*sys.exc_info())
            self._abort()

    def _inflate(self, inflater: Inflater, payload: bytes) -> bytes:
        try:
            return inflater.decompress(payload)
        except InflateError as error:
            raise _FrameError(error.code, error.reason) from None

    async def _take_fragment(self, opcode: int, is_final: bool, payload: bytes) -> None:
        if self._message is None:
            self._message, self._message_opcode = bytearray(), opcode
            loop = asyncio.get_running_loop()
            self._message_timer = loop.call_later(MESSAGE_SECONDS, self._too_slow)
        self._message += payload
        if not is_final:
            return
        whole, self._message = bytes(self._message), None
        self._stop_timer()
        await self._take_message(self._message_opcode, whole)

    def _too_slow(self) -> None:
        self.close(1008, "message too slow")

    def _stop_timer(self) -> None:
        if self._message_timer is not None:
            self._message_timer.cancel()

    def _take_control(self, opcode: int, payload: bytes) -> None:
        self._hand_over(is_last=False)
        if opcode != _CLOSE:
            self._handle_message(opcode, payload)
            return
        code, reason = _decode_close(payload)
        self.client_terminated = True
        self.close_code, self.close_reason = code, reason
        self.close(None if code == NO_CODE else code)

    async def _fail(self, wrong: _FrameError) -> None:
        """Say what is wrong, give the peer a moment to read it, and hang up."""
        handler: Any = self.handler
        handler.on_violation(wrong.code, wrong.reason)
        self.close(wrong.code, wrong.reason)
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0:
                    left -= len(await self.stream.read_bytes(65536, partial=True))
        except TimeoutError:
            pass
        self._abort()

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close behind what was sent in this turn of the loop."""
        self._hand_over(is_last=True)
        super().close(code, reason)

    def _hand_over(self, *, is_last: bool) -> None:
        handler: Any = self.handler
        handler.hand_over(is_last=is_last)

    def _abort(self) -> None:
        self._stop_timer()
        super()._abort()


def _decode_close(payload: bytes) -> tuple[int, str]:
    if not payload:
        return NO_CODE, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (code in _CLOSE_CODES or 3000 <= code <= 4999):
        raise _FrameError(1002, "close code not legal")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise _FrameError(1002, "close reason is not UTF-8") from None


class StrictSocketHandler(WebSocketHandler):
    """A WebSocket handler whose connections speak :class:`RoomProtocol`."""

    def on_violation(self, code: int, reason: str) -> None:
        """Hear that the peer broke a rule and is closed with *code*."""

    def hand_over(self, *, is_last: bool) -> None:
        """
        Write what waits for the end of this turn of the loop: a pong comes behind it.

        *is_last* says that a close frame does, and that nothing may follow.
        """

    def get_websocket_protocol(self) -> RoomProtocol | None:
        """Return the protocol of this connection; None for a version we lack."""
        stock = super().get_websocket_protocol()
        if not isinstance(stock, WebSocketProtocol13):
            return None
        return RoomProtocol(self, mask_outgoing=False, params=stock.params)
