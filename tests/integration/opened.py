"""A program that a provider has opened, with all it says kept."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.integration.worker_rooms import until
from vibehq_nb.worker.providers.port import (
    Exit,
    Foreground,
    Opening,
    Process,
    Provider,
)


class Opened:
    """What a process printed and how it ended."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.output = bytearray()
        self.exits: list[Exit] = []
        process.start(self._on_output, self.exits.append)

    def _on_output(self, output: bytes) -> None:
        assert not self.exits, "output after the exit"
        self.output += output

    async def saw(self, text: bytes) -> None:
        await until(lambda: text in self.output, 30)

    async def ended(self) -> Exit:
        await until(lambda: self.exits, 30)
        return self.exits[0]

    async def runs(self, is_it: Callable[[Foreground], bool]) -> Foreground:
        """Await a foreground job."""
        async with asyncio.timeout(30):
            while not ((job := await self.process.foreground()) and is_it(job)):
                await asyncio.sleep(0.005)
            return job


async def opened(
    provider: Provider,
    place: str,
    *command: str,
    cwd: str | None = None,
    size: tuple[int, int] = (80, 24),
) -> Opened:
    """Open *command*, or a shell, at *place*."""
    opening = Opening(
        terminal="laptop:t",
        worker="laptop",
        place=place,
        command=list(command) or None,
        cwd=cwd,
        cols=size[0],
        rows=size[1],
        runtime=Path("/nonexistent"),
    )
    return Opened(await provider.open(opening))
