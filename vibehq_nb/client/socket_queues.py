"""The two queues of a socket, each with a bound: what goes out, and what came in."""

import asyncio
from collections import deque

INBOX_BYTES = 1024 * 1024

Frame = str | bytes


def size_bytes(frame: Frame) -> int:
    """Return how many bytes *frame* takes on the wire."""
    return len(frame.encode()) if isinstance(frame, str) else len(frame)


class Frames:
    """Frames in order, and how many bytes they are."""

    def __init__(self) -> None:
        """Begin empty; whoever pushes holds the bound."""
        self.size_bytes = 0
        self._frames: deque[Frame] = deque()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._frames)

    def push(self, frame: Frame) -> None:
        """Add *frame* at the end."""
        self._frames.append(frame)
        self.size_bytes += size_bytes(frame)

    def pop(self) -> Frame:
        """Take the first one."""
        frame = self._frames.popleft()
        self.size_bytes -= size_bytes(frame)
        return frame

    def drain(self) -> list[Frame]:
        """Take all."""
        drained = list(self._frames)
        self._frames.clear()
        self.size_bytes = 0
        return drained


class Inbox:
    """
    Frames that came in, for one reader.

    At :data:`INBOX_BYTES` and more ``put`` waits: the link is not read meanwhile, and
    the peer's own bound holds. Nothing is dropped.
    """

    def __init__(self) -> None:
        """Begin empty and open."""
        self._frames = Frames()
        self._error: Exception | None = None
        self._is_over = False
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()

    async def put(self, frame: Frame) -> None:
        """Add *frame*; return when there is room for another one."""
        self._frames.push(frame)
        self._arrived.set()
        while self._frames.size_bytes >= INBOX_BYTES:
            self._taken.clear()
            await self._taken.wait()

    async def get(self) -> Frame:
        """
        Return the next frame, when there is one.

        Raises:
            StopAsyncIteration: When none is left and none will come.
            SocketError: The same, where that is the server's doing.
        """
        while not self._frames:
            if self._is_over:
                raise self._error or StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        self._taken.set()
        return self._frames.pop()

    def begin(self) -> None:
        """Expect more, after an end."""
        self._is_over, self._error = False, None

    def end(self, error: Exception | None) -> None:
        """Expect no more; what is there can still be read."""
        self._is_over, self._error = True, error
        self._arrived.set()
