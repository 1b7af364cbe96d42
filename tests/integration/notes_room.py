"""A replicated room of a test's own, and a server of it that can be killed."""

import asyncio
import os
from pathlib import Path

from tests.integration.house import running
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import Emit, Event
from vibehq_server.replicated import ReplicatedRoom
from vibehq_server.room_logs.sqlite import SqliteRoomLog


class NotesRoom(ReplicatedRoom):
    """Keeps the names of events, in order."""

    entries = (Event,)

    def load(self, state):
        self.names = list(state.get("names", []))

    def state(self):
        return {"names": self.names}

    def apply(self, message, at_ms):
        self.names.append(message.name)

    async def receive(self, connection, message):
        assert isinstance(message, Emit)
        if message.name == "no":
            raise DeniedError("refused", "No.")
        note = Event(name=message.name, data=message.data, by="x", at="", offset=0)
        return self.append(note)


PARTIES = {"ops": NotesRoom}

PROGRAM = """
    import sys
    from tests.integration.notes_room import serve_until_killed
    serve_until_killed(sys.argv[1])
"""


def serve_until_killed(path: str) -> None:
    """Serve the rooms logged in the SQLite file *path*; prints the port."""

    async def serve() -> None:
        async with running(PARTIES, SqliteRoomLog(Path(path))) as house:
            os.write(1, house.url.rpartition(":")[2].encode() + b"\n")
            await asyncio.Event().wait()

    asyncio.run(serve())
