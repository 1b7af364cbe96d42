"""
Frames on their way to one connection: gathered for a turn of the loop, bounded.

The one module that knows Tornado's stream behind a WebSocket. It uses
``handler.ws_connection`` with its ``is_closing`` and ``stream``, and of the stream
``writing``, ``write_to_fd``, ``write`` and ``close``; a contract test pins them, and
without the stream ``write_message`` serves.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal
from weakref import WeakKeyDictionary

from tornado.websocket import WebSocketClosedError, WebSocketHandler

from vibehq_server.deflate import Deflater
from vibehq_server.frames import FIN_BINARY, payload_of

logger = logging.getLogger(__name__)

SlowPolicy = Literal["close", "skip", "latest"]

OUTBOX_BYTES = 512 * 1024
"""What a connection may owe; a frame that would pass it meets the room's policy."""

GATHER_BYTES = 64 * 1024
"""More than this does not wait for the turn to end, and is not joined in one piece."""

_due: WeakKeyDictionary[asyncio.AbstractEventLoop, list["Outbox"]] = WeakKeyDictionary()


def _flush_all(due: "list[Outbox]") -> None:
    outboxes = due.copy()
    due.clear()
    for outbox in outboxes:
        try:
            outbox.flush()
        except Exception:
            logger.exception("an outbox could not be written")


def _ignore(*_: object) -> None:
    pass


class Outbox:
    """
    The bounded queue to one connection.

    ``write`` never waits. Frames of one turn of the event loop go to the kernel
    together when the turn ends; what the kernel does not take stays queued, in order.

    Attributes:
        pending: Bytes the kernel has not taken yet.
        policy: What happens to a frame that would pass the bound. ``close``: the
            queue is dropped and ``on_full`` called. ``skip``: it and all after it are
            dropped until nothing is queued. ``latest``: so are those queued already,
            and the newest is sent when the rest has gone.
        skipped: Frames dropped since the connection fell behind.
        on_full: Called when the bound is passed under ``close``.
        on_skipped: Called with their number when nothing is queued after frames were
            skipped.
        on_drain: Called when nothing is queued after the kernel had refused some.
    """

    __slots__ = (
        "_due",
        "_frames",
        "_in_flight",
        "_is_due",
        "_is_over",
        "_latest",
        "_limit",
        "_link",
        "_stream",
        "on_drain",
        "on_full",
        "on_skipped",
        "pending",
        "policy",
        "sent_bytes",
        "sent_frames",
        "skipped",
    )

    def __init__(self, handler: WebSocketHandler) -> None:
        """Write to the stream behind *handler*."""
        self._link: Any = handler.ws_connection
        self._stream: Any = getattr(self._link, "stream", None)
        self._due = _due.setdefault(asyncio.get_running_loop(), [])
        self._frames: list[bytes] = []  # bounded by OUTBOX_BYTES: see policy
        self._is_over = False
        self._is_due = False  # whether a flush is on its way
        self._in_flight = 0  # bytes in the stream's own queue
        self._limit = GATHER_BYTES  # below it, write only gathers
        self._latest: Sequence[bytes] = ()
        self.pending = 0
        self.policy: SlowPolicy = "close"
        self.skipped = 0
        self.sent_frames = 0
        self.sent_bytes = 0
        self.on_full: Callable[[], None] = _ignore
        self.on_skipped: Callable[[int], None] = _ignore
        self.on_drain: Callable[[], None] = _ignore

    def write(self, frame: bytes) -> None:
        """Send *frame*, an encoded one; silently dropped when the peer is gone."""
        pending = self.pending + len(frame)
        if pending > self._limit:
            self._write_much((frame,))
            return
        self.pending = pending
        self._frames.append(frame)
        if not self._is_due:
            self._is_due = True
            due = self._due
            if not due:
                asyncio.get_running_loop().call_soon(_flush_all, due)
            due.append(self)

    def write_together(self, frames: Sequence[bytes]) -> None:
        """Send *frames*, all or none: to the bound they are one."""
        self._write_much(frames)

    def has_room(self, size: int, bound: int = OUTBOX_BYTES) -> bool:
        """Tell whether *size* bytes more stay within *bound*, or nothing is queued."""
        if self.pending + size <= bound:
            return True
        self.flush()
        return not self.pending or self.pending + size <= bound

    def _write_much(self, frames: Sequence[bytes]) -> None:
        if self._is_over:
            return
        size = sum(map(len, frames))
        if self._is_behind or not self.has_room(size):
            self._pass_bound(frames)
            return
        self.pending += size
        self._frames.extend(frames)
        self.flush()

    # Slow peers

    @property
    def _is_behind(self) -> bool:
        return self._limit < 0

    def _pass_bound(self, frames: Sequence[bytes]) -> None:
        if self.policy == "close":
            self.drop()
            self.on_full()
            return
        self._limit = -1  # so that every frame comes here
        if self.policy == "skip":
            self.skipped += len(frames)
        else:
            self.drop()
            self._latest = frames

    def drop(self) -> None:
        """Forget what is queued, but for the rest of what is being written."""
        self._frames.clear()
        self.pending = self._in_flight

    def finish(self) -> None:
        """Hand over all that is queued: a close frame comes behind it, and no other."""
        self._limit, self._is_over = -1, True
        self.flush()
        if self._frames and self._stream is not None and not self._stream.closed():
            self._stream.write(b"".join(self._frames))
        self._link = None
        self.drop()

    # To the kernel

    def flush(self) -> None:
        """Hand the kernel what is queued, unless it has refused some already."""
        if self._in_flight:
            return
        self._is_due = False
        link, stream, frames = self._link, self._stream, self._frames
        if link is None or (link.is_closing() if stream is None else stream.closed()):
            self.drop()
            return
        if stream is None:
            self._write_messages(link)
            return
        try:
            while frames:
                # The hot path: one frame, written as it is.
                chunk = frames.pop() if len(frames) == 1 else self._join()
                try:
                    taken = 0 if stream.writing() else stream.write_to_fd(chunk)
                except BlockingIOError:
                    taken = 0
                self.pending -= taken
                self.sent_bytes += len(chunk)
                self.sent_frames += 1
                if taken < len(chunk):
                    rest = memoryview(chunk)[taken:]
                    self._await(stream.write(rest), len(rest))
                    return
        except OSError as error:
            self.drop()
            stream.close(exc_info=error)

    def _join(self) -> bytes:
        """Take the first few frames, in one piece."""
        frames = self._frames
        count = len(frames)
        if self.pending > GATHER_BYTES:
            count = _count_within(frames, GATHER_BYTES)
        chunk = b"".join(frames[:count])
        del frames[:count]
        self.sent_frames += count - 1
        return chunk

    def _write_messages(self, link: Any) -> None:
        frames, self._frames = self._frames, []
        written = None
        try:
            for frame in frames:
                binary = frame[0] == FIN_BINARY
                written = link.write_message(payload_of(frame), binary=binary)
        except WebSocketClosedError:
            self.drop()
            return
        if written is not None:
            self._await(written, self.pending)

    def _await(self, written: Any, size: int) -> None:
        self._in_flight = size
        self._is_due = True
        written.add_done_callback(self._written)

    def _written(self, written: "asyncio.Future[None]") -> None:
        self.pending -= self._in_flight
        self._in_flight = 0
        if written.cancelled() or written.exception() is not None:
            self.drop()  # the peer is gone
            return
        self.flush()
        if not self._in_flight:
            self._drained()

    def _drained(self) -> None:
        if self._is_over:
            return
        self._limit = GATHER_BYTES
        skipped, self.skipped = self.skipped, 0
        latest, self._latest = self._latest, ()
        if latest:
            self._write_much(latest)
        if skipped:
            self.on_skipped(skipped)
        self.on_drain()


class DeflatingOutbox(Outbox):
    """The queue to a connection that agreed to permessage-deflate."""

    __slots__ = ("_deflater",)

    def __init__(self, handler: WebSocketHandler, deflater: Deflater) -> None:
        """Write to the stream behind *handler* what *deflater* makes of a frame."""
        super().__init__(handler)
        self._deflater = deflater

    def write(self, frame: bytes) -> None:
        """Send *frame*, deflated once for all who are sent it."""
        super().write(self._deflater.deflate(frame))

    def write_together(self, frames: Sequence[bytes]) -> None:
        """Send *frames*, all or none, deflated."""
        super().write_together([self._deflater.deflate(frame) for frame in frames])


def _count_within(frames: list[bytes], size: int) -> int:
    """Return how many of the first *frames* fit into *size* bytes, at least one."""
    for count, frame in enumerate(frames):
        size -= len(frame)
        if size < 0:
            return max(1, count)
    return len(frames)
