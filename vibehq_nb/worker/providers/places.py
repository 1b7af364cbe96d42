"""All providers of one worker: which can work here, and which one is meant."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import Spawn
from vibehq_nb.worker.providers.container import ContainerProvider
from vibehq_nb.worker.providers.k8s import PodProvider
from vibehq_nb.worker.providers.local import LocalProvider
from vibehq_nb.worker.providers.names import told
from vibehq_nb.worker.providers.port import Opening, Process, Provider
from vibehq_nb.worker.providers.runtime import DOCKER, PODMAN
from vibehq_nb.worker.providers.ssh import SshProvider

OPEN_SECONDS = 20.0
"""How long a place may take to open a terminal."""
LATE_SECONDS = 5.0
"""How long the end of the worker waits for those that took longer."""


def standard_providers() -> list[Provider]:
    """Return every provider there is, whether it can work here or not."""
    containers = [ContainerProvider(kind) for kind in (DOCKER, PODMAN)]
    return [LocalProvider(), *containers, SshProvider(), PodProvider()]


class Places:
    """Opens terminals wherever *providers* can."""

    def __init__(
        self, worker: str, runtime: Path, providers: Sequence[Provider] = ()
    ) -> None:
        """Work for *worker*; *runtime* is a private folder for its files."""
        self._worker = worker
        self._runtime = runtime
        self._providers = {one.name: one for one in providers or standard_providers()}
        self._late: set[asyncio.Task[None]] = set()  # each ends by its own deadlines

    def usable(self) -> list[str]:
        """Return the names of those that can work here."""
        return sorted(one.name for one in self._providers.values() if one.is_usable())

    async def open(self, request: Spawn) -> Process:
        """
        Open the terminal that is asked for.

        Raises:
            DeniedError: With one sentence that says why it is not open.
        """
        name, _, place = request.target.partition(":")
        provider = self._providers.get(name)
        if provider is None:
            raise DeniedError(
                "no-provider",
                f'No provider "{name}" on worker {self._worker}. '
                f"Here: {told(name, self.usable())}.",
            )
        opening = Opening(
            terminal=request.terminal,
            worker=self._worker,
            place=place,
            command=request.command,
            cwd=request.cwd,
            cols=request.cols,
            rows=request.rows,
            runtime=self._runtime,
        )
        task = asyncio.create_task(provider.open(opening))
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                return await asyncio.shield(task)
        except TimeoutError:
            self._abandon(task)
            raise DeniedError(
                "no-answer",
                f'"{request.target}" did not open within {OPEN_SECONDS:g} s.',
            ) from None
        except asyncio.CancelledError:
            self._abandon(task)
            raise

    def _abandon(self, opening: asyncio.Task[Process]) -> None:
        # What has begun elsewhere goes on whether we wait for it or not.
        task = asyncio.create_task(_close_late(opening))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def close(self) -> None:
        """Let go of what the providers keep between openings."""
        if self._late:
            _, late = await asyncio.wait(self._late, timeout=LATE_SECONDS)
            for task in late:
                task.cancel()
            if late:  # so that the providers know what these have begun
                await asyncio.wait(late, timeout=LATE_SECONDS)
        for provider in self._providers.values():
            await provider.close()


async def _close_late(opening: asyncio.Task[Process]) -> None:
    """Close what is opened after nobody waits for it any more."""
    with suppress(DeniedError):
        process = await opening
        process.start(lambda _output: None, lambda _exit: None)
        await process.close()
