"""
Addresses of PartyServer deployments that this server takes over, as rooms of ours.

``WS /api/workers/{worker_id}/terminal[?sandboxId=name]`` is the terminal room,
``WS /api/ops/broadcast`` is ``ops/main``. The path is rewritten before the request is
judged, so both are judged as the rooms they are.
"""

from urllib.parse import quote

from vibehq_server.api.ops import BroadcastHandler
from vibehq_server.socket_handler import RoomSocket


class WorkerTerminalSocket(RoomSocket):
    """``/api/workers/{worker_id}/terminal``."""

    async def prepare(self) -> None:
        """Judge the request as one to the terminal's room."""
        base = self.context.base_path
        worker = self.request.path.removeprefix(f"{base}/api/workers/").split("/")[0]
        sandbox = self.get_query_argument("sandboxId", "", strip=False)
        name = f"{worker}:{quote(sandbox, safe='')}" if sandbox else worker
        self.request.path = f"{base}/parties/terminal/{name}"
        await super().prepare()


class OpsBroadcastSocket(BroadcastHandler, RoomSocket):
    """``/api/ops/broadcast``: a socket by GET, an event by POST."""

    async def prepare(self) -> None:
        """Judge a GET as one to the ops room."""
        if self.request.method == "GET":
            self.request.path = f"{self.context.base_path}/parties/ops/main"
        await super().prepare()

    def ticket_room(self) -> None:
        """Take no ticket: those are for the rooms' own addresses."""
