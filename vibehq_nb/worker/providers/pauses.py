"""Who has frozen which container: it goes on when the last of them lets it."""

import asyncio
from collections import defaultdict

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.providers.runtime import Runtime


class Pauses:
    """
    Counts the terminals that have a container frozen.

    What somebody else has paused stays paused when the last of them lets it.
    """

    def __init__(self, runtime: Runtime) -> None:
        """Pause containers of *runtime*."""
        self._runtime = runtime
        self._holders: defaultdict[str, set[object]] = defaultdict(set)
        self._ours: set[str] = set()  # paused by us, or perhaps: no answer came
        self._lock = asyncio.Lock()

    def holds(self, container: str) -> bool:
        """Tell whether a terminal of ours has *container* frozen."""
        return bool(self._holders.get(container))

    async def pause(self, container: str, holder: object) -> None:
        """
        Pause *container* for *holder*, unless it is paused; that is not undone here.

        Raises:
            DeniedError: ``not-frozen`` if it is not paused then.
        """
        async with self._lock:
            if not await self._is_paused(container):
                await self._pause(container)
            self._holders[container].add(holder)

    async def _pause(self, container: str) -> None:
        self._ours.add(container)
        try:
            await self._runtime.call("pause", container)
        except DeniedError as error:
            if error.code == "refused":
                self._ours.discard(container)
            raise
        if not await self._is_paused(container):
            raise DeniedError("not-frozen", "The container does not pause.")

    async def unpause(self, container: str, holder: object) -> None:
        """
        Let *container* go on for *holder*, when we paused it and no other holds it.

        Raises:
            DeniedError: ``not-thawed`` if it stays paused though we paused it.
        """
        async with self._lock:
            others = self._holders[container] - {holder}
            if not others and container in self._ours:
                await self._unpause(container)
                self._ours.discard(container)
            self._holders[container] = others
            if not others:
                del self._holders[container]

    async def _unpause(self, container: str) -> None:
        if await self._is_paused(container):
            await self._runtime.call("unpause", container)
            if await self._is_paused(container):
                raise DeniedError("not-thawed", "The container stays paused.")

    async def _is_paused(self, container: str) -> bool:
        try:
            seen = await self._runtime.call("inspect_container", container)
        except DeniedError as error:
            if error.code == "not-found":  # it was removed meanwhile
                return False
            raise
        return bool(seen["State"].get("Paused"))
