"""
One viewer of a terminal: a cursor into the room's ring instead of a copy of it.

What a viewer is owed is only a place in the ring, so a slow one costs no memory. One
that keeps up is sent every byte; one that falls behind a bound while live is caught
up with a keyframe and told the gap.
"""

from dataclasses import dataclass, field
from typing import Literal

from vibehq_nb.core.credit import WINDOW_BYTES, Pace
from vibehq_nb.core.ids import Position
from vibehq_nb.core.log import Resume
from vibehq_nb.core.messages import Resized
from vibehq_nb.core.stream import ByteStream
from vibehq_server.connection import Connection
from vibehq_server.frames import encode_frame

CHUNK_BYTES = 64 * 1024
ON_ITS_WAY_BYTES = 128 * 1024
"""What a viewer that acknowledges may have to parse before a keyframe."""

HIGH_WATER_BYTES = 256 * 1024
"""With more than this queued, a viewer waits for its outbox to drain."""


@dataclass(eq=False, slots=True)
class Viewer:
    """
    How far one connection was served.

    Attributes:
        phase: ``waiting`` for the worker, ``joining`` until a keyframe comes, ``live``.
        cursor: Offset of the next byte to send.
        owed_until: Up to here every byte is owed, however slow the viewer is.
        pace: What it has parsed, as far as it says so.
        is_awaited: Whether the terminal waits for it: then it is owed every byte.
        is_silent: Whether it waits for a keyframe, with no progress since a tick ago.
        position: What the viewer held when it came.
        resume: How it is being joined.
        reason: Why, for ``snapshot`` and ``reset``.
        input_offset: Keystrokes of its session that were passed on.
        held_keys: Typed on a raw connection while the worker was away.
        held_at: When the first of them was.
        recounted_at: The last input frame when they were last counted anew.
        tells_count: Whether it says at which count its keystrokes begin.
        awaits_count: What it types is dropped until it says so: it crosses a new count.
    """

    connection: Connection
    session: str
    phase: Literal["waiting", "joining", "live"] = "waiting"
    cursor: int = 0
    owed_until: int = 0
    pace: Pace = field(default_factory=Pace)
    is_awaited: bool = False
    is_silent: bool = False
    position: Position | None = None
    resume: Resume = "fresh"
    reason: str = ""
    input_offset: int = 0
    recounted_at: int = 0
    tells_count: bool = False
    awaits_count: bool = False
    held_keys: bytes = b""
    held_at: float = 0.0
    size: tuple[int, int] = (0, 0)
    told_exit: bool = False
    _acked_before: int | None = None

    def count_anew(self, taken: int) -> None:
        """Count its keystrokes from *taken* on, which it is to be told."""
        self.input_offset = taken
        self.awaits_count = self.tells_count

    def begin(self, resume: Resume, reason: str) -> None:
        """Note how it is joined, and from where."""
        self.resume, self.reason = resume, reason
        position = self.position if resume in {"resumed", "snapshot"} else None
        self.cursor = 0 if position is None else position.offset

    @property
    def is_blocked(self) -> bool:
        """Whether nothing more may be sent before the viewer has caught up."""
        return self.is_clogged or self.pace.is_behind(self.cursor)

    @property
    def is_clogged(self) -> bool:
        """Whether even a keyframe would only add to what is queued already."""
        return self.connection.outbox.pending > HIGH_WATER_BYTES

    @property
    def takes_keyframe(self) -> bool:
        """
        Whether a keyframe would be seen soon.

        What is on its way before it is parsed first: with more than a little of that,
        each keyframe and what follows it would only queue up in the network. One that
        tells of no progress is not left without, though: it may tell in long strides.
        """
        on_its_way = self.pace.behind(self.cursor)
        is_near = on_its_way <= ON_ITS_WAY_BYTES or self.is_silent
        return is_near and not self.is_clogged

    def tick(self) -> None:
        """Note whether it waits and has told of no progress since the last tick."""
        is_same = self.pace.acked == self._acked_before
        self.is_silent = is_same and self.phase == "joining"
        self._acked_before = self.pace.acked

    def has_lost(self, stream: ByteStream) -> bool:
        """Whether what it should be sent next is no longer kept, or far too much."""
        if self.cursor < stream.oldest:
            return True
        if self.is_awaited:
            return False
        behind = stream.head - max(self.cursor, self.owed_until)
        return self.is_blocked and behind > WINDOW_BYTES


class Chunks:
    """Encodes a stretch of a stream once for all viewers that are sent it."""

    def __init__(self, stream: ByteStream) -> None:
        """Cut frames out of *stream*."""
        self._stream = stream
        self._last: tuple[int, int, bytes] = (-1, -1, b"")

    def advance(self, viewer: Viewer) -> bool:
        """Send *viewer* its next stretch; tell whether there was one."""
        stream = self._stream
        if viewer.cursor > stream.head:
            return False
        size = stream.size_at(viewer.cursor)
        if (size.cols, size.rows) != viewer.size:
            viewer.size = (size.cols, size.rows)
            resized = Resized(cols=size.cols, rows=size.rows, offset=viewer.cursor)
            viewer.connection.send_message(resized)
        end = min(stream.head, viewer.cursor + CHUNK_BYTES)
        change = stream.next_size(viewer.cursor)
        if change is not None:
            end = min(end, change.offset)
        if end == viewer.cursor:
            return False
        viewer.connection.write(self._frame(viewer.cursor, end))
        viewer.cursor = end
        return True

    def _frame(self, start: int, end: int) -> bytes:
        if self._last[:2] != (start, end):
            data = self._stream.since(start, end - start)
            self._last = (start, end, encode_frame(data, binary=True))
        return self._last[2]
