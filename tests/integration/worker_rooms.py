"""The rooms' side of a worker's sockets: small, real sockets, every frame kept."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from vibehq_nb.worker.agent import Agent
from vibehq_nb.worker.endpoint import EndpointSource

KEY = "worker-key-for-tests"
Json = dict[str, Any]


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Await a condition with a deadline; returns what it returned."""
    async with asyncio.timeout(seconds):
        while not (found := condition()):
            await asyncio.sleep(0.005)
        return found


class TerminalRoom:
    """A replica of one terminal, as a room keeps it; survives its connections."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch = ""
        self.start = 0
        self.output = bytearray()
        self.hellos: list[Json] = []
        self.messages: list[Json] = []
        self.heads: list[int] = []  # where the output was when each of them came
        self.recorded = 0  # what ran is recorded up to here
        self.keyframes: list[tuple[Json, bytes]] = []
        self.acknowledges = True
        self.asks: list[int] = []  # what the next links ask for, instead of the head
        self.closes: list[int | None] = []
        self.input_acks: dict[str, int] = {}
        self.connection: ServerConnection | None = None
        self._due = 0
        self._frame = bytearray()

    @property
    def head(self) -> int:
        return self.start + len(self.output)

    def of(self, kind: str) -> list[Json]:
        return [one for one in self.messages if one["type"] == kind]

    async def talk(self, connection: ServerConnection) -> None:
        hello = json.loads(await connection.recv())
        self.hellos.append(hello)
        if hello["epoch"] != self.epoch:
            self.epoch = hello["epoch"]
            self.start = hello["oldest"]
            self.output.clear()
        elif hello["oldest"] > self.head:
            self.start = hello["oldest"]
            self.output.clear()
        self._due = 0
        offset = self.asks.pop(0) if self.asks else self.head
        recorded = self.recorded
        await self.send(connection, type="since", offset=offset, commands=recorded)
        self.connection = connection
        try:
            async for frame in connection:
                await self._take(connection, frame)
        finally:
            self.closes.append(connection.close_code)
            if self.connection is connection:
                self.connection = None

    async def _take(self, connection: ServerConnection, frame: str | bytes) -> None:
        if isinstance(frame, str):
            message = json.loads(frame)
            self.messages.append(message)
            self.heads.append(self.head)
            if message["type"] == "snapshot":
                self._due, self._frame = message["bytes"], bytearray()
            elif message["type"] == "since":
                self.start = message["offset"]
                self.output.clear()
            elif message["type"] == "input-ack":
                self.input_acks[message["session"]] = message["offset"]
        elif self._due:
            self._frame += frame
            self._due -= len(frame)
            assert self._due >= 0
            if not self._due:
                self.keyframes.append((self.of("snapshot")[-1], bytes(self._frame)))
        else:
            self.output += frame
            if self.acknowledges:
                await self.send(connection, type="ack", offset=self.head)

    async def send(
        self, connection: ServerConnection | None = None, **message: Any
    ) -> None:
        target = connection or self.connection
        assert target is not None
        await target.send(json.dumps(message))

    async def type(
        self, keys: str | bytes, offset: int, session: str = "ana/c", number: int = 0
    ) -> int:
        """Send input as the room does; returns the session's count after it."""
        keys = keys.encode() if isinstance(keys, str) else keys
        assert self.connection is not None
        await self.send(
            type="input-from", session=session, offset=offset, number=number
        )
        await self.connection.send(keys)
        return offset + len(keys)

    async def saw(self, text: bytes, seconds: float = 10.0) -> int:
        """Await *text* in the output; returns where it ends."""
        await until(lambda: text in self.output, seconds)
        return self.start + self.output.index(text) + len(text)

    async def keyframe(self) -> tuple[Json, bytes]:
        count = len(self.keyframes)
        await self.send(type="keyframe")
        await until(lambda: len(self.keyframes) > count)
        return self.keyframes[-1]


class WorkerRooms:
    """A server with the ``worker`` and ``terminal`` parties, on a port of its own."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.terminals: dict[str, TerminalRoom] = {}
        self.hellos: list[Json] = []
        self.reports: list[Json] = []
        self.answers: dict[str, asyncio.Future[Json]] = {}
        self.control: ServerConnection | None = None
        self.accepts_control = True
        self._ids = itertools.count(1)
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/base"

    async def start(self) -> None:
        self._server = await serve(
            self._serve, "127.0.0.1", self.port, compression=None, max_size=2**21
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def die(self) -> None:
        """End as a killed process does: no close frame on any socket."""
        assert self._server is not None
        self._server.close(close_connections=False)
        for connection in list(self._server.connections):
            connection.transport.abort()
        self._server = None

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.headers["Authorization"] == f"Bearer {KEY}"
        path = urlsplit(connection.request.path).path
        _, _, party, name = path.removeprefix("/base").split("/")
        try:
            if party == "worker":
                await self._control(connection)
            else:
                await self.terminal(name).talk(connection)
        except ConnectionClosed:
            pass

    def terminal(self, name: str) -> TerminalRoom:
        return self.terminals.setdefault(name, TerminalRoom(name))

    async def _control(self, connection: ServerConnection) -> None:
        self.hellos.append(json.loads(await connection.recv()))
        self.control = connection
        async for frame in connection:
            message = json.loads(frame)
            if message["type"] in {"done", "failed"}:
                self.answers.pop(message["id"]).set_result(message)
            else:
                self.reports.append(message)

    async def request(self, kind: str, **fields: Any) -> Json:
        await until(lambda: self.control is not None)
        request_id = f"r-{next(self._ids)}"
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self.answers[request_id] = answer
        assert self.control is not None
        await self.control.send(json.dumps({"type": kind, "id": request_id, **fields}))
        async with asyncio.timeout(15):
            return await answer

    async def spawn(self, name: str = "w", **fields: Any) -> TerminalRoom:
        """Open a terminal and await its link."""
        answer = await self.request("spawn", terminal=name, **fields)
        assert answer["type"] == "done", answer
        room = self.terminal(name)
        await until(lambda: room.connection)
        return room


@asynccontextmanager
async def running_agent(
    rooms: WorkerRooms, folder: Path, **options: Any
) -> AsyncIterator[Agent]:
    """A worker in this process, linked to *rooms* by ``endpoint.json``."""
    write_endpoint(rooms, folder)
    agent = Agent("w", EndpointSource(folder), folder / "run", **options)
    (folder / "run").mkdir(exist_ok=True)
    task = asyncio.ensure_future(agent.run())
    try:
        yield agent
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None, task.exception()


def write_endpoint(rooms: WorkerRooms, folder: Path) -> None:
    text = json.dumps({"url": rooms.url, "worker_key": KEY, "pid": 1})
    (folder / "endpoint.json").write_text(text)
