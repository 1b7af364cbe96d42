"""The room of one worker: its control socket, and the requests it is sent."""

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.ids import RoomKey, is_room_name, worker_of
from vibehq_nb.core.messages import (
    PROTOCOL,
    Close,
    Done,
    Emit,
    Failed,
    Message,
    ScanFailed,
    ScanProgress,
    WorkerHello,
    WorkerScanResult,
)
from vibehq_nb.core.roles import Role
from vibehq_server.connection import Connection, ConnectRequest
from vibehq_server.directory import WorkerInfo
from vibehq_server.replicated import ReplicatedRoom

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0
MAX_REQUESTS = 256
MAX_TERMINALS = 256
MAX_REASON = 4096
"""Characters of a worker's refusal that are passed on."""


class WorkerRoom(ReplicatedRoom):
    """Control of one worker; the truth is the worker's."""

    is_logged: ClassVar[bool] = False
    stays: ClassVar[bool] = True

    def __init__(self, key: RoomKey, hub: "Hub") -> None:
        """Wait for the worker."""
        super().__init__(key, hub)
        self._link: Connection | None = None
        self._generation = 0
        self._requests: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def on_stop(self) -> None:
        """Leave nobody waiting."""
        self._fail_requests("The server stops.")

    @property
    def is_online(self) -> bool:
        """Whether the worker is there."""
        return self._link is not None

    async def request(self, message: Message) -> dict[str, Any]:
        """
        Send the worker a request and return its result.

        Not to be awaited inside a hook of this room.

        Raises:
            DeniedError: What the worker answered, ``no-worker`` while it is away, or
                ``timeout`` after 10 s.
        """
        if self._link is None:
            raise DeniedError("no-worker", f"Worker {self.name} is not connected.")
        if len(self._requests) >= MAX_REQUESTS:
            raise DeniedError("busy", f"Worker {self.name} has too much to answer.")
        request_id = secrets.token_hex(8)
        answer: asyncio.Future[dict[str, Any]]
        answer = asyncio.get_running_loop().create_future()
        self._requests[request_id] = answer
        self._link.send_message(msgspec.structs.replace(message, id=request_id))
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await answer
        except TimeoutError:
            text = f"Worker {self.name} did not answer in {REQUEST_SECONDS:.0f} s."
            raise DeniedError("timeout", text) from None
        finally:
            self._requests.pop(request_id, None)

    def _fail_requests(self, reason: str) -> None:
        for answer in self._requests.values():
            if not answer.done():
                answer.set_exception(DeniedError("no-worker", reason))

    async def on_connect(self, connection: Connection, request: ConnectRequest) -> None:
        """Wait for the hello."""
        self.connections.add(connection)
        connection.send_message(self.connected(connection, "fresh", ""))

    async def on_close(
        self, connection: Connection, code: int, reason: str, was_clean: bool
    ) -> None:
        """Note that the worker is away; its terminals may well run on."""
        if connection is self._link:
            self._link = None
            self.hub.directory.set_online(self.name, online=False)
            self._fail_requests(f"Worker {self.name} went away.")

    async def receive(self, connection: Connection, message: Message) -> int | None:
        """Act on one message of the worker."""
        if isinstance(message, WorkerHello):
            await self._greet(connection, message)
        elif connection is self._link:
            await self._from_worker(message)
        return None

    async def _greet(self, connection: Connection, hello: WorkerHello) -> None:
        if hello.protocol != PROTOCOL:
            connection.close(Close.PROTOCOL, "upgrade vibehq-nb on this worker")
            return
        if self._link is not None and hello.generation < self._generation:
            connection.close(Close.REPLACED, "a newer worker has this name")
            return
        if self._link is not None and self._link is not connection:
            self._link.close(Close.REPLACED, "a newer worker has this name")
        is_another = self._generation not in (0, hello.generation)
        self._link, self._generation = connection, hello.generation
        self.hub.directory.add_worker(
            WorkerInfo(
                id=self.name,
                host=hello.host,
                version=hello.version,
                online=True,
                generation=hello.generation,
                providers=hello.providers,
            )
        )
        for terminal in hello.terminals[:MAX_TERMINALS]:
            if is_room_name(terminal) and worker_of(terminal) == self.name:
                self.hub.directory.update_terminal(terminal, self.name)
        await self._bury(hello)
        if is_another:
            ops = await self._ops()
            await ops.run(ops.worker_gone, self.name)

    async def _bury(self, hello: WorkerHello) -> None:
        """Tell the rooms of terminals that the worker came back without."""
        for room in self.hub.live("terminal"):
            terminal: Any = room
            if worker_of(room.name) == self.name and room.name not in hello.terminals:
                await terminal.run(terminal.bury)

    async def _ops(self) -> Any:
        return await self.hub.room("ops", "main")

    async def _from_worker(self, message: Message) -> None:
        if isinstance(message, Done | Failed):
            self._settle(message)
            return
        ops = await self._ops()
        match message:
            case ScanProgress():
                await ops.run(ops.progress, self.name, message)
            case WorkerScanResult():
                await ops.run(ops.result, self.name, message)
            case ScanFailed():
                await ops.run(ops.failed, self.name, message)
            case Emit(name=name, data=data) if self._link is not None:
                await ops.run(ops.emit, self._link.identity, name, data)

    def _settle(self, message: Done | Failed) -> None:
        answer = self._requests.get(message.id)
        if answer is None or answer.done():
            return
        if isinstance(message, Done):
            answer.set_result(message.result)
        else:
            reason = message.message[:MAX_REASON]
            answer.set_exception(DeniedError(message.code, reason))

    def tick(self) -> None:
        """Say nothing: a worker follows no log, and pings keep its socket alive."""

    @property
    def is_idle(self) -> bool:
        """Whether no worker of this name has ever said hello."""
        return not self.connections and self._generation == 0

    def wants(self, connection: Connection, message: Message) -> bool:
        """Only the worker itself is here."""
        return connection.identity.has(Role.WORKER)
