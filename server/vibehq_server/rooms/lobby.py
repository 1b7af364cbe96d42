"""The lobby: which workers and terminals there are, and who is watching."""

from collections.abc import Mapping
from typing import Any, ClassVar

from vibehq_nb.core.messages import Presence, StateSnapshot
from vibehq_server.connection import Connection, ConnectRequest
from vibehq_server.replicated import ReplicatedRoom


class LobbyRoom(ReplicatedRoom):
    """Presence; nothing of it is stored, a change is a new snapshot."""

    names: ClassVar[frozenset[str] | None] = frozenset({"main"})
    stays: ClassVar[bool] = True

    async def on_start(self, props: Mapping[str, Any]) -> None:
        """Follow the directory."""
        await super().on_start(props)
        self._is_due = False
        self.hub.directory.on_change = self._changed

    def _changed(self) -> None:
        # What changes in one turn of the loop is told once.
        if not self._is_due:
            self._is_due = True
            self.hub.spawn(self.run(self._tell), "lobby")

    def _tell(self) -> None:
        self._is_due = False
        self.broadcast_message(
            StateSnapshot(epoch=self.log.epoch, offset=0, state=self.state())
        )

    def state(self) -> dict[str, Any]:
        """Return workers, terminals and members."""
        members = [
            {"user": c.identity.user, "roles": sorted(c.identity.roles)}
            for c in sorted(self.connections, key=lambda c: c.identity.user)
        ]
        return {**self.hub.directory.as_state(), "members": members}

    async def on_connect(self, connection: Connection, request: ConnectRequest) -> None:
        """Greet, and tell the others."""
        await super().on_connect(connection, request)
        self._announce(connection, "joined")

    async def on_close(
        self, connection: Connection, code: int, reason: str, was_clean: bool
    ) -> None:
        """Tell the others."""
        self._announce(connection, "left")

    def _announce(self, connection: Connection, event: Any) -> None:
        self.broadcast_message(
            Presence(
                event=event,
                who=connection.identity.user,
                roles=sorted(connection.identity.roles),
                room=str(self.key),
            )
        )
