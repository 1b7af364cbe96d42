"""
A server that sends when it is told to, on stdin, and says on stdout what it cost.

``python -m tests.benchmarks.fan_out_server KIND``. Of the kinds, ``ours``, ``skip`` and
``close`` are rooms; ``tornado`` loops over ``write_message``, ``websockets`` calls its
``broadcast``, and ``floor`` is a loop over ``socket.send`` of a ready frame.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import tornado.httpserver
import tornado.web
from tornado.testing import bind_unused_port
from tornado.websocket import WebSocketHandler
from websockets.asyncio.server import broadcast, serve

from tests.integration.house import running
from vibehq_server.frames import encode_frame
from vibehq_server.room import Room

REST_SECONDS = 40e-6
"""For each member after each turn: the same for all kinds, so that readers keep up."""


@dataclass
class Served:
    """
    A running server.

    Attributes:
        url: Where to connect.
        members: Its connections.
        send: Send bytes to all of them.
        queued: What waits for each, as far as the server knows.
    """

    url: str
    members: Collection[Any]
    send: Callable[[bytes], None]
    queued: Callable[[], list[int]] = list


class Feed(Room):
    """Sends what it is told to."""

    access: ClassVar[Literal["session", "open"]] = "open"


class Skip(Feed):
    """Lets a slow connection miss messages."""

    slow_policy: ClassVar[Literal["close", "skip", "latest"]] = "skip"


@asynccontextmanager
async def rooms(kind: str) -> AsyncIterator[Served]:
    """Serve one of our rooms."""
    async with running({"feed": Skip if kind == "skip" else Feed}) as house:
        room = await house.hub.room("feed", "main")
        yield Served(
            f"{house.url}/parties/feed/main",
            room.connections,
            room.broadcast,
            lambda: [one.outbox.pending for one in room.connections],
        )


@asynccontextmanager
async def stock(kind: str) -> AsyncIterator[Served]:
    """Serve with Tornado as it is."""
    members: set[Any] = set()

    class Handler(WebSocketHandler):
        def open(self) -> None:
            self.set_nodelay(True)  # as the others do: it decides what a send costs
            members.add(self)

        def on_close(self) -> None:
            members.discard(self)

    def write(message: bytes) -> None:
        for member in members:
            member.write_message(message, binary=True)

    def send(message: bytes) -> None:
        frame = encode_frame(message, binary=True)
        for member in members:
            member.ws_connection.stream.socket.send(frame)

    server = tornado.httpserver.HTTPServer(tornado.web.Application([("/", Handler)]))
    socket, port = bind_unused_port()
    server.add_sockets([socket])
    url = f"ws://127.0.0.1:{port}/"
    yield Served(url, members, write if kind == "tornado" else send)
    server.stop()


@asynccontextmanager
async def websockets_broadcast(kind: str) -> AsyncIterator[Served]:
    """Serve with the websockets library."""

    members: set[Any] = set()

    async def stay(connection: Any) -> None:
        members.add(connection)
        await connection.wait_closed()
        members.discard(connection)

    def send(message: bytes) -> None:
        broadcast(members, message)

    async with serve(stay, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield Served(f"ws://127.0.0.1:{port}/", members, send)


KINDS = {
    "ours": rooms,
    "skip": rooms,
    "close": rooms,
    "tornado": stock,
    "floor": stock,
    "websockets": websockets_broadcast,
}


async def fan_out(
    served: Served, messages: int, size: int, per_turn: int, pause: float = 0
) -> dict[str, Any]:
    """
    Send so many messages of *size* bytes, and rest so that the readers keep up.

    Returns microseconds of CPU of a delivery, and the longest queue seen.
    """
    longest, cpu = 0, 0.0
    for _ in range(messages // per_turn):
        began = time.process_time()
        for _ in range(per_turn):
            stamp = time.perf_counter_ns().to_bytes(8, "big")
            served.send(stamp + bytes(size - 8))
        for _ in range(3):
            await asyncio.sleep(0)
        spent = time.process_time() - began
        cpu += spent
        await asyncio.sleep(pause or REST_SECONDS * len(served.members))
        queued = served.queued()
        longest = max([longest, *queued])
        while sum(map(bool, queued)) > 1:  # all but one that is stalled have it
            await asyncio.sleep(0.001)
            queued = served.queued()
    us = 1e6 * cpu / (messages * len(served.members))
    return {"us": us, "longest": longest, "members": len(served.members)}


def say(**answer: Any) -> None:
    """Answer with a line of JSON."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def main(kind: str) -> None:
    """Serve *kind* and obey stdin until it ends."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with KINDS[kind](kind) as served:
        say(url=served.url)
        while line := await lines.readline():
            asked = json.loads(line)
            done = await fan_out(served, **asked) if asked else {}
            say(**({"members": len(served.members)} | done))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
