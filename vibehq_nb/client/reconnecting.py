"""
A WebSocket that comes back by itself, as partysocket's ReconnectingWebSocket does.

One task dials, serves and dials again; there is no other reconnect loop in the client.
On top of partysocket: jitter, pings, bounded queues, and an end where the server does
not want the socket back.
"""

import asyncio
import random
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Self, Unpack

from vibehq_nb.client.errors import (
    ConnectError,
    GaveUpError,
    QueueFullError,
    SocketError,
)
from vibehq_nb.client.link import (
    NO_CODE,
    CloseEvent,
    Link,
    ReadyState,
    check_close,
    dial,
)
from vibehq_nb.client.owned_tasks import OwnedTasks
from vibehq_nb.client.socket_events import Teller
from vibehq_nb.client.socket_options import (
    Provider,
    Settings,
    SocketOptions,
    asked,
)
from vibehq_nb.client.socket_queues import Frames, Inbox, size_bytes
from vibehq_nb.core.errors import UsageError


class ReconnectingWebSocket:
    """
    A WebSocket to a URL that reconnects until it is closed or refused.

    ``async with ReconnectingWebSocket(url) as socket: async for message in socket: …``
    Everything happens on the event loop it was entered on. Iteration ends with
    ``close()``; it raises RefusedError or GaveUpError where no further try follows.
    """

    def __init__(
        self, url: str | Provider[str], **options: Unpack[SocketOptions]
    ) -> None:
        """
        Prepare the socket; nothing is dialled yet.

        Args:
            url: The address, or its provider, asked before each try.
            **options: See :class:`~vibehq_nb.client.socket_options.Settings`.
        """
        self._url = url
        self._use(Settings(**options))
        self._link: Link | None = None
        self._runner: asyncio.Task[None] | None = None
        self._tasks = OwnedTasks(self._broke)  # the runner, and links that close
        self._is_dialling = False
        self._is_new = not self._settings.start_closed
        self._inbox = Inbox()
        self._queue = Frames()  # send() holds the bound

    def _use(self, settings: Settings) -> None:
        self._settings = settings
        self._teller = Teller(settings)
        self._backoff = settings.backoff()

    async def __aenter__(self) -> Self:
        """Start dialling, unless ``start_closed``; returns at once."""
        if not self._settings.start_closed:
            self.reconnect()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close the socket and wait until it is."""
        self.close()
        await self.wait_closed()

    def __aiter__(self) -> Self:
        """Iterate over the messages; UsageError if ``on_message`` takes them."""
        if self._settings.on_message is not None:
            raise UsageError("on_message takes the messages: nothing is left to read.")
        return self

    async def __anext__(self) -> str | bytes:
        """Return the next message."""
        return await self._inbox.get()

    @property
    def ready_state(self) -> ReadyState:
        """Where it is now; ``CLOSED`` between two tries."""
        if self._link is not None:
            return ReadyState.OPEN if self._link.is_open else ReadyState.CLOSING
        if self._is_dialling or self._is_new:
            return ReadyState.CONNECTING
        return ReadyState.CLOSED

    @property
    def retry_count(self) -> int:
        """How many retries there were since a link held for ``min_uptime``."""
        return self._backoff.retry_count(time.monotonic())

    @property
    def buffered_amount(self) -> int:
        """Bytes that wait to be sent."""
        written = self._link.waiting_bytes if self._link is not None else 0
        return self._queue.size_bytes + written

    @property
    def subprotocol(self) -> str:
        """The subprotocol the server chose for this link; empty if none."""
        return self._link.subprotocol if self._link is not None else ""

    def send(self, message: str | bytes) -> bool:
        """
        Send *message*; True only if it was handed to an open link.

        Otherwise it is queued, and sent in order before the next ``on_open``. What
        ``max_enqueued_bytes`` has no room for is refused: False, and ``on_error`` is
        told a QueueFullError. Handed over is not delivered: what must arrive is
        acknowledged by the room (see ReplicatedPartySocket).
        """
        most = self._settings.max_enqueued_bytes
        if self.buffered_amount + size_bytes(message) > most:
            text = f"A message was not sent: more than {most} bytes would wait."
            self._teller.failed(QueueFullError(text))
            return False
        if self._link is None or not self._link.is_open:
            self._queue.push(message)
            return False
        self._link.write(message)
        return True

    def drain_queued_messages(self) -> list[str | bytes]:
        """Take what is queued off the queue and return it, in order."""
        return self._queue.drain()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """
        Stop; ``on_close`` is told before this returns if there was a link or a try.

        What is queued stays for a ``reconnect()``. Safe to repeat.

        Raises:
            UsageError: If *code* is not 1000 or 3000 to 4999, or *reason* is longer
                than 123 bytes.
        """
        check_close(code, reason)
        self._is_new = False
        self._leave(CloseEvent(code, reason, was_clean=True))
        if self._runner is None:  # on_close may have called reconnect()
            self._end(None)

    def abort(self) -> None:
        """Do as ``close`` does, but without a word to the peer, as a cable breaks."""
        if self._link is not None:
            self._link.abort()
        self.close()

    def reconnect(self, code: int = 1000, reason: str = "") -> None:
        """
        Close the link, if there is one, and dial at once; retries count from 0 again.

        Raises:
            UsageError: As ``close`` does.
        """
        check_close(code, reason)
        self._leave(CloseEvent(code, reason, was_clean=True, will_reconnect=True))
        if self._runner is None:  # on_close may have done the same
            self._backoff.reset()
            self._inbox.begin()
            self._runner = self._tasks.start(self._run())

    async def wait_closed(self) -> None:
        """Wait until nothing of a closed socket runs any more: about two seconds."""
        await self._tasks.wait()

    # What a subclass adds

    def _first_frames(self) -> Iterable[str | bytes]:
        """Return what a new link carries before what is queued."""
        return ()

    def _takes(self, message: str | bytes) -> bool:
        """Note *message*; tell whether it is handed on."""
        return True

    def _end(self, error: Exception | None) -> None:
        """Note that no further try follows."""
        self._inbox.end(error)

    # The one task

    def _broke(self, error: BaseException) -> None:
        self._teller.broke(error)
        self._end(SocketError("The socket broke; the log says where."))

    async def _run(self) -> None:
        me = asyncio.current_task()
        while self._runner is me:
            jitter = random.random() if self._settings.jitter else 0.0
            delay = self._backoff.begin(jitter)
            if delay is None:
                self._give_up()
                return
            self._teller.log("the next try is in %.2f s", delay)
            await asyncio.sleep(delay)
            link = await self._dial()
            if link is not None and self._runner is me:
                await self._hold(link)
            elif link is not None:
                link.abort()  # closed, or dialled anew, while it opened

    async def _dial(self) -> Link | None:
        me, settings = asyncio.current_task(), self._settings
        try:
            url, headers, protocols = await asked(self._url, settings)
        except Exception as error:
            self._teller.log("a provider failed (%s)", type(error).__name__)
            self._teller.failed(error)
            return None
        if self._runner is not me:
            return None
        self._is_new, self._is_dialling = False, True
        try:
            return await dial(url, headers, protocols, settings.connection_timeout)
        except ConnectError as error:
            if self._runner is me:
                lost = CloseEvent(NO_CODE, str(error), status=error.status)
                self._lose(lost, error)
            return None

    async def _hold(self, link: Link) -> None:
        """Serve one link until it ends or is taken away."""
        self._link, self._is_dialling = link, False
        self._backoff.opened(time.monotonic())
        try:
            self._greet(link)
            while self._link is link:
                message = await link.receive()
                if message is None:
                    break
                await self._hand_on(message)
            if self._link is link:
                self._lose(link.close_event, None)
        finally:
            if self._link is link:  # its loop is shut down, or it broke
                self._link = None
                link.abort()

    def _greet(self, link: Link) -> None:
        """Send what waited, then tell; what is sent from then on comes after it."""
        if link.is_open:
            for message in (*self._first_frames(), *self._queue.drain()):
                link.write(message)
        self._teller.opened()

    async def _hand_on(self, message: str | bytes) -> None:
        if not self._takes(message):
            return
        if self._settings.on_message is None:
            await self._inbox.put(message)
        else:
            self._teller.message(message)

    def _lose(self, event: CloseEvent, error: Exception | None) -> None:
        """Decide what follows from a lost link or a failed try, then tell."""
        self._link, self._is_dialling = None, False
        self._backoff.lost(time.monotonic())
        goes_on = self._teller.should_reconnect(event)
        if not goes_on:
            self._runner = None
            error = self._teller.refusal(event)
            self._end(error)
        follows = goes_on and not self._backoff.is_exhausted
        self._teller.closed(replace(event, will_reconnect=follows))
        if error is not None:
            self._teller.failed(error)

    def _give_up(self) -> None:
        self._runner = None
        error = GaveUpError((self._settings.max_retries or 0) + 1)
        self._end(error)
        self._teller.failed(error)

    def _leave(self, event: CloseEvent) -> None:
        """Let go of link and task, then tell, if there was a link or a try."""
        runner, self._runner = self._runner, None
        link, self._link = self._link, None
        was_there = link is not None or self._is_dialling
        self._is_dialling = False
        if runner is not None:
            runner.cancel()
        if link is not None:
            self._tasks.start(link.close(event.code, event.reason))
        if was_there:
            self._teller.closed(event)
