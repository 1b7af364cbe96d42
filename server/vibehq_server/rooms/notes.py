"""Writes what happens in a terminal behind, into the log beside its bytes."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vibehq_nb.core.attribution import Stretch
from vibehq_nb.core.errors import NotStoredError
from vibehq_nb.core.ids import Position
from vibehq_nb.core.messages import Message, NotesLost, Sized, WriterChanged, Wrote
from vibehq_server.room_logs.pages import has_entries
from vibehq_server.rooms.terminal_log import PARTY, log_key
from vibehq_server.rooms.writing import How

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

logger = logging.getLogger(__name__)

MAX_NOTES = 1024
BATCH = 64
RETRY_SECONDS = 1.0
FLUSH_SECONDS = 3.0


class Notes:
    """
    Writes the entries of one terminal behind.

    At most 1,024 wait; beyond that new ones are counted instead, and the count is an
    entry as soon as the log takes one.
    """

    def __init__(
        self, hub: "Hub", terminal: str, where: Callable[[], Position]
    ) -> None:
        """
        Write to the log of *terminal*; a server without such logs keeps none.

        *where* tells the terminal's position.
        """
        self._hub = hub
        self._terminal = terminal
        self._where = where
        self._is_kept = PARTY in hub.parties
        self._waiting: list[Message] = []  # full: new ones are counted in _lost
        self._lost = 0
        self._writing: asyncio.Task[None] | None = None

    def add(self, message: Message) -> None:
        """Store *message* soon; never waits."""
        if not self._is_kept:
            return
        if len(self._waiting) >= MAX_NOTES:
            self._lost += 1
            return
        self._waiting.append(message)
        if self._writing is None or self._writing.done():
            self._writing = self._hub.spawn(self._write(), f"notes {self._terminal}")

    def wrote(self, stretch: Stretch) -> None:
        """Store who typed how much."""
        self.add(
            Wrote(
                offset=0,
                epoch=self._where().epoch,
                at_byte=stretch.at_byte,
                user=stretch.user,
                bytes=stretch.bytes,
                session=stretch.session,
                total=stretch.total,
            )
        )

    def writer_changed(self, user: str | None, lost: str | None, how: How) -> None:
        """Store who has the input lease."""
        epoch, at_byte = self._where()
        self.add(
            WriterChanged(
                offset=0, epoch=epoch, at_byte=at_byte, user=user, lost=lost, how=how
            )
        )

    def sized(self, cols: int, rows: int) -> None:
        """Store the size from here on."""
        epoch, at_byte = self._where()
        self.add(Sized(offset=0, epoch=epoch, at_byte=at_byte, cols=cols, rows=rows))

    async def recall(self) -> dict[str, Any]:
        """
        Return the state that the entries so far add up to; empty without any.

        Raises:
            NotStoredError: If the log cannot be read.
        """
        key = log_key(self._terminal)
        if not self._is_kept or not await has_entries(self._hub.log, key):
            return {}
        room: Any = await self._hub.room(*key)
        state: dict[str, Any] = await room.run(room.state)
        return state

    async def flush(self) -> None:
        """Wait until all is stored, for at most 3 s."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=FLUSH_SECONDS)

    async def _write(self) -> None:
        complained = False
        while self._waiting:
            batch = self._waiting[:BATCH]
            lost, count = [], self._lost
            if count and len(self._waiting) < MAX_NOTES:
                lost = [NotesLost(offset=0, count=count, reason="the log was away")]
            try:
                room: Any = await self._hub.room(*log_key(self._terminal))
                await room.run(room.note_all, [*batch, *lost])
            except NotStoredError:
                if not complained:
                    complained = True
                    logger.warning("%s: its log takes no entries", self._terminal)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            del self._waiting[: len(batch)]
            if lost:
                self._lost -= count
