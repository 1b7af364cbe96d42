"""What runs in front of terminals; where that is not known, something may run."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.providers.port import Foreground
from vibehq_nb.worker.terminal import Terminal

ASK_SECONDS = 3.0
"""How long the place of a terminal may take to tell."""


class Front(NamedTuple):
    """What runs in front of a terminal; *is_known* is false when nobody could tell."""

    terminal: str
    job: Foreground | None
    is_known: bool

    @property
    def is_busy(self) -> bool:
        """Whether it is, or may be, another job than the shell at its prompt."""
        return not self.is_known or (self.job is not None and not self.job.is_shell)


async def front_of(terminal: Terminal) -> Front:
    """Ask what runs in front of *terminal*, for 3 s at most; nothing is raised."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return Front(terminal.id, await terminal.foreground(), is_known=True)
    except (DeniedError, TimeoutError):
        return Front(terminal.id, None, is_known=False)


async def fronts_of(terminals: Iterable[Terminal]) -> list[Front]:
    """Ask of all *terminals* at once."""
    return await asyncio.gather(*map(front_of, terminals))
