"""Many clients of one room that come back as ours do: partysocket's delays, jitter."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from tests.trust.followers import GONE, Door, dial
from tests.trust.server_process import ServerProcess, until
from vibehq_nb.client.replica import EventReplica
from vibehq_nb.core.backoff import reconnect_delay
from vibehq_nb.core.codec import Decoder
from vibehq_nb.core.messages import DOWNSTREAM

AT_ONCE = asyncio.Semaphore(50)
"""Clients that dial for the first time together; later each comes when it comes."""


class Guest:
    """
    One client of ``ops/main``.

    Attributes:
        came: When each ``connected`` came, and how it was answered.
    """

    def __init__(self, door: Door, randomness: random.Random) -> None:
        self.came: list[tuple[float, str]] = []
        self.replica = EventReplica()
        self._door, self._random = door, randomness
        self._retry = 0

    async def run(self) -> None:
        """Dial, read, and again after a delay; until cancelled."""
        while not self.came:
            with suppress(*GONE):
                async with AT_ONCE:
                    first = await dial(self._door, "ops/main")
                await self._read(first)
        while True:
            self._retry += 1
            await asyncio.sleep(reconnect_delay(self._retry, self._random.random()))
            with suppress(*GONE):
                position = self.replica.position
                await self._read(await dial(self._door, "ops/main", position))

    async def _read(self, socket) -> None:
        decoder = Decoder(DOWNSTREAM["ops"])
        with suppress(*GONE):
            async for frame in socket:
                self._retry = 0
                message = json.loads(frame)
                if message["type"] == "connected":
                    self.came.append((time.monotonic(), message["resume"]))
                self.replica.receive(decoder.decode(frame))


@dataclass(frozen=True)
class Return:
    """What a restart under a crowd was like; times in seconds since the kill."""

    ready_seconds: float
    all_back_seconds: float
    peak_per_second: int
    resumed: int


@asynccontextmanager
async def crowd(server: ServerProcess, count: int) -> AsyncIterator[list[Guest]]:
    """Let *count* clients be in the room while the block runs."""
    randomness = random.Random(count)
    door = Door(server.port, server.admin)
    guests = [Guest(door, randomness) for _ in range(count)]
    tasks = [asyncio.create_task(guest.run()) for guest in guests]
    try:
        await until(lambda: all(guest.replica.position for guest in guests), 60)
        yield guests
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def kill_and_await_all(server: ServerProcess, guests: list[Guest]) -> Return:
    """Kill the server, start it again, and wait until every guest is back."""
    server.kill()
    killed = time.monotonic()
    await server.start()
    ready = time.monotonic()
    await until(lambda: all(len(guest.came) == 2 for guest in guests), 60)
    times = sorted(guest.came[1][0] for guest in guests)
    return Return(
        ready - killed,
        times[-1] - killed,
        max(sum(at <= one < at + 1 for one in times) for at in times),
        sum(guest.came[1][1] == "resumed" for guest in guests),
    )
