"""``/api/rooms``: what is live, who is in a room, and the entries of its log."""

from datetime import UTC, datetime
from typing import Any

from vibehq_nb.core.errors import DeniedError, GapError
from vibehq_nb.core.ids import Position, RoomKey
from vibehq_server.api.base import ApiHandler
from vibehq_server.connection import Connection
from vibehq_server.refusals import Refusal
from vibehq_server.replicated import ReplicatedRoom
from vibehq_server.room import Room
from vibehq_server.room_logs.pages import (
    has_entries,
    kept_from,
    last_entries,
    read_page,
)
from vibehq_server.rooms.terminal import TerminalRoom
from vibehq_server.rooms.terminal_log import log_key

LAST_ENTRIES = 5
MAX_LAST = 100
MAX_OFFSET = 2**53 - 1


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


class _OfOneRoom(ApiHandler):
    def key(self) -> RoomKey:
        """
        Return the room the path names.

        Raises:
            DeniedError: If there can be none, or whoever asks may not join it.
        """
        party, name = self.raw_after("/api/rooms/")[:2]
        key = self.context.hub.key(party, name)
        self.require_read(key)
        return key


class RoomHandler(_OfOneRoom):
    """``GET /api/rooms/{party}/{room}``."""

    async def get(self, _party: str, _name: str) -> None:
        """Tell one live room, who is in it, and how far each was served."""
        key = self.key()
        room = self.context.hub.find(*key)
        if room is None:
            raise DeniedError("not-found", "There is no such live room.")
        members: dict[str, list[str]] = {}
        for connection in room.connections:
            who = connection.identity
            members[who.user] = sorted({*members.get(who.user, []), *who.roles})
        open_ones = sorted(room.connections, key=lambda one: (one.since, one.id))
        self.answer(
            {
                **_shown(room),
                "members": members,
                "open": [_opened(room, connection) for connection in open_ones],
                **await self._standing(room),
            }
        )

    async def _standing(self, room: Room) -> dict[str, Any]:
        if isinstance(room, TerminalRoom):
            size = room.position.offset - room.oldest
            return {"oldest": room.oldest, "bytes": size, "last": []}
        if not isinstance(room, ReplicatedRoom) or not room.entries:
            return {"oldest": None, "bytes": None, "last": []}
        log = self.context.hub.log
        last = await last_entries(log, room.key, room.log.head, LAST_ENTRIES)
        return {
            "oldest": await kept_from(log, room.key),
            "bytes": await log.size(room.key),
            "last": [
                {name: entry[name] for name in ("offset", "at", "type", "bytes")}
                for entry in last
            ],
        }


class RoomLogHandler(_OfOneRoom):
    """``GET /api/rooms/{party}/{room}/log``."""

    async def get(self, _party: str, _name: str) -> None:
        """
        Return the stored entries after ``?after=``, at most ``?limit=`` and 1 MiB.

        With ``?last=`` the last so many, up to 100, in their place. Internal entries
        are left out; ``next`` is where to go on. What is no longer kept is answered
        410 with the ``oldest`` offset to go on from.
        """
        key = self.key()
        if key.party == "terminal":
            key = log_key(key.name)
        room = await self._room(key)
        log = self.context.hub.log
        if last := self.query_number("last", 0, MAX_LAST):
            head = room.log.head
            found = await last_entries(log, room.key, head, last)
            page = {"entries": found, "next": head, "is_end": True}
            self.answer({**_shown(room), **page})
            return
        after = self.query_number("after", 0, MAX_OFFSET)
        limit = max(1, self.query_number("limit", 100))
        try:
            page = await read_page(log, room.key, after, limit)
        except GapError as gap:
            text = f"Entries up to {gap.oldest} are no longer kept."
            raise Refusal(410, "gone", text, {"oldest": gap.oldest}) from None
        self.answer({**_shown(room), **page})

    async def _room(self, key: RoomKey) -> ReplicatedRoom:
        hub = self.context.hub
        kind = hub.parties.get(key.party, Room)
        if not issubclass(kind, ReplicatedRoom) or not kind.entries:
            text = "Rooms of this party keep no entries."
            raise DeniedError("conflict", text)
        room = hub.find(*key)
        # To read must not make a room: one that stored nothing is none.
        if room is None and not await has_entries(hub.log, key):
            raise DeniedError("not-found", "There is no such room with a log.")
        room = room or await hub.room(*key)
        assert isinstance(room, ReplicatedRoom)
        return room


def _position(room: Room) -> Position | None:
    match room:
        case TerminalRoom():
            return room.position
        case ReplicatedRoom():
            return Position(room.log.epoch, room.log.head)
    return None


def _served(room: Room, connection: Connection) -> int | None:
    match room:
        case TerminalRoom():
            return room.viewers[connection].cursor if connection in room.viewers else 0
        case ReplicatedRoom():
            return room.served(connection)
    return None


def _shown(room: Room) -> dict[str, Any]:
    position = _position(room)
    return {
        "party": room.key.party,
        "room": room.key.name,
        "connections": len(room.connections),
        "epoch": position.epoch if position else None,
        "offset": position.offset if position else None,
    }


def _opened(room: Room, connection: Connection) -> dict[str, Any]:
    since = datetime.fromtimestamp(connection.since, UTC)
    return {
        "id": connection.id,
        "user": connection.identity.user,
        "kind": connection.identity.kind,
        "roles": sorted(connection.identity.roles),
        "since": since.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "path": connection.request.path,
        "mode": "raw" if connection.is_raw else "messages",
        "served": _served(room, connection),
        "pending_bytes": connection.outbox.pending,
    }
