"""Sockets do not outlive the session or grant they were opened with."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

SWEEP_SECONDS = 2.0
"""A message of an ended one is refused at once; a silent socket is closed by this."""


def close_expired(hub: "Hub") -> int:
    """Close the sockets whose session or grant has ended; return how many."""
    now = hub.clock()
    return hub.close_sessions(lambda identity: identity.has_ended(now))


async def keep_sweeping(hub: "Hub") -> None:
    """Close them every 2 s; ends with its task."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        close_expired(hub)
