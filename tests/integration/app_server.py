"""A whole standalone server for tests, and a client that sends what it is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vibehq_server.app import RunningServer, start
from vibehq_server.room import Room
from vibehq_server.rooms.lobby import LobbyRoom
from vibehq_server.rooms.terminal import TerminalRoom
from vibehq_server.rooms.worker import WorkerRoom
from vibehq_server.settings import Settings

SOME_PARTIES: dict[str, type[Room]] = {
    "terminal": TerminalRoom,
    "worker": WorkerRoom,
    "lobby": LobbyRoom,
}
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; headers by lower-case name, Set-Cookie joined by newlines."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def cookie(self) -> str:
        """The first cookie as a browser sends it back."""
        return self.headers["set-cookie"].partition(";")[0]


async def send(
    port: int,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> Answer:
    """Send one request on its own connection; a 101 is answered by hanging up."""
    given = {"Host": f"127.0.0.1:{port}", **(headers or {})}
    content = b""
    if body is not None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given.setdefault("Content-Type", "application/json")
    if content or method in {"POST", "PUT", "PATCH"}:
        given["Content-Length"] = str(len(content))
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in given.items())]
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + content)
            return await _read(reader, method)
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader, method: str) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        known = headers.get(name.lower())
        headers[name.lower()] = f"{known}\n{value}" if known else value
    size = int(headers.get("content-length", "0"))
    body = await reader.readexactly(size) if size and method != "HEAD" else b""
    return Answer(int(first.split()[1]), headers, body)


class App:
    """A running server and the people who use it."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.port = server.port
        self.origin = f"http://127.0.0.1:{server.port}"
        self.admin = {"Authorization": f"Bearer {server.keys.admin}"}
        self.worker = {"Authorization": f"Bearer {server.keys.worker}"}

    async def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Answer:
        return await send(self.port, method, path, headers, body)

    async def sign_in(self) -> dict[str, str]:
        """Use a login link; return the headers of the owner's page."""
        code = self.server.make_login_link().partition("#")[2]
        answer = await self.send("POST", "/login", body={"code": code})
        assert answer.status == 200
        return {"Cookie": answer.cookie, "Origin": self.origin}

    async def ticket(self, headers: Mapping[str, str], room: str, **more: Any) -> str:
        """Mint a ticket for ``party/room``."""
        party, _, name = room.partition("/")
        asked = {"party": party, "room": name, **more}
        answer = await self.send("POST", "/api/tickets", headers, asked)
        assert answer.status == 200, answer.body
        return str(answer.json()["ticket"])

    async def grant(self, user: str, *roles: str, **more: Any) -> dict[str, Any]:
        """Give a grant."""
        asked = {"user": user, "roles": list(roles), **more}
        answer = await self.send("POST", "/api/grants", self.admin, asked)
        assert answer.status == 201, answer.body
        granted: dict[str, Any] = answer.json()
        return granted

    def patterns(self) -> list[str]:
        """Return the live routing table, as patterns."""
        application: Any = self.server._http.request_callback
        return [
            rule.matcher.regex.pattern for rule in application.wildcard_router.rules
        ]


@asynccontextmanager
async def serving(
    data: Path, parties: Mapping[str, type[Room]] | None = None, **settings: Any
) -> AsyncIterator[App]:
    """Run a server on *data* until the block ends."""
    settings.setdefault("port", 0)
    server = await start(Settings(data, **settings), parties or SOME_PARTIES)
    try:
        yield App(server)
    finally:
        await server.stop()
