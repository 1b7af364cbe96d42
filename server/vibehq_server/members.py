"""The open connections of one room, in the order they came."""

from collections.abc import Iterator

from vibehq_server.connection import Connection


class Members:
    """
    A collection of connections; of two with one id, the newer answers to it.

    It outlives a room that hibernates.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._members: dict[Connection, None] = {}

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, connection: object) -> bool:
        return connection in self._members

    def add(self, connection: Connection) -> None:
        """Take *connection* in, after all others; again is a no-op."""
        self._members[connection] = None

    def discard(self, connection: Connection) -> None:
        """Let *connection* go, if it is here."""
        self._members.pop(connection, None)

    def find(self, connection_id: str) -> Connection | None:
        """Return the newest open connection with this id."""
        for connection in reversed(self._members):
            if connection.id == connection_id and connection.is_open:
                return connection
        return None
