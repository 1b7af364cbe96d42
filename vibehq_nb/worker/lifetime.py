"""When a worker ends, and when a terminal of it does that nobody uses."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import Object
from vibehq_nb.worker.cull import Culler
from vibehq_nb.worker.fronts import Front, fronts_of

if TYPE_CHECKING:
    from vibehq_nb.worker.agent import Agent

logger = logging.getLogger(__name__)

IDLE_SECONDS = 600.0
CHECK_SECONDS = 5.0


class Lifetime:
    """
    Looks every few seconds whether a worker is still needed.

    Attributes:
        is_told_to_stop: Whether somebody wanted its end.
    """

    def __init__(
        self,
        agent: "Agent",
        idle_seconds: float,
        cull_seconds: float | None,
        clock: Callable[[], float],
    ) -> None:
        """End *agent* after *idle_seconds*, its terminals after *cull_seconds*."""
        self.is_told_to_stop = False
        self._agent = agent
        self._idle_seconds = idle_seconds
        self._culler = Culler(cull_seconds)
        self._clock = clock
        self._stopping = asyncio.Event()

    async def wait(self, dialing: asyncio.Task[None]) -> None:
        """Return when the worker is to end: it is told to, or is of no use."""
        stopping = asyncio.create_task(self._stopping.wait())
        patience = min(CHECK_SECONDS, self._idle_seconds)
        if self._culler.seconds is not None:
            patience = min(patience, self._culler.seconds / 2)
        ends: set[asyncio.Task[None] | asyncio.Task[bool]] = {dialing, stopping}
        linked_at = self._clock()
        try:
            while not (dialing.done() or self._stopping.is_set()):
                await asyncio.wait(
                    ends, timeout=patience, return_when=asyncio.FIRST_COMPLETED
                )
                now = self._clock()
                await self.cull(now)
                if self._agent.is_linked or await self._is_busy():
                    linked_at = now
                if now - linked_at >= self._idle_seconds:
                    logger.info("no server for %g s: leaving", self._idle_seconds)
                    return
        finally:
            stopping.cancel()

    async def _is_busy(self) -> bool:
        fronts = await fronts_of(self._agent.terminals.values())
        return any(front.is_busy for front in fronts)

    async def cull(self, now: float) -> None:
        """Close the terminals that have been idle for too long by *now*."""
        seconds = self._culler.seconds
        if seconds is None:
            return
        for terminal in await self._culler.due(self._agent.terminals.values(), now):
            self._agent.cull(terminal, seconds)

    async def stop(self, is_forced: bool) -> Object:
        """
        Begin to end, and return the terminals that end with it.

        Forced, it asks no terminal what runs there.

        Raises:
            DeniedError: ``still-running``, naming the jobs and the terminals of which
                nothing is known, if it is not forced.
        """
        terminals = self._agent.terminals.values()
        if not is_forced:
            self._refuse_busy(await fronts_of(terminals))
        self.is_told_to_stop = True
        self._stopping.set()
        return {"terminals": [one.id for one in terminals if one.state != "exited"]}

    def _refuse_busy(self, fronts: list[Front]) -> None:
        jobs = [
            f"{front.job.name} in {front.terminal}"
            for front in fronts
            if front.job is not None and front.is_busy
        ]
        if self._agent.is_scanning:
            jobs.append("a scan")
        told = [f"Still running: {', '.join(jobs)}."] if jobs else []
        told += [
            f"{front.terminal}: what runs there is not known."
            for front in fronts
            if not front.is_known
        ]
        if told:
            raise DeniedError("still-running", " ".join(told))
