"""Who has paused which container: it goes on when the last of them lets it."""

import asyncio
from collections import defaultdict

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.providers.runtime import Runtime


class Pauses:
    """Counts the terminals that have a container paused."""

    def __init__(self, runtime: Runtime) -> None:
        """Pause containers of *runtime*."""
        self._runtime = runtime
        self._holders: defaultdict[str, set[object]] = defaultdict(set)
        self._lock = asyncio.Lock()

    def holds(self, container: str) -> bool:
        """Tell whether a terminal of ours has *container* paused."""
        return bool(self._holders.get(container))

    async def pause(self, container: str, holder: object) -> None:
        """
        Pause *container* for *holder*.

        Raises:
            DeniedError: ``not-frozen`` if it is not paused then.
        """
        async with self._lock:
            self._holders[container].add(holder)
            if len(self._holders[container]) == 1:
                await self._runtime.call("pause", container)
            if not await self._is_paused(container):
                raise DeniedError("not-frozen", "The container does not pause.")

    async def unpause(self, container: str, holder: object) -> None:
        """
        Let *container* go on for *holder*, when no other holds it.

        Raises:
            DeniedError: ``not-thawed`` if it is paused then.
        """
        async with self._lock:
            holders = self._holders[container]
            if holder not in holders:
                return
            if len(holders) == 1:
                await self._unpause(container)
            holders.discard(holder)
            if not holders:
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
