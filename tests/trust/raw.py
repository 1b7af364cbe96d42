"""Bytes by hand: frames no client library would send, and heads of requests."""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tests.integration.app_server import UPGRADE
from tests.integration.house import OPERATOR, House
from vibehq_server.room import Room

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MASK = b"\x01\x80\xff\x5a"
ANA = {"X-As": f"ana {OPERATOR}"}


def frame(
    payload: bytes = b"",
    opcode: int = TEXT,
    *,
    fin: bool = True,
    masked: bool = True,
    reserved: int = 0,
    length: int | None = None,
) -> bytes:
    """One frame as a client sends it, or wrong in one way; *length* may lie."""
    size = len(payload) if length is None else length
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, mask_bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, size)
    if not masked:
        return head + payload
    return head + MASK + bytes(c ^ MASK[i % 4] for i, c in enumerate(payload))


def closing(code: int, reason: bytes = b"") -> bytes:
    """A close frame."""
    return frame(struct.pack("!H", code) + reason, CLOSE)


class Raw:
    """A WebSocket after its handshake, without a library."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *frames: bytes) -> None:
        """Write bytes; that the server has hung up is found out by reading."""
        try:
            self.writer.write(b"".join(frames))
            await self.writer.drain()
        except ConnectionError:
            return

    async def next(self) -> tuple[int, bytes] | None:
        """Return opcode and payload of the server's next frame, None at the end."""
        async with asyncio.timeout(10):
            try:
                first, size = await self.reader.readexactly(2)
                if size == 126:
                    (size,) = struct.unpack("!H", await self.reader.readexactly(2))
                elif size == 127:
                    (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
                return first & 0xF, await self.reader.readexactly(size)
            except (ConnectionError, asyncio.IncompleteReadError):
                return None

    async def rest(self) -> list[tuple[int, bytes]]:
        """Return all frames up to the server's close frame, or the end without one."""
        frames = []
        while (got := await self.next()) is not None:
            frames.append(got)
            if got[0] == CLOSE:
                break
        return frames

    async def close_code(self) -> int | None:
        """Read on until the close frame; None if there is none, 0 if it is empty."""
        frames = await self.rest()
        if not frames or frames[-1][0] != CLOSE:
            return None
        return int.from_bytes(frames[-1][1][:2], "big")

    async def echo(self, text: bytes) -> bool:
        """Tell whether an echoing room still serves this socket."""
        await self.send(frame(text))
        return await self.next() == (TEXT, text)


@asynccontextmanager
async def dialled(
    house: House, room: str = "lobby/main", headers: Mapping[str, str] = ANA
) -> AsyncIterator[Raw]:
    """Open a WebSocket to ``party/room`` by hand."""
    port = int(house.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        given = {"Host": f"127.0.0.1:{port}", **UPGRADE, **headers}
        lines = [f"GET /parties/{room} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in given.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        yield Raw(reader, writer)
    finally:
        writer.close()


class EchoRoom(Room):
    """Sends back what it is sent, and keeps what it saw and how sockets ended."""

    max_message_bytes = 64 * 1024

    async def on_start(self, props):
        self.seen: list[str | bytes] = []
        self.ends: asyncio.Queue[tuple[int, str, bool]] = asyncio.Queue()

    async def on_message(self, connection, message):
        self.seen.append(message)
        connection.send(message)

    async def on_close(self, connection, code, reason, was_clean):
        self.ends.put_nowait((code, reason, was_clean))


async def echo_room(house: House) -> EchoRoom:
    room = await house.hub.room("lobby", "main")
    assert isinstance(room, EchoRoom)
    return room
