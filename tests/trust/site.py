"""A whole server with a real worker in this process: real shells, real sockets."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import connect

from tests.integration.app_server import App, serving
from tests.integration.house import Peer
from tests.trust.server_process import until
from vibehq_nb.client.http import Server
from vibehq_nb.client.session import TerminalSession
from vibehq_nb.worker.agent import Agent
from vibehq_nb.worker.endpoint import EndpointSource
from vibehq_server.parties import BUILT_IN

WORKER = "vm"
OPERATOR = ("viewer", "operator")


class Site:
    """A running server, its worker ``vm``, and the people who come."""

    def __init__(
        self, app: App, agent: Agent, folder: Path, stack: AsyncExitStack
    ) -> None:
        self.app = app
        self.agent = agent
        self._folder = folder
        self._stack = stack
        self._tokens: dict[tuple[str, Sequence[str]], str] = {}

    async def open(self, *command: str, name: str = "") -> str:
        """Open a terminal that runs *command*; returns its id."""
        asked = {"worker": WORKER, "command": list(command) or None}
        if name:
            asked["name"] = name
        answer = await self.app.send("POST", "/api/terminals", self.app.admin, asked)
        assert answer.status == 201, answer.body
        return str(answer.json()["id"])

    async def python(self, program: str, *arguments: str) -> str:
        """Open a terminal that runs a Python *program*; returns its id."""
        path = self._folder / "program.py"
        path.write_text(program)
        return await self.open("python3", str(path), *arguments)

    async def post(self, path: str, body: Any = None) -> Any:
        """Ask the API of the first terminal, as an administrator."""
        return await self.app.send(
            "POST", f"/api/terminals/{WORKER}/{path}", self.app.admin, body or {}
        )

    async def token(self, user: str, roles: Sequence[str]) -> str:
        """Return a grant of *user*."""
        if (user, roles) not in self._tokens:
            granted = await self.app.grant(user, *roles)
            self._tokens[user, roles] = str(granted["token"])
        return self._tokens[user, roles]

    async def peer(
        self,
        user: str = "ana",
        roles: Sequence[str] = OPERATOR,
        terminal: str = WORKER,
        **query: Any,
    ) -> Peer:
        """Open a socket that keeps every frame."""
        pairs = "&".join(f"{name}={value}" for name, value in query.items())
        token = await self.token(user, roles)
        room = f"terminal/{quote(terminal, safe=':')}"
        url = f"ws://127.0.0.1:{self.app.port}/parties/{room}"
        socket = await self._stack.enter_async_context(
            connect(
                f"{url}?{pairs}",
                additional_headers={"Authorization": f"Bearer {token}"},
                max_size=None,
                max_queue=None,
                compression=None,
            )
        )
        return Peer(socket)

    async def session(
        self,
        user: str = "ana",
        roles: Sequence[str] = OPERATOR,
        terminal: str = WORKER,
    ) -> TerminalSession:
        """Open a client's session whose copy is caught up."""
        server = Server(self.app.origin, await self.token(user, roles))
        session = TerminalSession(server, terminal, min_delay=0.05)
        await self._stack.enter_async_context(session)
        await session.caught_up()
        return session

    async def saw(
        self, text: bytes, terminal: str = WORKER, seconds: float = 30
    ) -> None:
        """Wait until *text* is among the last bytes *terminal* has printed."""
        stream = self.agent.terminals[terminal].stream

        def tail() -> bytes:
            return stream.since(max(stream.oldest, stream.head - 4096))

        await until(lambda: text in tail(), seconds)


@asynccontextmanager
async def running_site(folder: Path, **settings: Any) -> AsyncIterator[Site]:
    """Run server and worker until the block ends."""
    data, runtime = folder / "data", folder / "run"
    runtime.mkdir()
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(serving(data, BUILT_IN, **settings))
        agent = Agent(WORKER, EndpointSource(data), runtime)
        task = asyncio.ensure_future(agent.run())
        try:
            await until(lambda: app.server.context.hub.directory.online())
            async with AsyncExitStack() as people:
                yield Site(app, agent, folder, people)
        finally:
            task.cancel()
            await asyncio.wait([task])
