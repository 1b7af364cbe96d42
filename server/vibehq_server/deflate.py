"""
permessage-deflate (RFC 7692) without context takeover: no state, no memory kept.

A frame to many is deflated once and shared; a message that comes in is inflated by
itself, and never to more than its room allows.
"""

import zlib

from vibehq_server.frames import frame_of, payload_of

WINDOW_BITS = 12
"""Of every deflated frame: 4 KiB, the least that common clients ask for."""

DEFLATE_FROM_BYTES = 128
"""A shorter payload gains nothing."""

_DEFLATED = 0x40
_MEMORY_LEVEL = 5
_TAIL = b"\x00\x00\xff\xff"


def deflate_frame(frame: bytes) -> bytes:
    """
    Return *frame* compressed by itself (RFC 7692), or as it is if that is shorter.

    It depends on no frame before it, so that any connection can be sent it.
    """
    payload = payload_of(frame)
    if len(payload) < DEFLATE_FROM_BYTES:
        return frame
    deflater = zlib.compressobj(wbits=-WINDOW_BITS, memLevel=_MEMORY_LEVEL)
    packed = deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)
    deflated = frame_of(frame[0] | _DEFLATED, packed.removesuffix(_TAIL))
    return deflated if len(deflated) < len(frame) else frame


class Deflater:
    """Deflates for all connections of a room; remembers the last frame alone."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._frame = self._deflated = b""

    def deflate(self, frame: bytes) -> bytes:
        """Return :func:`deflate_frame` of *frame*, once for all who are sent it."""
        if frame is not self._frame:
            self._frame, self._deflated = frame, deflate_frame(frame)
        return self._deflated


class InflateError(Exception):
    """A message cannot be inflated; *code* is what the connection is closed with."""

    def __init__(self, code: int, reason: str) -> None:
        """Say why."""
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Inflater:
    """Inflates what a connection sends."""

    def __init__(self, most: int) -> None:
        """Give out at most *most* bytes a message."""
        self._most = most

    def decompress(self, payload: bytes) -> bytes:
        """
        Return what the payload of a message holds.

        Raises:
            InflateError: 1009 if that is too much, 1007 if it is damaged.
        """
        try:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            message = inflater.decompress(payload + _TAIL, self._most + 1)
        except zlib.error:
            raise InflateError(1007, "message is not deflated data") from None
        if len(message) > self._most:
            raise InflateError(1009, "message too big")
        return message


def agree_on_deflate(offers: str) -> str | None:
    """
    Answer a ``Sec-WebSocket-Extensions`` header, or return None to compress nothing.

    Without context takeover either way, so that no compressor is kept for a
    connection; an offer that needs a window smaller than ours is passed over.
    """
    for offer in offers.split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        given = dict(_parameter(text) for text in parameters)
        if name != "permessage-deflate" or not _is_possible(given):
            continue
        answer = [name, "server_no_context_takeover", "client_no_context_takeover"]
        if "server_max_window_bits" in given:
            answer.append(f"server_max_window_bits={WINDOW_BITS}")
        return "; ".join(answer)
    return None


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip().strip('"')


def _is_possible(given: dict[str, str]) -> bool:
    bits = given.pop("client_max_window_bits", "15") or "15"
    window = given.get("server_max_window_bits", "15")
    flags = set(given) - {"server_max_window_bits"}
    if flags - {"server_no_context_takeover", "client_no_context_takeover"}:
        return False
    sizes = {str(size) for size in range(8, 16)}
    return {bits, window} <= sizes and int(window) >= WINDOW_BITS
