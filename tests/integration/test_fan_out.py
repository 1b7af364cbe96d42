"""One message to many: encoded once, written once a turn, deflated once."""

import asyncio
import os
import zlib
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from tests.integration.house import running
from vibehq_server import deflate
from vibehq_server.room import Room

TEXT = "the same few words, again and again; " * 30
NOISE = os.urandom(3000)


class Plain(Room):
    access: ClassVar = "open"
    max_message_bytes: ClassVar = 64 * 1024

    async def on_message(self, connection, message):
        connection.send(f"{len(message)} {message[:20]!r}")


class Packed(Plain):
    compression: ClassVar = True


class Spy:
    """Sees what goes to the kernel, and lets it go."""

    def __init__(self, connection):
        self.chunks = []
        stream = connection.outbox._stream
        self._write_to_fd, stream.write_to_fd = stream.write_to_fd, self

    def __call__(self, chunk):
        self.chunks.append(chunk)
        return self._write_to_fd(chunk)


@asynccontextmanager
async def crowd(party, *compressions):
    """Run a server, connect one client for each; yield the room and the clients."""
    async with running({"plain": Plain, "packed": Packed}) as house:
        clients = []
        for how in compressions:
            by_name = how in (None, "deflate")
            ways = {"compression": how} if by_name else {"extensions": [how]}
            url = f"{house.url}/parties/{party}/main"
            clients.append(await connect(url, **({"compression": None} | ways)))
            house.own(clients[-1])
        yield await house.hub.room(party, "main"), clients


def extensions_of(client):
    return client.response.headers.get("Sec-WebSocket-Extensions")


async def test_all_are_written_the_very_same_bytes_once_a_turn():
    async with crowd("plain", *[None] * 5) as (room, clients):
        spies = [Spy(connection) for connection in room.connections]
        room.broadcast("alone")
        assert {await client.recv() for client in clients} == {"alone"}
        for number in range(16):
            room.broadcast(str(number))
        for client in clients:
            assert [await client.recv() for _ in range(16)] == [
                str(number) for number in range(16)
            ]

        assert [len(spy.chunks) for spy in spies] == [2] * 5
        assert len({id(spy.chunks[0]) for spy in spies}) == 1


async def test_each_is_sent_messages_in_the_order_they_were_written():
    async with crowd("plain", None, None) as (room, clients):
        first = next(iter(room.connections))
        room.broadcast("1")
        first.send("2")
        room.broadcast("3", without=[first.id])
        first.send(b"4")
        room.broadcast("5")
        first.close(4000, "done")

        seen = [await clients[0].recv() for _ in range(4)]
        assert seen == ["1", "2", b"4", "5"]
        with pytest.raises(ConnectionClosed):
            await clients[0].recv()
        assert [await clients[1].recv() for _ in range(3)] == ["1", "3", "5"]
        assert clients[0].close_code == 4000


async def test_nothing_is_compressed_unless_the_room_says_so():
    async with crowd("plain", "deflate") as (room, [client]):
        room.broadcast(TEXT)

        assert await client.recv() == TEXT
        assert extensions_of(client) is None


async def test_a_room_that_compresses_deflates_once_for_all_who_asked(monkeypatch):
    made, compressobj = [], zlib.compressobj

    def count(*args, **kwargs):
        made.append(1)
        return compressobj(*args, **kwargs)

    ways = ["deflate", "deflate", None, "deflate"]
    async with crowd("packed", *ways) as (room, clients):
        spies = [Spy(connection) for connection in room.connections]
        monkeypatch.setattr(zlib, "compressobj", count)
        for message in (TEXT, NOISE, "short", TEXT.encode()):
            room.broadcast(message)
            for client in clients:
                assert await client.recv() == message
        sent = [sum(map(len, spy.chunks)) for spy in spies]

        assert len(made) == 3  # "short" gains nothing, noise is sent as it is
        assert sent[0] == sent[1] == sent[3] < sent[2] - 1500
        agreed = [extensions_of(client) is not None for client in clients]
        assert agreed == [True, True, False, True]


async def test_no_compressor_of_tornado_is_kept_for_a_connection():
    async with crowd("packed", "deflate") as (room, [client]):
        [connection] = room.connections
        link = connection.outbox._link

        assert link._compressor is None
        assert isinstance(link.inflater, deflate.Inflater)
        assert "server_no_context_takeover" in extensions_of(client)
        assert "client_no_context_takeover" in extensions_of(client)


async def test_compressed_messages_come_in_each_by_itself():
    async with crowd("packed", "deflate") as (_, [client]):
        for number in range(20):
            await client.send(f"{number} {TEXT}")
            assert (await client.recv()).startswith(
                f"{len(TEXT) + 1 + len(str(number))} "
            )


async def test_a_message_that_unpacks_to_more_than_allowed_closes_with_1009():
    async with crowd("packed", "deflate", None) as (room, clients):
        bomb, other = clients
        await bomb.send("0" * 10_000_000)  # 10 KB on the wire
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionClosed):
                await bomb.recv()
        room.broadcast("still here")

        assert bomb.close_code == 1009
        assert await other.recv() == "still here"


@pytest.mark.parametrize(
    ("offer", "is_taken"),
    [
        (ClientPerMessageDeflateFactory(server_max_window_bits=15), True),
        (ClientPerMessageDeflateFactory(server_max_window_bits=12), True),
        (ClientPerMessageDeflateFactory(server_max_window_bits=9), False),
        (ClientPerMessageDeflateFactory(client_max_window_bits=9), True),
        (ClientPerMessageDeflateFactory(client_max_window_bits=True), True),
        (ClientPerMessageDeflateFactory(server_no_context_takeover=True), True),
    ],
)
async def test_an_offer_is_taken_when_a_shared_frame_fits_its_window(offer, is_taken):
    async with crowd("packed", offer) as (room, [client]):
        room.broadcast(TEXT * 10)
        await client.send(TEXT * 10)

        assert await client.recv() == TEXT * 10
        assert (await client.recv()).startswith(str(len(TEXT * 10)))
        assert (extensions_of(client) is not None) == is_taken
