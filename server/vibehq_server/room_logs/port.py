"""
The port every keeper of room logs implements: seven methods and a close.

One contract suite holds for all of them. A room is claimed before it appends; the
term that comes back is the fence: an older one cannot append any more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

from vibehq_nb.core.errors import VibeError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import Entry

Term = NewType("Term", int)
"""One ownership of a room; grows with each claim."""


class NotOwnerError(VibeError):
    """Another server owns the room."""

    def __init__(self, address: str) -> None:
        """Name the owner's *address*."""
        super().__init__(f"the room is owned by {address}")
        self.address = address


class FencedError(VibeError):
    """A later claim took the room; nothing was appended."""


@dataclass(frozen=True, slots=True)
class Opened:
    """
    Where a room's log stands.

    Attributes:
        epoch: The log's lifetime, made when the room is first opened.
        head: Offset of the last entry, 0 for none.
        head_hash: Hash of the last entry.
        oldest: The smallest offset whose successors are all kept.
        saved_offset: What the saved state covers, 0 for none.
        saved_state: JSON of the state at *saved_offset*, or None.
    """

    epoch: str
    head: int
    head_hash: bytes
    oldest: int
    saved_offset: int = 0
    saved_state: bytes | None = None


class RoomLog(Protocol):
    """A durable keeper of room logs."""

    async def open(self, room: RoomKey) -> Opened:
        """Return where *room* stands; creates it with a new epoch if need be."""

    async def claim(self, room: RoomKey) -> Term:
        """
        Become the owner of *room*.

        Raises:
            NotOwnerError: If another server owns it.
        """

    async def append(self, room: RoomKey, term: Term, entries: Sequence[Entry]) -> int:
        """
        Store *entries*, all or none, and return the head once they are durable.

        Raises:
            FencedError: If *term* is not the latest claim.
            NotStoredError: If they do not follow the head, or the disk refuses.
        """

    async def read(self, room: RoomKey, after: int, limit: int) -> list[Entry]:
        """
        Return at most *limit* entries after offset *after*, oldest first.

        Raises:
            GapError: If some of them are no longer kept.
        """

    async def size(self, room: RoomKey) -> int:
        """Return how many bytes the entries of *room* that are kept have."""

    def follow(
        self, room: RoomKey, callback: Callable[[Sequence[Entry]], None]
    ) -> Callable[[], None]:
        """
        Call *callback* on the event loop with entries once stored, in order.

        Returns a function that ends it.
        """

    async def save(self, room: RoomKey, offset: int, state: bytes) -> None:
        """Keep *state* as the state at *offset*, in place of what was kept before."""

    async def close(self) -> None:
        """Finish what is queued and let go."""
