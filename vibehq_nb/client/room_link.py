"""How the facade uses a PartySocket: a known server, frames for one receiver."""

import asyncio
from typing import Protocol, Self
from urllib.parse import quote, urlsplit

from vibehq_nb.client.errors import RefusedError
from vibehq_nb.client.http import Server
from vibehq_nb.client.link import CloseEvent, ReadyState
from vibehq_nb.client.socket import PartySocket
from vibehq_nb.client.socket_options import Provider
from vibehq_nb.core.backoff import MIN_DELAY
from vibehq_nb.core.party_url import Query

OPEN_SECONDS = 10.0


class Receiver(Protocol):
    """What a link tells, on its loop, in order."""

    def opened(self, away_seconds: float) -> None:
        """The link is up, after so many seconds without one (0 at first)."""

    def received(self, frame: str | bytes) -> None:
        """A frame came in: text for messages, bytes for terminal output."""

    def lost(self) -> None:
        """The link is down; another try follows."""

    def refused(self, error: RefusedError) -> None:
        """The link is down for good."""


class RoomLink:
    """
    A link to ``{party}/{room}`` of *server* that queues nothing while it is down.

    What is typed is held by its ledger, and a position is asked for anew: a frame kept
    from an earlier link would come too late.

    Attributes:
        socket: The socket that does the work.
    """

    def __init__(
        self,
        server: Server,
        party: str,
        room: str,
        receiver: Receiver,
        *,
        query: Provider[Query] | None = None,
        min_delay: float | None = None,
    ) -> None:
        """
        Prepare the link; nothing is dialled yet.

        Args:
            server: Where, and with which credential.
            party: The kind of room.
            room: Its name, not encoded.
            receiver: Who is told.
            query: Asked before every try for more query parameters, such as the
                position to resume from.
            min_delay: Seconds before the first retry; partysocket's if not given.
        """
        parts = urlsplit(server.url)
        self._receiver = receiver
        self._lost_at: float | None = None
        self._is_up = False
        self.socket = PartySocket(
            host=parts.netloc,
            protocol="wss" if parts.scheme == "https" else "ws",
            prefix=f"{parts.path}/parties",
            party=party,
            room=quote(room, safe=":@"),
            query=query,
            headers=server.headers(),
            connection_timeout=OPEN_SECONDS,
            min_reconnection_delay=MIN_DELAY if min_delay is None else min_delay,
            on_open=self._opened,
            on_message=receiver.received,
            on_close=self._closed,
            on_error=self._failed,
        )

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent now."""
        return self.socket.ready_state is ReadyState.OPEN

    async def __aenter__(self) -> Self:
        """Start dialling; returns at once."""
        await self.socket.__aenter__()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close the link and wait until it is."""
        await self.close()

    async def close(self) -> None:
        """Close the link for good; safe to repeat."""
        self.socket.close()
        await self.socket.wait_closed()

    def send(self, frame: str | bytes) -> bool:
        """Send *frame* and return True; False if the link is down or full."""
        return self.is_open and self.socket.send(frame)

    def reconnect(self) -> None:
        """Drop the link, if there is one; the next try follows at once."""
        self.socket.reconnect()

    def abort(self) -> None:
        """Drop the link, as a broken network does, and stay down until reconnect()."""
        self.socket.abort()
        self._receiver.lost()

    def _opened(self) -> None:
        now = asyncio.get_running_loop().time()
        away = now - self._lost_at if self._lost_at is not None else 0.0
        self._is_up = True
        self._receiver.opened(away)

    def _closed(self, event: CloseEvent) -> None:
        if not self._is_up:
            return
        self._is_up = False
        self._lost_at = asyncio.get_running_loop().time()
        if event.will_reconnect:
            self._receiver.lost()

    def _failed(self, error: Exception) -> None:
        if isinstance(error, RefusedError):
            self._receiver.refused(error)
