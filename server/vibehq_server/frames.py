"""WebSocket frames as a server sends them: bytes, encoded once for all who get them."""

import struct

FIN_TEXT = 0x81
FIN_BINARY = 0x82


def encode_frame(payload: bytes, *, binary: bool) -> bytes:
    """Return one unmasked WebSocket frame that holds *payload* (RFC 6455, 5.2)."""
    return frame_of(FIN_BINARY if binary else FIN_TEXT, payload)


def frame_of(head: int, payload: bytes) -> bytes:
    """Return a frame with *head* as its first byte."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", head, size) + payload
    if size < 65536:
        return struct.pack("!BBH", head, 126, size) + payload
    return struct.pack("!BBQ", head, 127, size) + payload


def payload_of(frame: bytes) -> bytes:
    """Return what an unmasked frame holds."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]
