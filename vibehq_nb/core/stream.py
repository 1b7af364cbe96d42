"""
The byte log of a terminal: a ring with absolute offsets and the sizes inside it.

Room and worker keep the same ring, so the same resume serves both hops. Offsets
count bytes since the terminal began; ``oldest`` is how much is no longer kept.
"""

from bisect import bisect_right
from collections import deque
from typing import NamedTuple

from vibehq_nb.core.errors import GapError

RING_BYTES = 8 * 1024 * 1024

MERGED_BYTES = 4096
"""Small writes are kept as chunks of up to this; each alone would cost ten times it."""


class Size(NamedTuple):
    """From *offset* on, output is meant for a screen of this many cells."""

    offset: int
    cols: int
    rows: int


class ByteStream:
    """
    A bounded run of bytes that knows where it stands in an unbounded one.

    Holds the last *capacity* bytes, and the rest of the chunk they begin in.
    ``append`` is O(1), ``since`` is O(log chunks + bytes returned).
    """

    def __init__(
        self, cols: int = 80, rows: int = 24, capacity: int = RING_BYTES, start: int = 0
    ) -> None:
        """Begin at *start* with nothing kept."""
        self.capacity = capacity
        self.oldest = start
        self.head = start
        self._chunks: deque[bytes] = deque()  # over capacity: the oldest are dropped
        self._starts: deque[int] = deque()
        self._sizes = [Size(start, cols, rows)]  # trimmed along with the chunks

    @property
    def size(self) -> Size:
        """The size in force at the head."""
        return self._sizes[-1]

    def append(self, data: bytes) -> int:
        """Add *data* at the head and return the new head."""
        if not data:
            return self.head
        if self._chunks and len(self._chunks[-1]) + len(data) <= MERGED_BYTES:
            self._chunks[-1] += data
        else:
            self._chunks.append(data)
            self._starts.append(self.head)
        self.head += len(data)
        self._trim()
        return self.head

    def _trim(self) -> None:
        if self.head - self.oldest <= self.capacity:
            return
        # To the byte, whatever the chunks: room and worker agree on what is kept.
        self.oldest = self.head - self.capacity
        while self._starts[0] + len(self._chunks[0]) <= self.oldest:
            self._chunks.popleft()
            self._starts.popleft()
        if len(self._chunks[0]) > self.capacity:
            self._chunks[0] = self._chunks[0][self.oldest - self._starts[0] :]
            self._starts[0] = self.oldest
        while len(self._sizes) > 1 and self._sizes[1].offset <= self.oldest:
            del self._sizes[0]

    def resize(self, cols: int, rows: int) -> bool:
        """Set the size from the head on; tell whether that changed anything."""
        last = self._sizes[-1]
        if (last.cols, last.rows) == (cols, rows):
            return False
        if last.offset == self.head:
            self._sizes[-1] = Size(self.head, cols, rows)
        else:
            self._sizes.append(Size(self.head, cols, rows))
            del self._sizes[:-1024]  # a storm of resizes keeps its newest 1,024
        return True

    def holds(self, offset: int) -> bool:
        """Tell whether all that follows *offset* is kept."""
        return self.oldest <= offset <= self.head

    def since(self, offset: int, limit: int | None = None) -> bytes:
        """
        Return the bytes after *offset*, at most *limit* of them.

        Raises:
            GapError: If some of them are no longer kept.
            ValueError: If *offset* lies ahead of the head.
        """
        if offset < self.oldest:
            raise GapError(offset, self.oldest)
        if offset > self.head:
            raise ValueError(f"offset {offset} is ahead of the head {self.head}")
        if offset == self.head or limit == 0:
            return b""
        end = self.head if limit is None else min(self.head, offset + limit)
        index = bisect_right(self._starts, offset) - 1
        parts = []
        at = offset
        while at < end:
            start, chunk = self._starts[index], self._chunks[index]
            parts.append(chunk[at - start : end - start])
            at = start + len(chunk)
            index += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def size_at(self, offset: int) -> Size:
        """Return the size in force at *offset*, as far back as it is kept."""
        index = bisect_right(self._sizes, offset, key=lambda size: size.offset) - 1
        return self._sizes[max(index, 0)]

    def next_size(self, offset: int) -> Size | None:
        """Return the first change of size after *offset*, if any."""
        index = bisect_right(self._sizes, offset, key=lambda size: size.offset)
        return self._sizes[index] if index < len(self._sizes) else None

    def safe_tail(self, limit: int) -> tuple[int, bytes]:
        """
        Return about the last *limit* bytes, cut after a line feed where there is one.

        A cut after a line feed lies outside escape sequences and UTF-8 characters for
        all but hostile output. Returns the offset of the first byte, and the bytes.
        """
        start = max(self.oldest, self.head - limit)
        tail = self.since(start)
        if start == 0:
            return start, tail
        cut = tail.find(b"\n") + 1
        return start + cut, tail[cut:]
