"""Viewers of real terminals that count and hash what they are sent, at any pace."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.trust.server_process import until
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.testing import ThrowAwayServer

ACK_BYTES = 64 * 1024
TAIL_BYTES = 64 * 1024


class Watcher:
    """
    One viewer, as a page is one: it acknowledges what it has parsed.

    Attributes:
        offset: The bytes of the terminal it has parsed.
        since: Where what is hashed begins: at its position, its last keyframe or mark.
        frames: Binary frames it was sent.
        parsed: Bytes it has parsed, keyframes and all.
        messages: Everything else.
        tail: The end of what it has parsed.
        screen: The last keyframe it was sent, and the output after it.
    """

    def __init__(self, socket: ClientConnection, offset: int, rate: float) -> None:
        self.offset = self.since = offset
        self.frames = self.parsed = 0
        self.messages: list[dict[str, Any]] = []
        self.tail = b""
        self.screen = bytearray()
        self.keeps_screen = False
        self._socket = socket
        self._rate = rate
        self._free_at = 0.0
        self._acked = offset
        self._due = 0
        self._hash = hashlib.sha256()
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for frame in self._socket:
            if isinstance(frame, str):
                self._take(json.loads(frame))
                continue
            if self._rate:
                await self._parse_for(len(frame) / self._rate)
            self._parse(frame)
            if self.offset - self._acked >= ACK_BYTES or self._acked < self.since:
                await self.ack()

    async def _parse_for(self, seconds: float) -> None:
        self._free_at = max(self._free_at, time.monotonic() - 0.01) + seconds
        await asyncio.sleep(max(self._free_at - time.monotonic(), 0))

    def _take(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if message["type"] == "snapshot":
            self.offset = self.since = message["offset"]
            self._acked = -1
            self._due = message["bytes"]
            self._hash = hashlib.sha256()
            self.screen.clear()

    def _parse(self, frame: bytes) -> None:
        self.frames += 1
        self.parsed += len(frame)
        painted, output = frame[: self._due], frame[self._due :]
        self._due -= len(painted)
        if self.keeps_screen:
            self.screen += frame
        self._hash.update(output)
        self.offset += len(output)
        self.tail = (self.tail + frame)[-TAIL_BYTES:]

    async def ack(self) -> None:
        self._acked = self.offset
        await self._socket.send(json.dumps({"type": "ack", "offset": self.offset}))

    def mark(self) -> None:
        """Hash what comes from here on."""
        self.since = self.offset
        self._hash = hashlib.sha256()

    @property
    def sha(self) -> str:
        """Of every byte after ``since``."""
        return self._hash.hexdigest()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of one type."""
        return [message for message in self.messages if message["type"] == kind]

    @property
    def epoch(self) -> str:
        return str(self.of("connected")[-1]["epoch"])

    async def type(self, keys: str | bytes) -> None:
        await self._socket.send(keys.encode() if isinstance(keys, str) else keys)

    async def saw(self, text: bytes, seconds: float = 40) -> None:
        """Wait until *text* is among the last that was parsed."""
        await until(lambda: text in self.tail or self._reading.done(), seconds)
        assert text in self.tail, self.messages[-3:]

    async def ready(self) -> "Watcher":
        """Wait until it is painted: before that, keys are refused."""
        await until(lambda: self.of("snapshot") and not self._due, 20)
        return self

    def stall(self) -> None:
        """Read nothing any more."""
        self._socket.transport.pause_reading()

    def read_on(self) -> None:
        self._socket.transport.resume_reading()

    def cut(self) -> None:
        """Be gone, as one is whose link breaks."""
        self._reading.cancel()
        self._socket.transport.abort()


class Terminals:
    """Real terminals on a server and a worker in processes of their own."""

    def __init__(self, server: ThrowAwayServer) -> None:
        self._server = server
        self._api = HttpApi(Server(server.url, server.token))
        self.pids = [process.pid for process in server._processes[:2]]
        self._open: list[Watcher] = []

    async def open(self, name: str, *command: str) -> str:
        """Open a terminal that runs *command*, or a shell; returns its room."""
        asked = {"name": name, "command": list(command) or None}
        opened = await asyncio.to_thread(
            self._api.request, "POST", "/api/terminals", asked
        )
        return str(opened["id"])

    async def watch(
        self, room: str, *, rate: float = 0, user: str = "", **position: Any
    ) -> Watcher:
        """Come as a viewer; from a position, or to be painted."""
        token = self._server.grant(user, ["viewer", "operator"]) if user else ""
        query = "&".join(f"{name}={value}" for name, value in position.items())
        base = self._server.url.replace("http", "ws", 1)
        socket = await connect(
            f"{base}/parties/terminal/{room}?{query}",
            additional_headers={
                "Authorization": f"Bearer {token or self._server.token}"
            },
            compression=None,
            max_size=None,
        )
        watcher = Watcher(socket, int(position.get("offset", 0)), rate)
        self._open.append(watcher)
        return watcher

    async def close(self) -> None:
        for watcher in self._open:
            watcher.cut()
        await asyncio.gather(*(w._reading for w in self._open), return_exceptions=True)


@asynccontextmanager
async def terminals() -> AsyncIterator[Terminals]:
    """Run server and worker until the block ends."""
    with ThrowAwayServer() as server:
        found = Terminals(server)
        try:
            yield found
        finally:
            await found.close()
