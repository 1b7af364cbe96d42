"""A worker's side of one terminal, by script, over a real socket."""

from typing import Any

from tests.integration.house import House, Peer
from vibehq_nb.core.messages import PROTOCOL

KEYFRAME = b"\x1bcSCREEN"


class Worker:
    """Speaks a worker's side by script: what it has is what the test gave it."""

    def __init__(self, house: House, peer: Peer) -> None:
        self.house = house
        self.peer = peer
        self.data = b""

    async def hello(self, **changes: Any) -> int:
        """Say hello and return where the room wants to go on."""
        hello = {
            "type": "hello",
            "protocol": PROTOCOL,
            "epoch": "e1",
            "oldest": 0,
            "offset": len(self.data),
            "cols": 80,
            "rows": 24,
            "state": "running",
            "screen": "vt",
            "inputs": {},
        }
        await self.peer.send(hello | changes)
        since = (await self.peer.until("since"))["offset"]
        await self.peer.send(self.data[since:])
        return since

    async def output(self, data: bytes) -> None:
        self.data += data
        for at in range(0, len(data), 60_000):
            await self.peer.send(data[at : at + 60_000])

    async def answer_keyframe(self, at: int | None = None, **changes: Any) -> None:
        await self.peer.until("keyframe")
        snapshot = {
            "type": "snapshot",
            "epoch": "e1",
            "offset": len(self.data) if at is None else at,
            "cols": 80,
            "rows": 24,
            "bytes": len(KEYFRAME),
        }
        await self.peer.send(snapshot | changes)
        await self.peer.send(KEYFRAME)


async def work(house: House, terminal: str = "vm") -> Worker:
    return Worker(house, await house.connect(f"terminal/{terminal}", "vm", "worker"))
