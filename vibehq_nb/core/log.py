"""
Entries, their hash chain, retention, and the answer to a resume.

An entry's body is the very text frame its readers are sent, so replay encodes
nothing. Bodies whose ``type`` starts with an underscore are internal: stored and
hashed like the others, never sent.
"""

import hashlib
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Literal

import msgspec

from vibehq_nb.core.errors import GapError
from vibehq_nb.core.ids import Position

Resume = Literal["fresh", "resumed", "snapshot", "reset", "waiting"]

FIRST_HASH = bytes(32)
"""What the first entry of a log is chained to."""

INTERNAL = b'{"type":"_'
"""How the body of an internal entry begins."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """
    One item of a room's log.

    Attributes:
        offset: Its place, dense, the first is 1.
        at: When it was appended, in milliseconds since 1970.
        body: UTF-8 JSON, the frame readers are sent.
        hash: :func:`chain` of the entry before and this one.
    """

    offset: int
    at: int
    body: bytes
    hash: bytes

    @property
    def is_internal(self) -> bool:
        """Whether readers are not sent this entry."""
        return self.body.startswith(INTERNAL)


def chain(previous: bytes, room: str, offset: int, at: int, body: bytes) -> bytes:
    """Return SHA-256 over the previous hash and all of an entry, unambiguously."""
    head = f"vibehq-entry-1\n{room}\n{offset}\n{at}\n{len(body)}\n".encode()
    return hashlib.sha256(b"".join((previous, head, body))).digest()


def first_broken(room: str, entries: Sequence[Entry], previous: bytes) -> int | None:
    """Return the offset of the first entry that does not follow, or None."""
    for entry in entries:
        wanted = chain(previous, room, entry.offset, entry.at, entry.body)
        if wanted != entry.hash:
            return entry.offset
        previous = entry.hash
    return None


def answer(
    position: Position | None, epoch: str, oldest: int, head: int
) -> tuple[Resume, str]:
    """
    Decide how a resume is answered, and why.

    Args:
        position: What the client holds, or None.
        epoch: The log's lifetime.
        oldest: The smallest offset whose successors are all kept.
        head: The offset of the last entry or byte.
    """
    if position is None:
        return "fresh", ""
    if position.epoch != epoch:
        return "reset", "epoch"
    if position.offset > head:
        return "reset", "ahead"
    if position.offset < oldest:
        return "snapshot", "trimmed"
    return "resumed", ""


class EventLog:
    """
    The tail of one room's log that is kept in memory, and its head.

    Bounded by *max_entries* and *max_bytes*; the oldest go first and are then to be
    read from the room log, if it still has them.
    """

    def __init__(
        self,
        room: str,
        epoch: str,
        head: int = 0,
        head_hash: bytes = FIRST_HASH,
        max_entries: int = 10_000,
        max_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        """Go on after *head*."""
        self.room = room
        self.epoch = epoch
        self.head = head
        self.head_hash = head_hash
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: deque[Entry] = deque()  # over a bound: the oldest are dropped

    @property
    def oldest(self) -> int:
        """The smallest offset whose successors are all in memory."""
        return self.head - len(self._entries)

    @property
    def mean_bytes(self) -> float:
        """How long an entry in memory is on average; 0 without any."""
        return self._bytes / len(self._entries) if self._entries else 0.0

    def append(self, body: bytes, at: int) -> Entry:
        """Chain *body* to the head and return its entry."""
        offset = self.head + 1
        entry = Entry(
            offset, at, body, chain(self.head_hash, self.room, offset, at, body)
        )
        self.extend([entry])
        return entry

    def extend(self, entries: list[Entry]) -> None:
        """Take over entries that are chained already, in order."""
        for entry in entries:
            self.head, self.head_hash = entry.offset, entry.hash
            self._entries.append(entry)
            self._bytes += len(entry.body)
        while self._entries and (
            len(self._entries) > self._max_entries or self._bytes > self._max_bytes
        ):
            self._bytes -= len(self._entries.popleft().body)

    def since(self, offset: int, limit: int | None = None) -> list[Entry]:
        """
        Return the entries after *offset*, oldest first, at most *limit* of them.

        Raises:
            GapError: If some of them are not in memory.
        """
        if offset < self.oldest:
            raise GapError(offset, self.oldest)
        skip = len(self._entries) - (self.head - offset)
        end = None if limit is None else skip + limit
        return list(islice(self._entries, skip, end))
