"""A worker's side by script: its terminal prints what the test gives it."""

import asyncio
import json
from contextlib import suppress

from websockets.asyncio.client import ClientConnection

from tests.trust.followers import GONE, PAUSE_SECONDS, Door, dial
from vibehq_nb.core.messages import PROTOCOL
from vibehq_nb.core.stream import RING_BYTES

KEYFRAME = b"\x1bcSCREEN"
FRAME_BYTES = 16 * 1024


class ByteSource:
    """
    One terminal ``vm`` and its bytes; links to the room again whenever it has to.

    Attributes:
        data: Every byte printed so far.
        epoch: The life of its PTY.
        sinces: What the room asked for, link by link.
        keyframe_at: Where its keyframes are taken; None for what was sent.
    """

    def __init__(self, door: Door, epoch: str = "e1") -> None:
        self.data = bytearray()
        self.epoch = epoch
        self.sinces: list[int] = []
        self.keyframe_at: int | None = None
        self._door = door
        self._sent = 0
        self._is_keyframe_due = False

    @property
    def oldest(self) -> int:
        return max(0, len(self.data) - RING_BYTES)

    def part(self, start: int, end: int) -> bytes:
        return bytes(self.data[start:end])

    async def run(self) -> None:
        """Link, print, and again; until cancelled."""
        while True:
            with suppress(*GONE):
                await self._link()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _link(self) -> None:
        async with await dial(self._door, "terminal/vm") as socket:
            await socket.send(json.dumps(self.hello()))
            await self._receive_since(socket)
            reading = asyncio.create_task(self._read(socket))
            try:
                while not reading.done():
                    await self._print(socket)
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    def hello(self) -> dict:
        return {
            "type": "hello",
            "protocol": PROTOCOL,
            "epoch": self.epoch,
            "oldest": self.oldest,
            "offset": len(self.data),
            "cols": 80,
            "rows": 24,
            "state": "running",
            "screen": "vt",
            "inputs": {},
        }

    async def _receive_since(self, socket: ClientConnection) -> None:
        self._is_keyframe_due = False
        while True:
            message = json.loads(await socket.recv())
            if message["type"] == "since":
                self._sent = message["offset"]
                self.sinces.append(self._sent)
                assert self.oldest <= self._sent <= len(self.data)
                return

    async def _read(self, socket: ClientConnection) -> None:
        async for frame in socket:
            self._is_keyframe_due |= json.loads(frame)["type"] == "keyframe"

    async def _print(self, socket: ClientConnection) -> None:
        if self._is_keyframe_due:
            self._is_keyframe_due = False
            snapshot = {
                "type": "snapshot",
                "epoch": self.epoch,
                "offset": self._sent if self.keyframe_at is None else self.keyframe_at,
                "cols": 80,
                "rows": 24,
                "bytes": len(KEYFRAME),
            }
            await socket.send(json.dumps(snapshot))
            await socket.send(KEYFRAME)
        elif self._sent < len(self.data):
            part = self.part(self._sent, self._sent + FRAME_BYTES)
            await socket.send(part)
            self._sent += len(part)
        else:
            await asyncio.sleep(0.002)
