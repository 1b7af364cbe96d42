"""A WebSocket client that goes on sending whatever the server says."""

import asyncio
import os
import struct
from collections.abc import Mapping
from typing import Self

from tests.integration.app_server import UPGRADE


class RefusedOpenError(Exception):
    """The handshake was answered otherwise."""


class StubbornClient:
    """Sends masked text frames; never answers a close frame."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int, path: str, headers: Mapping[str, str]) -> Self:
        """
        Open a socket.

        Raises:
            RefusedOpenError: With the status.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        given = {"Host": f"127.0.0.1:{port}", **UPGRADE, **headers}
        lines = [f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in given.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.splitlines()[0]:
            writer.close()
            raise RefusedOpenError(int(head.split()[1]))
        return cls(reader, writer)

    def send(self, text: str) -> None:
        """Send one text frame of less than 64 KiB."""
        payload, mask = text.encode(), os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else struct.pack("!BH", 0xFE, size)
        self._writer.write(b"\x81" + length + mask + masked)

    async def close_code(self) -> int:
        """Read on to the server's close frame; return its code."""
        while True:
            head, size = await self._reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", await self._reader.readexactly(2))
            payload = await self._reader.readexactly(size)
            if head & 0x0F == 8:
                return int.from_bytes(payload[:2])

    def hang_up(self) -> None:
        self._writer.close()
