"""The socket between a worker and its room: requests down, answers and scans up."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection

from vibehq_nb.core.codec import Decoder, encode
from vibehq_nb.core.errors import DecodeError, DeniedError
from vibehq_nb.core.messages import (
    TO_WORKER,
    Cancel,
    CloseTerminal,
    Done,
    Error,
    Failed,
    Freeze,
    Inspect,
    Message,
    Object,
    Scan,
    ScanFailed,
    ScanProgress,
    Signal,
    Spawn,
    StopWorker,
    Thaw,
    WorkerHello,
)
from vibehq_nb.worker.dial import closing_group

logger = logging.getLogger(__name__)

Request = (
    Spawn
    | Inspect
    | Signal
    | CloseTerminal
    | StopWorker
    | Freeze
    | Thaw
    | Scan
    | Cancel
)

DECODER = Decoder(TO_WORKER["worker"])
MAX_REQUESTS = 64
MAX_REPORTS = 64
OUTBOX = 1024
END_BYTES = 1536 * 1024
"""The end of a scan is no longer than this: a server takes no message over 2 MiB."""
TOO_BIG = "Its result is over 1.5 MiB; scan fewer logs or with stricter filters."


class ControlLink:
    """
    Hands requests to *perform*, and sends what it returns.

    The end of a scan is kept until the room's side has answered a ping sent after it,
    and is sent again on the next link otherwise; progress is dropped while no link is
    up.
    """

    def __init__(
        self,
        hello: Callable[[], WorkerHello],
        perform: Callable[[Request], Awaitable[Object]],
    ) -> None:
        """Introduce the worker with *hello* on every link."""
        self._hello = hello
        self._perform = perform
        self._ends: OrderedDict[str, Message] = OrderedDict()  # full: the oldest goes
        self._outbox: asyncio.Queue[Message] | None = None

    def report(self, message: Message) -> None:
        """
        Send what a scan tells, its end in any case.

        An end over 1.5 MiB is told as the failure ``too-big``.
        """
        if not isinstance(message, ScanProgress):
            scan_id = str(getattr(message, "scan_id", ""))
            if len(encode(message)) > END_BYTES:
                message = ScanFailed(scan_id=scan_id, code="too-big", message=TOO_BIG)
            self._ends[scan_id] = message
            while len(self._ends) > MAX_REPORTS:
                self._ends.popitem(last=False)
        self._queue(message)

    def tell(self, message: Message) -> None:
        """Send *message* if there is a link."""
        self._queue(message)

    def _queue(self, message: Message) -> None:
        if self._outbox is None:
            return
        if isinstance(message, ScanProgress) and self._outbox.qsize() > OUTBOX // 2:
            return
        self._outbox.put_nowait(message)

    async def serve(self, connection: ClientConnection) -> None:
        """Talk until the connection ends."""
        outbox: asyncio.Queue[Message] = asyncio.Queue()  # bounded by MAX_REQUESTS
        await connection.send(encode(self._hello()).decode())
        for end in self._ends.values():
            outbox.put_nowait(end)
        self._outbox = outbox
        try:
            async with closing_group() as tasks:
                sending = tasks.create_task(self._send_all(connection, outbox))
                requests = await self._receive_all(connection, tasks)
                sending.cancel()
                for request in requests:
                    request.cancel()
        finally:
            if self._outbox is outbox:
                self._outbox = None

    async def flush(self) -> None:
        """Wait until all that is queued now is sent, or there is no link."""
        if self._outbox is not None:
            await self._outbox.join()

    async def _send_all(
        self, connection: ClientConnection, outbox: asyncio.Queue[Message]
    ) -> None:
        while True:
            message = await outbox.get()
            await connection.send(encode(message).decode())
            outbox.task_done()
            scan_id = str(getattr(message, "scan_id", ""))
            if self._ends.get(scan_id) is message:
                await (await connection.ping())
                self._ends.pop(scan_id, None)

    async def _receive_all(
        self, connection: ClientConnection, tasks: asyncio.TaskGroup
    ) -> set[asyncio.Task[None]]:
        """Start a task for each request; return those not answered at the end."""
        running: set[asyncio.Task[None]] = set()
        slots = asyncio.Semaphore(MAX_REQUESTS)  # none left: the socket is not read
        async for frame in connection:
            request = _decode(frame)
            if request is None:
                continue
            await slots.acquire()
            task = tasks.create_task(self._answer(request))
            running.add(task)
            task.add_done_callback(running.discard)
            task.add_done_callback(lambda _task: slots.release())
        return running

    async def _answer(self, request: Request) -> None:
        answer: Message
        try:
            answer = Done(id=request.id, result=await self._perform(request))
        except DeniedError as error:
            answer = Failed(id=request.id, code=error.code, message=error.reason)
        except Exception:
            logger.exception("%s failed", type(request).__name__)
            text = "The worker failed at it; its log says more."
            answer = Failed(id=request.id, code="internal", message=text)
        self._queue(answer)


def _decode(frame: str | bytes) -> Request | None:
    try:
        message = DECODER.decode(frame)
    except DecodeError as error:
        logger.warning("the server sent what is no request: %s", error.reason)
        return None
    if isinstance(message, Error):
        logger.warning("the server says %s: %s", message.code, message.message)
    return message if isinstance(message, Request) else None
