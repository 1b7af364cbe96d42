"""Sockets do not outlive the session or grant they were opened with."""

import asyncio
from typing import TYPE_CHECKING

from vibehq_server.auth.store import GRANT_ID, SESSION_ID, AuthStore
from vibehq_server.identity import Identity

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

SWEEP_SECONDS = 30.0


def close_expired(hub: "Hub", store: AuthStore) -> int:
    """Close the sockets whose session or grant has ended; return how many."""
    live = store.live_ids()

    def has_ended(identity: Identity) -> bool:
        is_ours = identity.session.startswith((GRANT_ID, SESSION_ID))
        return is_ours and identity.session not in live

    return hub.close_sessions(has_ended)


async def keep_sweeping(hub: "Hub", store: AuthStore) -> None:
    """Close them every 30 s; ends with its task."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        close_expired(hub, store)
