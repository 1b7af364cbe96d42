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

from vibehq_server.outbox import OUTBOX_BYTES, Outbox, encode_frame


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
        while not outbox.is_over:
            text = f"{numbers} {'x' * 1000}".encode()
            outbox.write(encode_frame(text, binary=False))
            numbers += 1
        assert outbox.pending > OUTBOX_BYTES
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
        for number in range(200):
            outbox.write(encode_frame(b"%d" % number * 20_000, binary=True))
            handler.ping(b"p")
        client.transport.resume_reading()
        async with asyncio.timeout(10):
            seen = [await client.recv() for _ in range(200)]

        assert seen == [b"%d" % number * 20_000 for number in range(200)]


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

        assert handler.ws_connection is None or outbox.pending >= 0
