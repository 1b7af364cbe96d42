"""Peers that stop reading, and links that hold little, so that a stall shows soon."""

import asyncio
import socket
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import connect

from tests.integration.house import House, Peer
from vibehq_server.connection import Connection

KERNEL_BYTES = 16 * 1024


async def connect_slow(house: House, room: str, **query: Any) -> Peer:
    """Connect with a small receive buffer; it reads until it is told to stop."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
    address = urlsplit(house.url)
    sock.connect((address.hostname, address.port))
    sock.setblocking(False)
    pairs = "&".join(f"{name}={value}" for name, value in query.items())
    client = await connect(
        f"{house.url}/parties/{room}?{pairs}",
        sock=sock,
        additional_headers={"X-As": "ana viewer,operator"},
        max_size=None,
        max_queue=None,
        compression=None,
    )
    house.own(client)
    return Peer(client)


def stop_reading(peer: Peer) -> None:
    """Leave what comes where it is, in the kernel and at the server."""
    peer.socket.transport.pause_reading()


def read_on(peer: Peer) -> None:
    """Read again."""
    peer.socket.transport.resume_reading()


def shrink(connection: Connection) -> None:
    """Let the server's kernel hold little for this connection."""
    sock = connection.outbox._stream.socket
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)


async def until(condition: Any, seconds: float = 10) -> None:
    """Wait until *condition* holds, looking each turn of the loop."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)
