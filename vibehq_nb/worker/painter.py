"""
The screen's side of a terminal: follows the stream in a thread, gives keyframes.

It reads the terminal's ring as any replica does, so nothing is queued twice. When it
is more than 4 MiB behind, the terminal stops reading until it has caught up.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple, TypeVar

from vibehq_nb.core.screen import TAIL_BYTES, Screen, TailScreen
from vibehq_nb.core.stream import ByteStream

logger = logging.getLogger(__name__)

T = TypeVar("T")

SLICE_BYTES = 128 * 1024
BEHIND_BYTES = 4 * 1024 * 1024
KEYFRAME_SECONDS = 0.05
"""A terminal's keyframes are at least this far apart."""


class Painted(NamedTuple):
    """A keyframe, where in the stream it stands, and for which size."""

    offset: int
    cols: int
    rows: int
    frame: bytes


class Painter:
    """Feeds one terminal's stream to its screen, slice by slice, in *executor*."""

    def __init__(
        self,
        stream: ByteStream,
        screen: Screen,
        executor: Executor,
        on_progress: Callable[[], None],
    ) -> None:
        """Begin at the stream's head. *on_progress* is called after every slice."""
        self._stream = stream
        self._screen = screen
        self._executor = executor
        self._on_progress = on_progress
        self._size = stream.size
        self._wake = asyncio.Event()
        self._waiting: list[asyncio.Future[Painted]] = []
        self._wanted = 0
        self._painted_at = float("-inf")
        self.offset = stream.head
        self.kind = screen.kind
        self.title = ""

    @property
    def behind(self) -> int:
        """How many bytes the screen has not seen yet."""
        return self._stream.head - self.offset

    def wake(self) -> None:
        """Look at the stream again."""
        self._wake.set()

    async def keyframe(self) -> Painted:
        """
        Return a keyframe of at least what the stream holds now.

        Those asked for within 50 ms are the same one.
        """
        self._wanted = self._stream.head
        future: asyncio.Future[Painted] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wake.set()
        return await future

    async def run(self) -> None:
        """Follow the stream until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._catch_up()
        finally:
            for future in self._waiting:
                future.cancel()

    async def _catch_up(self) -> None:
        while self.behind or self._size != self._stream.size:
            await self._feed_slice()
            if self._is_due and self._wait_left() <= 0:
                await self._paint()
        if self._waiting:
            if (wait := self._wait_left()) > 0:
                asyncio.get_running_loop().call_later(wait, self._wake.set)
            else:
                await self._paint()

    @property
    def _is_due(self) -> bool:
        if not self._waiting or self.offset < self._wanted:
            return False
        return self._size == self._stream.size_at(self.offset)

    def _wait_left(self) -> float:
        now = asyncio.get_running_loop().time()
        return self._painted_at + KEYFRAME_SECONDS - now

    async def _feed_slice(self) -> None:
        size = self._stream.size_at(self.offset)
        if size != self._size:
            self._size = size
            await self._call(lambda screen: screen.resize(size.cols, size.rows))
        output = self._next_output()
        if output:
            await self._call(lambda screen: screen.feed(output))
            self.offset += len(output)
            self.title = self._screen.title
        self._on_progress()

    async def _call(self, use: Callable[[Screen], T]) -> T:
        """Use the screen in the thread; one that fails is replaced by a plain tail."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, use, self._screen)
        except Exception:
            if self.kind == "tail":
                raise
            logger.exception("the screen failed: from here on keyframes are tails")
        self._screen = TailScreen(self._size.cols, self._size.rows)
        self.kind = self._screen.kind
        start = max(self._stream.oldest, self.offset - TAIL_BYTES)
        self._screen.feed(self._stream.since(start, self.offset - start))
        return use(self._screen)

    def _next_output(self) -> bytes:
        limit = SLICE_BYTES
        change = self._stream.next_size(self.offset)
        if change is not None:
            limit = min(limit, change.offset - self.offset)
        return self._stream.since(self.offset, limit)

    async def _paint(self) -> None:
        loop = asyncio.get_running_loop()
        self._painted_at = loop.time()
        offset, size = self.offset, self._size
        frame = await self._call(lambda screen: screen.keyframe())
        painted = Painted(offset, size.cols, size.rows, frame)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(painted)
