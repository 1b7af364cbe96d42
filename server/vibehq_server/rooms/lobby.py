"""The lobby: which workers, terminals and rooms there are, and who is in them."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from vibehq_nb.core.codec import encode
from vibehq_nb.core.ids import RoomKey, decode_position
from vibehq_nb.core.log import Resume
from vibehq_nb.core.messages import Presence, StateSnapshot
from vibehq_server.connection import Connection, ConnectRequest
from vibehq_server.directory import Present
from vibehq_server.frames import encode_frame
from vibehq_server.identity import Identity
from vibehq_server.notices import note_resume
from vibehq_server.replicated import ReplicatedRoom

PACE_SECONDS = 0.25
"""Changes are told at once, and no more often than this."""


class LobbyRoom(ReplicatedRoom):
    """
    Presence; nothing of it is stored, a change is a new snapshot.

    Each connection is told of the rooms within its reach and of no others. Who comes
    and goes within one pace is told as nothing.
    """

    names: ClassVar[frozenset[str] | None] = frozenset({"main"})
    stays: ClassVar[bool] = True

    async def on_start(self, props: Mapping[str, Any]) -> None:
        """Follow the directory."""
        await super().on_start(props)
        self._told: Present = self.hub.directory.present()
        self._told_at = 0.0
        self._telling: asyncio.TimerHandle | None = None
        self.hub.directory.on_change = self._changed

    async def on_stop(self) -> None:
        """Tell nothing more."""
        self.hub.directory.on_change = lambda: None
        if self._telling is not None:
            self._telling.cancel()
        await super().on_stop()

    async def on_connect(self, connection: Connection, request: ConnectRequest) -> None:
        """Greet with a snapshot, whatever the connection held before."""
        position = decode_position(
            request.query.get("epoch"), request.query.get("offset")
        )
        resume: Resume = "fresh" if position is None else "reset"
        reason = "" if position is None else "not-kept"
        note_resume(self.hub, self.key, connection, resume, reason)
        connection.send_message(self.connected(connection, resume, reason))
        connection.send_message(self._snapshot(connection.identity))
        self.connections.add(connection)

    def _snapshot(self, identity: Identity) -> StateSnapshot:
        state = self.hub.directory.state_for(identity)
        members = [
            member
            for room in state["rooms"]
            if (room["party"], room["room"]) == self.key
            for member in room["watching"]
        ]
        return StateSnapshot(
            epoch=self.log.epoch, offset=0, state={**state, "members": members}
        )

    def _changed(self) -> None:
        # What changes in one turn of the loop is told once.
        if self._telling is None:
            loop = asyncio.get_running_loop()
            due = max(loop.time(), self._told_at + PACE_SECONDS)
            self._telling = loop.call_at(due, self._tell)

    def _tell(self) -> None:
        self._telling = None
        self._told_at = asyncio.get_running_loop().time()
        before, self._told = self._told, self.hub.directory.present()
        changes = [
            (room, encode_frame(encode(presence), binary=False))
            for room, presence in presence_changes(before, self._told)
        ]
        for identity, audience in self._audiences():
            snapshot = encode_frame(encode(self._snapshot(identity)), binary=False)
            frames = [frame for room, frame in changes if identity.allows(room)]
            for connection in audience:
                for frame in (*frames, snapshot):
                    connection.write(frame)

    def _audiences(self) -> Iterator[tuple[Identity, list[Connection]]]:
        """Yield the connections that are told the same, with one identity of them."""
        alike: dict[tuple[str, ...], list[Connection]] = {}
        for connection in self.connections:
            if not connection.is_raw:
                alike.setdefault(connection.identity.rooms, []).append(connection)
        for audience in alike.values():
            yield audience[0].identity, audience


def presence_changes(
    before: Present, after: Present
) -> Iterator[tuple[RoomKey, Presence]]:
    """Yield who joined and who left which room, those who left first."""
    for room, user in sorted(before.keys() - after.keys()):
        yield room, _presence("left", room, user, before[room, user])
    for room, user in sorted(after.keys() - before.keys()):
        yield room, _presence("joined", room, user, after[room, user])


def _presence(
    event: Literal["joined", "left"], room: RoomKey, user: str, roles: list[str]
) -> Presence:
    return Presence(event=event, who=user, roles=roles, room=str(room))
