"""
Frames that no client should send, and what each is answered (B32 to B45).

After each of them the server serves a socket that behaved.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import psutil
import pytest

from tests.integration.house import House, running
from tests.trust.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    EchoRoom,
    closing,
    dialled,
    echo_room,
    frame,
)
from vibehq_server.rooms.terminal import TerminalRoom


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running({"lobby": EchoRoom, "terminal": TerminalRoom}) as started:
        yield started


def part(payload: bytes = b"", opcode: int = CONTINUATION) -> bytes:
    """A fragment that is not the last one."""
    return frame(payload, opcode, fin=False)


CASES = [
    pytest.param(
        [
            frame(b"text", masked=False),
            frame(b"", PING, masked=False),
            frame(b"", CLOSE, masked=False),
        ],
        1002,
        id="B32-unmasked",
    ),
    pytest.param(
        [frame(b"x", reserved=bit) for bit in (1, 2, 4)]
        + [frame(b"", PING, reserved=4)]
        + [frame(b"x", code) for code in (*range(3, 8), *range(0xB, 0x10))],
        1002,
        id="B33-reserved-bits-and-opcodes",
    ),
    pytest.param(
        [
            frame(b"", BINARY, length=2**62),
            frame(b"", BINARY, length=2**63),
            frame(b"", BINARY, length=2**62)[:10],
        ],
        1009,
        id="B34-length-bomb",
    ),
    pytest.param(
        [
            frame(b"x" * 65537),
            part(b"x" * 40000, TEXT) + frame(b"x" * 25537, CONTINUATION),
        ],
        1009,
        id="B35-message-over-the-limit",
    ),
    pytest.param(
        [part(b"", TEXT) + part() * 999],
        1008,
        id="B36-empty-fragments",
    ),
    pytest.param(
        [
            part(b"a", TEXT) + frame(b"b"),
            part(b"a", TEXT) + part(b"b", BINARY),
            frame(b"a", CONTINUATION),
        ],
        1002,
        id="B37-data-inside-a-message",
    ),
    pytest.param(
        [
            frame(b"x" * 126, PING),
            frame(b"x" * 126, CLOSE),
            frame(b"x", PING, fin=False),
            frame(b"", CLOSE, fin=False),
        ],
        1002,
        id="B38-control-frame-too-long-or-in-parts",
    ),
    pytest.param(
        [
            frame(b"\xff"),
            frame(b"\xc0\xaf"),
            frame(b"\xed\xa0\x80"),
            frame(b"\xf4\x90\x80\x80"),
            frame("€".encode()[:2]),
            part("€".encode()[:1], TEXT) + frame(b"x", CONTINUATION),
        ],
        1007,
        id="B39-text-that-is-not-utf-8",
    ),
    pytest.param(
        [
            frame(b"\x03", CLOSE),
            closing(1000, b"\xff"),
            *(closing(code) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000)),
        ],
        1002,
        id="B40-close-codes-nobody-may-send",
    ),
]


@pytest.mark.parametrize(("variants", "code"), CASES)
async def test_a_frame_that_breaks_the_protocol_is_told_why(
    house: House, variants: list[bytes], code: int
) -> None:
    async with dialled(house) as honest:
        for sent in variants:
            async with dialled(house) as hostile:
                await hostile.send(sent)

                assert await hostile.close_code() == code, sent[:8]
        assert await honest.echo(b"still here")

        room = await echo_room(house)
        for _ in variants:
            async with asyncio.timeout(5):
                assert await room.ends.get() == (1006, "", False)
        assert room.seen == ["still here"]


async def test_b41_a_ping_flood_that_reads_nothing_costs_no_memory(
    house: House,
) -> None:
    async with dialled(house) as honest, dialled(house) as hostile:
        before = psutil.Process().memory_info().rss
        flood = frame(b"p" * 125, PING) * 1000
        for _ in range(20):
            await hostile.send(flood)
            await asyncio.sleep(0)
        grown = psutil.Process().memory_info().rss - before
        frames = await hostile.rest()

        assert await honest.echo(b"still here")
        assert len([f for f in frames if f[0] == PONG]) <= 20
        assert frames[-1] == (CLOSE, struct.pack("!H", 1008) + b"too many frames")
        # The flood itself, 2.6 MB, lives in this process too.
        assert grown < 8 * 1024 * 1024


async def test_b42_half_a_frame_and_silence_is_closed_by_the_ping_timeout(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In service: a ping each 15 s, given up 15 s after it.
    monkeypatch.setattr("vibehq_server.socket_handler.PING_SECONDS", 0.2)
    async with dialled(house) as hostile:
        await hostile.send(frame(b"x" * 100)[:50])
        frames = await hostile.rest()

        assert set(frames) == {(PING, b"")}  # nobody reads a goodbye


async def test_b43_a_message_that_trickles_is_closed_whatever_pongs_come(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vibehq_server.ws_protocol.MESSAGE_SECONDS", 0.3)
    async with dialled(house) as honest, dialled(house) as hostile:
        await hostile.send(part(b"a", TEXT))

        async def trickle() -> None:
            while True:
                await hostile.send(part(b"b"), frame(b"", PONG))
                await asyncio.sleep(0.1)

        trickling = asyncio.create_task(trickle())
        frames = await hostile.rest()
        trickling.cancel()

        assert frames == [(CLOSE, struct.pack("!H", 1008) + b"message too slow")]
        assert await honest.echo(b"still here")


async def test_b44_what_comes_behind_a_close_frame_is_dropped(house: House) -> None:
    room = await echo_room(house)
    async with dialled(house) as peer:
        await peer.send(frame(b"before"), closing(1000, b"bye"), frame(b"behind"))

        assert await peer.rest() == [
            (TEXT, b"before"),
            (CLOSE, struct.pack("!H", 1000)),
        ]
        async with asyncio.timeout(5):
            assert await room.ends.get() == (1000, "bye", True)
    assert room.seen == ["before"]


async def test_b45_a_reset_amid_a_frame_frees_the_writers_lease_within_a_second(
    house: House,
) -> None:
    watcher = await house.connect("terminal/web-1", user="bob")
    await watcher.until("connected")
    async with dialled(house, "terminal/web-1") as peer:
        await peer.send(frame(b'{"type":"writer","action":"take"}'))
        assert (await watcher.until("writer"))["user"] == "ana"
        await peer.send(frame(b"x" * 100, BINARY)[:50])
        raw = peer.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writer.transport.abort()

        async with asyncio.timeout(1):
            assert (await watcher.until("writer"))["user"] is None
    await watcher.send({"type": "writer", "action": "take"})
    assert (await watcher.until("writer"))["user"] == "bob"
