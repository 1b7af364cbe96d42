"""
One recording while it is made: a cursor into the ring of its terminal's room.

What reaches the room is handed to the writer's thread with its time. Offsets make it
exact: after a restart or a lost link it goes on with the very next byte, and what the
ring no longer has by then is a gap that the recording states. It begins, and goes on
after a gap, with a keyframe.
"""

from collections import deque
from collections.abc import Callable
from typing import Literal

from vibehq_nb.core.messages import TerminalSnapshot
from vibehq_nb.core.recording import (
    Begin,
    End,
    Exit,
    Gap,
    Mark,
    Output,
    Restart,
    Screen,
    Segment,
    Size,
    Summary,
    Title,
)
from vibehq_server.recordings.pen import LOST_MARKS, Pen
from vibehq_server.rooms.uplink import Uplink

CHUNK_BYTES = 64 * 1024
SEEK_BYTES = 4 * 1024 * 1024
"""How much output there is between two places to begin a replay at."""
MARKS_HELD = 1000

Why = Literal["start", "gap"]


class Tape:
    """
    The recording of one terminal that runs.

    Args:
        uplink: The terminal's bytes.
        clock: Seconds since the recording began.
        end: Called with a reason when there is nothing more to record.
        note_segment: Called with the recording's id and a segment that is complete.
    """

    def __init__(
        self,
        uplink: Uplink,
        clock: Callable[[], float],
        end: Callable[[str], None],
        note_segment: Callable[[str, Segment], None],
    ) -> None:
        """Record nothing before :meth:`begin` or :meth:`resume`."""
        self._uplink = uplink
        self._clock = clock
        self._end = end
        self._note_segment = note_segment
        self.pen: Pen | None = None
        self.cursor = 0
        self._asked = 0  # the output when a place to seek to was last asked for
        self._is_sought = False
        self._size = (0, 0)
        self._needs: Why | None = None
        self._gap_reason = ""
        self._marks: deque[Mark | Title] = deque()  # full: see hold()
        self._has_lost_marks = False

    @property
    def time(self) -> float:
        """Seconds since the recording began."""
        return round(max(self._clock(), 0.0), 6)

    def begin(self, pen: Pen, *, is_whole: bool) -> None:
        """Record with *pen*: from the terminal's first byte on, or from its screen."""
        stream = self._uplink.stream
        self.pen = pen
        self._size = (pen.begin.cols, pen.begin.rows)
        if is_whole and stream.oldest == 0:
            self.pull()
            return
        self.cursor = stream.head
        self._need("start")

    def resume(self, pen: Pen, summary: Summary) -> None:
        """Go on, after a restart of the server, with what *summary* tells."""
        self.pen = pen
        self._size = (summary.cols, summary.rows)
        if summary.cursor is None:
            self.cursor = pen.begin.offset
            self._need("start")
        else:
            self.cursor = self._asked = summary.cursor
        pen.put(Restart(time=self.time, offset=self.cursor))
        self.pull()

    def abandon(self, pen: Pen, summary: Summary) -> None:
        """Only end what *summary* tells of: the terminal it recorded is gone."""
        self.pen, self.cursor = pen, summary.cursor or pen.begin.offset

    def finish(self, reason: str) -> Begin:
        """End the recording; what was not handed over by now is a gap in it."""
        assert self.pen is not None
        pen, self.pen = self.pen, None
        head = self._uplink.stream.head
        if pen.begin.epoch == self._uplink.epoch and self.cursor < head:
            late = "the disk was too slow"
            gap = Gap(time=self.time, offset=self.cursor, to=head, reason=late)
            pen.put(gap)
            self.cursor = head
        for mark in self._marks:
            pen.put(mark)
        self._marks.clear()
        self._put_lost_marks(pen)
        pen.put(End(time=self.time, offset=self.cursor, reason=reason))
        return pen.begin

    # Keyframes

    def ask_again(self) -> None:
        """Ask a worker that is back for the keyframe that is still due."""
        if self._needs:
            self._uplink.ask_keyframe()

    def _need(self, why: Why, reason: str = "") -> None:
        self._needs, self._gap_reason = why, reason
        self._uplink.ask_keyframe()

    def paint(self, snapshot: TerminalSnapshot, content: bytes) -> None:
        """Take a keyframe: to go on from, or to make a place that can be sought."""
        if self.pen is None:
            return
        if not self._needs:
            if self._is_sought:
                self._is_sought = False
                self._put_screen(self.pen, snapshot, content, "seek")
            return
        if self._needs == "gap":
            if snapshot.offset < self.cursor:
                self._uplink.ask_keyframe()
                return
            self._put_gap(self.pen, snapshot.offset)
        why, self._needs = self._needs, None
        self.cursor = self._asked = snapshot.offset
        self._size = (snapshot.cols, snapshot.rows)
        self._put_screen(self.pen, snapshot, content, why)
        self.pull()

    def _put_gap(self, pen: Pen, to: int) -> None:
        gap = Gap(time=self.time, offset=self.cursor, to=to, reason=self._gap_reason)
        pen.put(gap)

    def _put_screen(
        self,
        pen: Pen,
        snapshot: TerminalSnapshot,
        content: bytes,
        reason: Literal["start", "gap", "seek"],
    ) -> None:
        screen = Screen(
            time=self.time,
            offset=snapshot.offset,
            size=len(content),
            cols=snapshot.cols,
            rows=snapshot.rows,
            reason=reason,
        )
        pen.put(screen, content)

    # Output

    def hold(self, record: Mark | Title) -> None:
        """
        Record a mark or a title when the output before it is.

        With 1,000 that wait for the disk, further ones are left out; that is recorded.
        """
        if len(self._marks) >= MARKS_HELD:
            self._has_lost_marks = True
            return
        self._marks.append(record)
        self.pull()

    def pull(self) -> None:
        """Hand over what the ring has beyond the cursor, as far as there is room."""
        while (pen := self.pen) is not None and not self._needs and not pen.is_full:
            if self._uplink.is_fetching and self.cursor < self._uplink.stream.oldest:
                break  # older bytes are on their way
            if self.cursor < self._uplink.stream.oldest:
                self._need("gap", "the disk was too slow or the link too long away")
            elif not self._put_next(pen):
                break

    def _put_next(self, pen: Pen) -> bool:
        """Hand over what is next; False where there is nothing."""
        stream = self._uplink.stream
        if self.cursor > stream.head:
            return False  # the link is catching up to where the recording is
        self._put_size(pen)
        if self._marks and self._marks[0].offset <= self.cursor:
            pen.put(self._marks.popleft())
            return True
        end = min(stream.head, self.cursor + CHUNK_BYTES)
        change = stream.next_size(self.cursor)
        if change is not None:
            end = min(end, change.offset)
        if end == self.cursor:
            return self._put_exit(pen)
        data = stream.since(self.cursor, end - self.cursor)
        pen.put(Output(time=self.time, offset=self.cursor, size=len(data)), data)
        self.cursor = end
        if end - self._asked >= SEEK_BYTES:
            self._asked, self._is_sought = end, True
            self._uplink.ask_keyframe()
        return True

    def _put_size(self, pen: Pen) -> None:
        _, cols, rows = self._uplink.stream.size_at(self.cursor)
        if (cols, rows) != self._size:
            self._size = (cols, rows)
            pen.put(Size(time=self.time, offset=self.cursor, cols=cols, rows=rows))
        self._put_lost_marks(pen)

    def _put_lost_marks(self, pen: Pen) -> None:
        if self._has_lost_marks:
            self._has_lost_marks = False
            pen.put(Mark(time=self.time, offset=self.cursor, label=LOST_MARKS))

    def _put_exit(self, pen: Pen) -> bool:
        exited = self._uplink.exited
        if exited is not None and self.cursor >= exited.offset:
            code, signal = exited.code, exited.signal
            pen.put(Exit(time=self.time, offset=self.cursor, code=code, signal=signal))
            self._end("exited")
        return False

    # What the disk tells

    def on_room(self) -> None:
        """Go on: the disk has caught up."""
        self.pull()

    def on_failure(self, reason: str) -> None:
        """Hand over nothing more until :meth:`retry`."""
        if self.pen is not None and self.pen.is_failing:
            self._needs, self._gap_reason = "gap", reason

    def retry(self) -> None:
        """Try again what the disk refused, if it did."""
        pen = self.pen
        if pen is None or not pen.is_failing:
            return
        there = pen.cursor
        self.cursor = self.cursor if there is None else there
        self._size = pen.size  # those after it were refused, too
        if there is not None and self._uplink.stream.holds(there):
            self._put_gap(pen, there)  # of nothing: the ring still has it all
            self._needs = None
            self.pull()
        else:
            self._uplink.ask_keyframe()

    def on_full(self) -> None:
        """End: all recordings take as much as they may."""
        if self.pen is not None:
            self._end("full")

    def on_segment(self, recording_id: str, segment: Segment) -> None:
        """Name a complete segment in the entry log."""
        self._note_segment(recording_id, segment)
