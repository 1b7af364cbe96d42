"""An event room (ops, hil, lobby) as a stream of messages that survives reconnects."""

import asyncio
from collections.abc import AsyncIterator
from typing import Self

from vibehq_nb.client.errors import RefusedError
from vibehq_nb.client.http import Server
from vibehq_nb.client.replica import EventReplica
from vibehq_nb.client.room_link import RoomLink
from vibehq_nb.core.codec import Decoder
from vibehq_nb.core.errors import DecodeError, VibeError
from vibehq_nb.core.messages import (
    DOWNSTREAM,
    Connected,
    Error,
    Gap,
    Message,
    StateSnapshot,
    Tick,
)

COMMON = (Connected, Gap, StateSnapshot, Tick, Error)
"""What every replicated room says; all that is known of users' own."""

QUEUE_MESSAGES = 10_000
"""Messages kept for a reader that lags; beyond, the room is read anew."""


class EventRoom:
    """
    Follows one event room.

    ``async with EventRoom(server, "ops") as room: async for message in room: …``
    Entries come once each; after a gap a new ``snapshot`` says where things stand.
    """

    def __init__(
        self,
        server: Server,
        party: str,
        room: str = "main",
        min_delay: float | None = None,
    ) -> None:
        """Prepare to follow ``{party}/{room}``."""
        self.replica = EventReplica()
        self._decoder = Decoder(DOWNSTREAM.get(party, COMMON))
        self._messages: asyncio.Queue[Message | VibeError] = asyncio.Queue()
        self._socket = RoomLink(
            server, party, room, self, query=self._position, min_delay=min_delay
        )

    async def __aenter__(self) -> Self:
        """Dial; returns at once."""
        await self._socket.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the socket."""
        await self._socket.close()

    async def __aiter__(self) -> AsyncIterator[Message]:
        """
        Yield what the room says.

        Raises:
            RefusedError: When the server refuses the socket for good.
        """
        while True:
            message = await self._messages.get()
            if isinstance(message, VibeError):
                raise message
            yield message

    def _position(self) -> dict[str, str]:
        position = self.replica.position
        if position is None:
            return {}
        return {"epoch": position.epoch, "offset": str(position.offset)}

    def opened(self, away_seconds: float) -> None:
        """Wait for the room's first frame."""

    def received(self, frame: str | bytes) -> None:
        """Queue what is new in *frame*; ignore what this version does not know."""
        try:
            message = self._decoder.decode(frame)
        except DecodeError:
            return
        if self._messages.qsize() >= QUEUE_MESSAGES:
            self._start_over()
            return
        new = self.replica.receive(message)
        if new is not None:
            self._messages.put_nowait(new)

    def _start_over(self) -> None:
        while not self._messages.empty():
            self._messages.get_nowait()
        self.replica.forget()
        self._socket.reconnect()

    def lost(self) -> None:
        """Keep what is known; the replica resumes."""

    def refused(self, error: RefusedError) -> None:
        """Hand the end to the reader."""
        self._messages.put_nowait(error)
