"""
A socket to one room that comes back by itself, as partysocket's does.

Delays, ``_pk`` and the query provider are partysocket's; on top come jitter, pings,
and an end: close codes from 4500 on and refused credentials are final.
"""

import asyncio
import contextlib
import logging
import random
import uuid
from collections.abc import Awaitable, Callable
from typing import Protocol, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from vibehq_nb.client.errors import RefusedError
from vibehq_nb.client.http import Server
from vibehq_nb.core.backoff import MIN_DELAY, reconnect_delay

logger = logging.getLogger(__name__)

OPEN_SECONDS = 10.0
PING_SECONDS = 15.0
MIN_UPTIME = 5.0
FINAL_CLOSE = 4500
QUEUE_BYTES = 1024 * 1024
MAX_FRAME_BYTES = 16 * 1024 * 1024

Query = dict[str, str]
QueryProvider = Callable[[], Query | Awaitable[Query]]
T = TypeVar("T")


class Receiver(Protocol):
    """What a socket tells, on its loop, in order."""

    def opened(self, away_seconds: float) -> None:
        """The link is up, after so many seconds without one (0 at first)."""

    def received(self, frame: str | bytes) -> None:
        """A frame came in: text for messages, bytes for terminal output."""

    def lost(self) -> None:
        """The link is down; another try follows."""

    def refused(self, error: RefusedError) -> None:
        """The link is down for good."""


class _Connect(connect):
    """Follows no redirect: a token goes to the address it was given for only."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class PartySocket:
    """
    A socket to ``{party}/{room}`` that reconnects until it is closed or refused.

    Use it as an async context manager; its task ends with the block.

    Attributes:
        connection_id: ``_pk``, the same over all reconnects.
        is_open: Whether frames can be sent now.
    """

    def __init__(
        self,
        server: Server,
        party: str,
        room: str,
        receiver: Receiver,
        *,
        query: QueryProvider | None = None,
        connection_id: str | None = None,
        min_delay: float | None = None,
    ) -> None:
        """
        Prepare the socket; nothing is dialled yet.

        Args:
            server: Where, and with which credential.
            party: The kind of room.
            room: Its name, not encoded.
            receiver: Who is told.
            query: Asked before every try for more query parameters, such as the
                position to resume from.
            connection_id: ``_pk``; random if not given.
            min_delay: Seconds before the first retry; partysocket's if not given.
        """
        self.connection_id = connection_id or str(uuid.uuid4())
        self.is_open = False
        self._server, self._party, self._room = server, party, room
        self._receiver, self._query = receiver, query
        self._min_delay = MIN_DELAY if min_delay is None else min_delay
        self._task: asyncio.Task[None] | None = None
        # Over QUEUE_BYTES a frame is refused: send() tells, nothing is dropped later.
        self._queue: asyncio.Queue[str | bytes] = asyncio.Queue()
        self._queued_bytes = 0
        self._link: ClientConnection | None = None

    async def __aenter__(self) -> Self:
        """Start dialling."""
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close the socket and wait until it is."""
        await self.close()

    async def close(self) -> None:
        """Close the socket for good; safe to repeat."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        # Not awaited itself: its cancellation and the caller's would look the same.
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    def send(self, frame: str | bytes) -> bool:
        """
        Queue *frame* and return True; False if the link is down or the queue full.

        True means handed over, not delivered: what must arrive is acknowledged by
        the room. Nothing is kept for a later link.
        """
        if not self.is_open or self._queued_bytes + len(frame) > QUEUE_BYTES:
            return False
        self._queued_bytes += len(frame)
        self._queue.put_nowait(frame)
        return True

    def reconnect(self) -> None:
        """Drop the link, if there is one; the next try follows at once."""
        if self._link is not None:
            self._link.transport.abort()

    async def _run(self) -> None:
        failures = 0
        clock = asyncio.get_running_loop().time
        lost_at: float | None = None
        while True:
            await asyncio.sleep(
                reconnect_delay(failures, random.random(), self._min_delay)
            )
            try:
                link = await self._dial()
            except RefusedError as error:
                self._receiver.refused(error)
                return
            except (OSError, TimeoutError, WebSocketException, ValueError) as error:
                logger.debug("%s/%s: %s", self._party, self._room, error)
                failures += 1
                continue
            opened_at = clock()
            away = opened_at - lost_at if lost_at is not None else 0.0
            refusal = await self._hold(link, away)
            _stop_if_cancelled()
            lost_at = clock()
            if refusal is not None:
                self._receiver.refused(refusal)
                return
            failures = 1 if lost_at - opened_at >= MIN_UPTIME else failures + 1
            self._receiver.lost()

    async def _dial(self) -> ClientConnection:
        found = self._query() if self._query else {}
        more = found if isinstance(found, dict) else await found
        query = {"_pk": self.connection_id, **more}
        try:
            return await _Connect(
                self._server.socket_url(self._party, self._room, query),
                additional_headers=self._server.headers(),
                compression=None,
                open_timeout=OPEN_SECONDS,
                close_timeout=2.0,
                ping_interval=PING_SECONDS,
                ping_timeout=PING_SECONDS,
                max_size=MAX_FRAME_BYTES,
                proxy=None if self._server.is_loopback else True,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            if status in (401, 403):
                raise RefusedError(
                    status,
                    f"{self._server.url} refused {self._party}/{self._room} "
                    f"({status}): the credentials do not reach it.",
                ) from None
            raise

    async def _hold(self, link: ClientConnection, away: float) -> RefusedError | None:
        """Serve one link until it ends; return why, if that is final."""
        self._link = link
        self._queue = asyncio.Queue()
        self._queued_bytes = 0
        self.is_open = True
        sender = asyncio.create_task(self._send_queued(link))
        try:
            self._tell(self._receiver.opened, away)
            async for frame in link:
                self._tell(self._receiver.received, frame)
            return self._judge(link)
        except ConnectionClosed:
            return self._judge(link)
        finally:
            self.is_open = False
            self._link = None
            sender.cancel()
            try:
                await asyncio.wait([sender])
            finally:
                await link.close()

    def _tell(self, hear: Callable[[T], None], what: T) -> None:
        try:
            hear(what)
        except Exception:
            # A receiver's mistake must not cost the link; the log has the trace.
            logger.exception("%s/%s: a frame was not taken", self._party, self._room)

    def _judge(self, link: ClientConnection) -> RefusedError | None:
        code = link.close_code or 1006
        if code < FINAL_CLOSE:
            return None
        reason = link.close_reason or "it gave no reason"
        return RefusedError(
            code, f"{self._party}/{self._room} closed the socket ({code}): {reason}."
        )

    async def _send_queued(self, link: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = await self._queue.get()
                await link.send(frame)
                self._queued_bytes -= len(frame)


def _stop_if_cancelled() -> None:
    """Raise CancelledError where a cancellation came and was lost in a library."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
