"""The outbox against Tornado's real stream, and the attributes of it that it uses."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import tornado.httpserver
import tornado.web
from tornado.iostream import IOStream
from tornado.testing import bind_unused_port
from tornado.websocket import WebSocketHandler
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.rounds import seeded
from vibehq_server.frames import encode_frame
from vibehq_server.outbox import GATHER_BYTES, OUTBOX_BYTES, Outbox


@asynccontextmanager
async def handler_and_client():
    handlers = asyncio.Queue()

    class Handler(WebSocketHandler):
        def open(self):
            handlers.put_nowait(self)

    server = tornado.httpserver.HTTPServer(tornado.web.Application([("/", Handler)]))
    socket, port = bind_unused_port()
    server.add_sockets([socket])
    url = f"ws://127.0.0.1:{port}/"
    async with connect(url, compression=None, max_size=None, max_queue=None) as client:
        yield await handlers.get(), client
    server.stop()
    await server.close_all_connections()


async def test_tornado_has_what_the_outbox_uses():
    async with handler_and_client() as (handler, _):
        stream = handler.ws_connection.stream

        assert isinstance(stream, IOStream)
        assert stream.write_to_fd(encode_frame(b"as bytes", binary=False)) == 10
        assert stream.writing() is False
        assert callable(stream.write_to_fd)
        assert handler.ws_connection.is_closing() is False


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 200_000])
async def test_frames_of_every_length_form_arrive_exactly(size):
    payload = bytes(number % 256 for number in range(size))
    async with handler_and_client() as (handler, client):
        Outbox(handler).write(encode_frame(payload, binary=True))

        assert await client.recv() == payload


async def test_frames_stay_in_order_while_the_peer_does_not_read():
    async with handler_and_client() as (handler, client):
        outbox = Outbox(handler)
        client.transport.pause_reading()
        drained = asyncio.Event()
        outbox.on_drain = drained.set
        numbers = 0
        while outbox.has_room(2000):
            text = f"{numbers} {'x' * 1000}".encode()
            outbox.write(encode_frame(text, binary=False))
            numbers += 1
        assert OUTBOX_BYTES - 2000 < outbox.pending <= OUTBOX_BYTES
        client.transport.resume_reading()
        async with asyncio.timeout(10):
            seen = [(await client.recv()).split()[0] for _ in range(numbers)]
            await drained.wait()

        assert seen == [str(number) for number in range(numbers)]
        assert outbox.pending == 0


async def test_pings_of_tornado_do_not_fall_into_the_middle_of_a_frame():
    async with handler_and_client() as (handler, client):
        outbox = Outbox(handler)
        client.transport.pause_reading()
        numbers = 0
        while outbox.has_room(100_000):
            outbox.write(encode_frame(b"%d" % (numbers % 10) * 20_000, binary=True))
            handler.ping(b"p")
            numbers += 1
        client.transport.resume_reading()
        async with asyncio.timeout(10):
            seen = [await client.recv() for _ in range(numbers)]

        assert seen == [b"%d" % (n % 10) * 20_000 for n in range(numbers)]


async def test_without_the_stream_write_message_serves(monkeypatch):
    async with handler_and_client() as (handler, client):

        class Hidden:
            """Tornado's connection as another version may have it."""

            def __init__(self, inner):
                self._inner = inner
                self.is_closing = inner.is_closing
                self.write_message = inner.write_message

        monkeypatch.setattr(handler, "ws_connection", Hidden(handler.ws_connection))
        outbox = Outbox(handler)
        outbox.write(encode_frame(b"text", binary=False))
        outbox.write(encode_frame(b"b" * 70_000, binary=True))

        assert await client.recv() == "text"
        assert await client.recv() == b"b" * 70_000
        monkeypatch.undo()


async def test_writing_to_a_peer_that_is_gone_is_silent():
    async with handler_and_client() as (handler, client):
        outbox = Outbox(handler)
        client.transport.abort()
        for _ in range(100):
            outbox.write(encode_frame(b"x" * 10_000, binary=True))
            await asyncio.sleep(0)

        assert outbox.pending == 0


async def test_frames_of_one_turn_are_one_write_and_one_alone_is_not_copied():
    async with handler_and_client() as (handler, client):
        stream, chunks = handler.ws_connection.stream, []
        write_to_fd = stream.write_to_fd

        def spy(chunk):
            chunks.append(chunk)
            return write_to_fd(chunk)

        stream.write_to_fd = spy
        outbox = Outbox(handler)
        alone = encode_frame(b"alone", binary=False)
        outbox.write(alone)
        assert outbox.pending == len(alone)
        assert await client.recv() == "alone"
        for number in range(16):
            outbox.write(encode_frame(b"%d" % number, binary=False))

        assert [await client.recv() for _ in range(16)] == [str(n) for n in range(16)]
        assert len(chunks) == 2
        assert chunks[0] is alone
        assert outbox.pending == 0
        assert (outbox.sent_frames, outbox.sent_bytes) == (17, sum(map(len, chunks)))


async def test_a_frame_past_the_bound_goes_out_only_when_nothing_is_queued():
    async with handler_and_client() as (handler, client):
        outbox = Outbox(handler)
        full = []
        outbox.on_full = lambda: full.append(outbox.pending)
        huge = encode_frame(b"h" * 12_000_000, binary=True)
        client.transport.pause_reading()

        outbox.write(huge)
        assert not full
        assert outbox.pending > OUTBOX_BYTES
        outbox.write(encode_frame(b"one more", binary=True))

        assert len(full) == 1
        client.transport.resume_reading()
        async with asyncio.timeout(10):
            assert len(await client.recv()) == 12_000_000


async def test_of_a_long_queue_only_little_is_past_being_dropped():
    async with handler_and_client() as (handler, client):
        outbox = Outbox(handler)
        client.transport.pause_reading()
        frame = encode_frame(b"x" * 10_000, binary=True)
        while outbox.has_room(len(frame)):
            outbox.write(frame)
        full = outbox.pending
        client.transport.resume_reading()
        async with asyncio.timeout(10):
            while outbox.pending == full:
                await client.recv()
        outbox.drop()

        assert outbox.pending <= GATHER_BYTES


async def test_what_was_written_before_a_close_comes_before_it():
    async with handler_and_client() as (handler, client):
        outbox = Outbox(handler)
        for number in range(3):
            outbox.write(encode_frame(b"%d" % number, binary=False))
        outbox.finish()
        handler.close(4408, "slow")

        assert [await client.recv() for _ in range(3)] == ["0", "1", "2"]
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 4408


async def test_20_000_frames_under_back_pressure_arrive_in_order_and_within_the_bound():
    source = seeded("20,000 frames under back-pressure")
    async with handler_and_client() as (handler, client):
        outbox = Outbox(handler)
        most, drained = 0, asyncio.Event()
        outbox.on_drain = drained.set
        sizes = [source.randrange(4000) for _ in range(20_000)]

        async def write():
            nonlocal most
            for number, size in enumerate(sizes):
                frame = encode_frame(b"%d " % number + bytes(size), binary=True)
                if not outbox.has_room(len(frame)):
                    drained.clear()
                    await drained.wait()
                outbox.write(frame)
                most = max(most, outbox.pending)

        client.transport.pause_reading()
        writing = asyncio.create_task(write())
        async with asyncio.timeout(25):
            while most < OUTBOX_BYTES - 8000:
                await asyncio.sleep(0)
            client.transport.resume_reading()
            for number, size in enumerate(sizes):
                assert await client.recv() == b"%d " % number + bytes(size)
            await writing

        assert OUTBOX_BYTES - 8000 < most <= OUTBOX_BYTES


def test_a_loop_that_ended_before_its_turn_keeps_no_other_from_writing():
    async def leave_one_waiting():
        async with handler_and_client() as (handler, _):
            Outbox(handler).write(encode_frame(b"never", binary=False))

    async def write_one():
        async with handler_and_client() as (handler, client):
            Outbox(handler).write(encode_frame(b"text", binary=False))
            return await client.recv()

    asyncio.run(leave_one_waiting())

    assert asyncio.run(write_one()) == "text"
