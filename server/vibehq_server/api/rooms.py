"""``GET /api/rooms``: what is live."""

from typing import Any

from vibehq_nb.core.errors import DeniedError
from vibehq_server.api.base import ApiHandler
from vibehq_server.room import Room


class RoomsHandler(ApiHandler):
    """``GET /api/rooms``."""

    def get(self) -> None:
        """List the live rooms within reach."""
        rooms = [
            _shown(room)
            for room in self.context.hub.live()
            if self.identity.allows(room.key)
        ]
        self.answer({"rooms": sorted(rooms, key=lambda r: (r["party"], r["room"]))})


class RoomHandler(ApiHandler):
    """``GET /api/rooms/{party}/{room}``."""

    def get(self, _party: str, _name: str) -> None:
        """Tell one live room and who is in it."""
        party, name = self.raw_after("/api/rooms/")[:2]
        key = self.context.hub.key(party, name)
        self.require_read(key)
        room = self.context.hub.find(*key)
        if room is None:
            raise DeniedError("not-found", "There is no such live room.")
        members: dict[str, list[str]] = {}
        for connection in room.connections:
            who = connection.identity
            members[who.user] = sorted({*members.get(who.user, []), *who.roles})
        self.answer({**_shown(room), "members": members})


def _shown(room: Room) -> dict[str, Any]:
    log = getattr(room, "log", None)
    return {
        "party": room.key.party,
        "room": room.key.name,
        "connections": len(room.connections),
        "epoch": getattr(log, "epoch", None),
        "offset": getattr(log, "head", None),
    }
