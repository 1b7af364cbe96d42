"""The audited log of grants: each one made, used to sign in, and revoked."""

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from vibehq_nb.core.messages import Event, Message
from vibehq_server.auth.records import Grant
from vibehq_server.replicated import ReplicatedRoom
from vibehq_server.rooms.ops_board import iso

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

NOTE_SECONDS = 5.0


class GrantsRoom(ReplicatedRoom):
    """Who was given what, by whom, when; never a token. Only admins may read it."""

    names: ClassVar[frozenset[str] | None] = frozenset({"main"})
    entries: ClassVar[tuple[type[Message], ...]] = (Event,)

    def note(self, by: str, name: str, data: dict[str, Any]) -> None:
        """Append one entry; :meth:`run` returns once it is stored."""
        at = iso(self.now)
        self.append(Event(name=name, data=data, by=by, at=at, offset=0))


async def note_grant(hub: "Hub", name: str, by: str, grant: Grant, **more: Any) -> None:
    """
    Store that *by* did *name* to a grant.

    Raises:
        NotStoredError: If the log did not take it.
        TimeoutError: If it did not within 5 s; it may still be stored.
    """
    data = {
        "grant": grant.id,
        "user": grant.user,
        "roles": sorted(grant.roles),
        "rooms": list(grant.rooms),
        "expires_at": grant.expires,
        **more,
    }
    await note(hub, name, by, data)


async def note(hub: "Hub", name: str, by: str, data: dict[str, Any]) -> None:
    """
    Store that *by* did *name*.

    Raises:
        NotStoredError: If the log did not take it.
        TimeoutError: If it did not within 5 s; it may still be stored.
    """
    async with asyncio.timeout(NOTE_SECONDS):
        room: Any = await hub.room("grants", "main")
        await room.run(room.note, by, name, data)
