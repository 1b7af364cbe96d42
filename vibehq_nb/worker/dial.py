"""One link to a room that is dialled again for as long as it is wanted."""

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from vibehq_nb.core.backoff import reconnect_delay
from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.messages import Close
from vibehq_nb.worker.direct import DirectConnection
from vibehq_nb.worker.endpoint import EndpointSource

logger = logging.getLogger(__name__)
_frames_logger = logging.getLogger(f"{__name__}.frames")
_frames_logger.setLevel(logging.INFO)  # at DEBUG, websockets writes the key down

PING_SECONDS = 15.0
FRAME_BYTES = 1024 * 1024
MIN_DELAY = 0.25
MAX_DELAY = 5.0
HELD_SECONDS = 5.0
"""A link that lasted this long begins the next delays anew."""
REFUSED_DELAY = 5.0
"""Seconds to wait after a refusal: the key may be replaced, or the server restarted."""


@asynccontextmanager
async def closing_group() -> AsyncIterator[asyncio.TaskGroup]:
    """
    Yield the task group of one connection.

    Raises:
        ConnectionClosed: If any of its tasks found the connection closed.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except* ConnectionClosed as group:
        closed: BaseException = group
        while isinstance(closed, BaseExceptionGroup):
            closed = closed.exceptions[0]
        raise closed from None


class FencedError(Exception):
    """A newer worker with this id has taken over."""


class Served(Protocol):
    """What talks over a link while it is up."""

    async def serve(self, connection: DirectConnection) -> None:
        """Talk until the connection ends; ConnectionClosed may be raised."""
        ...


class Dialer:
    """Keeps one link to *room* of *party* up, and hands it to *served*."""

    def __init__(
        self, source: EndpointSource, party: str, room: str, served: Served
    ) -> None:
        """Prepare; nothing is dialled before ``run``."""
        self._source = source
        self._party = party
        self._room = room
        self._served = served
        self._name = f"{party}/{room}"
        self._complaint = ""
        self._retry = 0
        self.is_up = False

    async def run(self) -> None:
        """
        Dial, serve and dial again until cancelled.

        Raises:
            FencedError: If a newer worker has taken over (close code 4509).
        """
        while True:
            minimum = await self._attempt()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # A cancel that met the link's own end in a TaskGroup was swallowed.
                raise asyncio.CancelledError
            delay = reconnect_delay(
                self._retry, random.random(), MIN_DELAY, MAX_DELAY, factor=1.5
            )
            await asyncio.sleep(max(delay, minimum))

    async def _attempt(self) -> float:
        """Dial and serve once; return the least seconds to wait before the next."""
        self._retry += 1
        try:
            await self._dial()
        except ConnectionClosed as closed:
            return self._judge(closed)
        except InvalidStatus as refused:
            status = refused.response.status_code
            self._complain(f"the server refused it with status {status}")
            return REFUSED_DELAY if status in {401, 403} else 0.0
        except UsageError as error:
            self._complain(str(error))
        except (OSError, TimeoutError, WebSocketException) as error:
            self._complain(f"the server cannot be reached ({type(error).__name__})")
        except Exception:
            # A mistake on one link must not end the shells of the others.
            logger.exception("%s: the link failed", self._name)
            return REFUSED_DELAY
        return 0.0

    async def _dial(self) -> None:
        endpoint = self._source.read()
        url = endpoint.socket_url(self._party, self._room, secrets.token_hex(8))
        async with connect(
            url,
            additional_headers=endpoint.headers,
            proxy=None if endpoint.is_loopback else True,
            compression=None,
            max_size=FRAME_BYTES,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
            open_timeout=10,
            close_timeout=1,
            logger=_frames_logger,
            create_connection=DirectConnection,
        ) as connection:
            assert isinstance(connection, DirectConnection)
            logger.info("%s: linked", self._name)
            self._complaint = ""
            self.is_up = True
            began = asyncio.get_running_loop().time()
            try:
                await self._served.serve(connection)
            finally:
                self.is_up = False
                if asyncio.get_running_loop().time() - began >= HELD_SECONDS:
                    self._retry = 1

    def _judge(self, closed: ConnectionClosed) -> float:
        code = closed.rcvd.code if closed.rcvd else 1006
        reason = closed.rcvd.reason if closed.rcvd else "the link was lost"
        if code == Close.REPLACED and self._party == "worker":
            raise FencedError
        self._complain(f"closed with {code} {reason}".rstrip())
        return REFUSED_DELAY if code >= 4500 else 0.0

    def _complain(self, complaint: str) -> None:
        # Once for each new reason: a server that is away for a night is one line.
        if complaint != self._complaint:
            self._complaint = complaint
            logger.warning("%s: %s", self._name, complaint)
