"""Viewers of a terminal of a real server, each with a screen of its own."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from vibehq_nb.client.screen import GhosttyScreen
from vibehq_nb.testing import ThrowAwayServer


class Viewer:
    """Keeps the keyframe it joined with and every byte after it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.connected: dict[str, Any] = {}
        self.snapshots: list[dict[str, Any]] = []
        self.keyframe = bytearray()
        self.output = bytearray()

    @property
    def screen(self) -> GhosttyScreen:
        """The screen as it is now, painted from the beginning."""
        screen = GhosttyScreen(self.snapshots[-1]["cols"], self.snapshots[-1]["rows"])
        screen.feed(bytes(self.keyframe))
        screen.feed(bytes(self.output))
        return screen

    @property
    def start(self) -> int:
        """Where the keyframe stands."""
        return int(self.snapshots[-1]["offset"])

    @property
    def offset(self) -> int:
        """How much of the stream it holds; -1 before its keyframe is whole."""
        if not self.snapshots or len(self.keyframe) < self.snapshots[-1]["bytes"]:
            return -1
        return self.start + len(self.output)

    async def listen(self) -> None:
        """Take frames until the connection ends."""
        try:
            async for frame in self.socket:
                if not isinstance(frame, bytes):
                    self._take(json.loads(frame))
                elif self.offset < 0:
                    self.keyframe += frame
                else:
                    self.output += frame
        except ConnectionClosed:
            pass

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "connected":
            self.connected = message
        elif message["type"] == "snapshot":
            assert not self.snapshots, "it was caught up with a second keyframe"
            self.snapshots.append(message)

    async def type(self, keys: bytes) -> None:
        await self.socket.send(keys)


@asynccontextmanager
async def watching(server: ThrowAwayServer, terminal: str) -> AsyncIterator[Viewer]:
    """Watch a terminal until the block ends."""
    socket = await connect(
        f"{server.url.replace('http', 'ws', 1)}/parties/terminal/{terminal}",
        additional_headers={"Authorization": f"Bearer {server.token}"},
        max_size=None,
        max_queue=None,
        compression=None,
    )
    viewer = Viewer(socket)
    listening = asyncio.ensure_future(viewer.listen())
    try:
        yield viewer
    finally:
        await socket.close()
        await listening
