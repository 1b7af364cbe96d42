"""What Tornado's protocol must have for ours, and what ours does for honest peers."""

import asyncio
import inspect
import struct
from collections.abc import AsyncIterator

import pytest
from tornado.httputil import HTTPHeaders
from tornado.util import _websocket_mask
from tornado.websocket import WebSocketProtocol13
from websockets.asyncio.client import connect

from tests.integration.house import House, running
from tests.trust.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    EchoRoom,
    dialled,
    echo_room,
    frame,
)
from vibehq_server.handshake import check_handshake
from vibehq_server.refusals import Refusal


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running({"lobby": EchoRoom}) as started:
        yield started


async def end_of(house: House) -> tuple[int, str, bool]:
    room = await echo_room(house)
    async with asyncio.timeout(10):
        return await room.ends.get()


async def test_tornado_has_what_the_protocol_uses(house: House) -> None:
    peer = await house.connect("lobby/main")
    room = await echo_room(house)
    (connection,) = room.connections
    stock = connection._socket.ws_connection

    assert stock._receive_frame.__func__ is not WebSocketProtocol13._receive_frame
    for name, parameters in {
        "_receive_frame": ["self"],
        "_receive_frame_loop": ["self"],
        "_handle_message": ["self", "opcode", "data"],
        "_abort": ["self"],
        "close": ["self", "code", "reason"],
    }.items():
        found = inspect.signature(getattr(WebSocketProtocol13, name)).parameters
        assert list(found) == parameters, name
    loop = inspect.getsource(WebSocketProtocol13._receive_frame_loop)
    assert "while not self.client_terminated" in loop
    assert "on_ws_connection_close(self.close_code, self.close_reason)" in loop
    assert (stock.client_terminated, stock.server_terminated) == (False, False)
    assert (stock.close_code, stock.close_reason) == (None, None)
    assert stock.params.max_message_size == EchoRoom.max_message_bytes
    assert _websocket_mask(b"\1\2\3\4", b"abcde") == b"`````"[:4] + b"d"

    before = stock._wire_bytes_in
    await peer.send("four")
    await peer.socket.recv()
    # The loop yields to others by this count.
    assert stock._wire_bytes_in == before + 6 + 4


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
async def test_messages_of_every_length_form_come_in_exactly(
    house: House, size: int
) -> None:
    payload = bytes(number % 251 for number in range(size))
    peer = await house.connect("lobby/main")
    await peer.send(payload)

    assert await peer.socket.recv() == payload


async def test_a_head_in_single_bytes_is_read_as_one(house: House) -> None:
    async with dialled(house) as peer:
        for number in frame(b"x" * 200) + frame(b"ab"):
            await peer.send(bytes([number]))
            await asyncio.sleep(0)

        assert await peer.next() == (TEXT, b"x" * 200)
        assert await peer.next() == (TEXT, b"ab")


async def test_a_message_in_fragments_with_pings_between_is_one_message(
    house: House,
) -> None:
    euro = "€".encode()
    async with dialled(house) as peer:
        await peer.send(
            frame(euro[:1], TEXT, fin=False),
            frame(b"still there?", PING),
            frame(euro[1:2], CONTINUATION, fin=False),
            frame(euro[2:], CONTINUATION),
            frame(b"", BINARY, fin=False),
            frame(b"\xff", CONTINUATION),
        )

        assert await peer.next() == (PONG, b"still there?")
        assert await peer.next() == (TEXT, euro)
        assert await peer.next() == (BINARY, b"\xff")


async def test_the_room_learns_the_peers_code_and_reason(house: House) -> None:
    peer = await house.connect("lobby/main")
    await peer.socket.close(4000, "au revoir €")

    assert await end_of(house) == (4000, "au revoir €", True)


async def test_a_close_frame_without_a_code_is_answered_and_is_clean(
    house: House,
) -> None:
    async with dialled(house) as peer:
        await peer.send(frame(b"", CLOSE))

        assert await peer.rest() == [(CLOSE, b"")]
        assert await peer.next() is None
    assert await end_of(house) == (1005, "", True)


async def test_an_abrupt_drop_is_not_clean(house: House) -> None:
    async with dialled(house) as peer:
        peer.writer.transport.abort()

        assert await end_of(house) == (1006, "", False)


async def test_our_own_close_is_clean_once_the_peer_has_answered(house: House) -> None:
    peer = await house.connect("lobby/main")
    room = await echo_room(house)
    (connection,) = room.connections
    connection.close(4510, "the end")

    assert await peer.close_code() == 4510
    assert await end_of(house) == (4510, "the end", True)


async def test_what_comes_in_behind_our_own_close_reaches_no_room(house: House) -> None:
    room = await echo_room(house)
    async with dialled(house) as peer:
        assert await peer.echo(b"before")
        (connection,) = room.connections
        connection.close(4429, "enough")
        await peer.send(
            frame(b"late"),
            frame(b"la", fin=False),
            frame(b"te", CONTINUATION),
            frame(struct.pack("!H", 4429), CLOSE),
        )

        assert await peer.close_code() == 4429
        assert await end_of(house) == (4429, "", True)
    assert room.seen == ["before"]


async def test_who_breaks_the_protocol_can_read_why_behind_all_it_sent(
    house: House,
) -> None:
    """Closed with unread bytes, the connection would be reset and the code lost."""
    async with dialled(house) as peer:
        await peer.send(frame(b"x" * 1_000_000, BINARY))

        assert await peer.close_code() == 1009


async def test_a_room_that_fails_on_a_message_keeps_its_sockets(house: House) -> None:
    room = await echo_room(house)

    async def fail(connection, message):
        raise RuntimeError("a bug of its author")

    room.on_message = fail
    async with dialled(house) as peer:
        await peer.send(frame(b"boom"))
        await peer.send(frame(b"", PING))

        assert await peer.next() == (PONG, b"")


async def test_compression_is_never_agreed_to(house: House) -> None:
    url = f"{house.url}/parties/lobby/main"
    headers = {"X-As": "ana viewer"}
    async with connect(url, additional_headers=headers) as socket:
        assert socket.protocol.extensions == []
        await socket.send("plain")
        assert await socket.recv() == "plain"


@pytest.mark.parametrize(
    "key", ["dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA=="]
)
def test_a_handshake_of_a_browser_is_let_in(key: str) -> None:
    check_handshake(
        HTTPHeaders(
            {
                "Connection": "keep-alive, Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": key,
                "Sec-WebSocket-Protocol": "chat, superchat",
            }
        )
    )


@pytest.mark.parametrize(
    "key", ["", "AAAA", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ== ", "é" * 24]
)
def test_a_key_that_is_not_16_bytes_is_refused(key: str) -> None:
    headers = HTTPHeaders({"Connection": "Upgrade", "Sec-WebSocket-Version": "13"})
    headers["Sec-WebSocket-Key"] = key
    with pytest.raises(Refusal, check=lambda error: error.status_code == 400):
        check_handshake(headers)
