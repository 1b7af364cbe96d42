"""``/api/terminals/{id}/commands``: what ran in a terminal."""

from typing import Any

from vibehq_server.api.terminals import OneTerminalHandler
from vibehq_server.room_logs.pages import has_entries
from vibehq_server.rooms.terminal_log import log_key


class TerminalCommandsHandler(OneTerminalHandler):
    """``GET /api/terminals/{id}/commands``."""

    async def get(self, _id: str) -> None:
        """
        Return the last ``?limit=`` commands, newest last.

        Without ``exit_code`` the shell told none: the command runs, or its ``state``
        is ``unknown`` because its shell or worker is gone or away.
        """
        key = self._key(must_be_known=False)
        limit = max(1, self.query_number("limit", 100))
        hub = self.context.hub
        room: Any = hub.find(*key)
        live = None
        if room is not None:
            await room.notes.flush()
            if room.run_state in ("running", "frozen"):
                live = room.position.epoch
        rows: list[dict[str, Any]] = []
        if await has_entries(hub.log, log_key(key.name)):
            log_room = await self.live_room(*log_key(key.name))
            rows = await log_room.run(log_room.board.rows, limit, live, hub.clock())
        self.answer({"commands": rows})
