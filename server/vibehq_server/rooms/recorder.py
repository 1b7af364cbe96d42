"""
Records one terminal: a cursor into the ring its room keeps, as a viewer has one.

What reaches the room is handed to the writer's thread with its time. Offsets make a
recording exact: after a restart or a lost link it goes on with the very next byte, and
what the ring no longer has by then is a gap that the recording states. It begins, and
goes on after a gap, with a keyframe.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.messages import (
    Message,
    RecordingEnded,
    RecordingSegment,
    RecordingStarted,
    TerminalSnapshot,
)
from vibehq_nb.core.messages import Recording as RecordingMessage
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
    Title,
)
from vibehq_server.recordings.store import RecordingStore, new_id
from vibehq_server.rooms.uplink import Uplink

if TYPE_CHECKING:
    from vibehq_server.hub import Hub
    from vibehq_server.recordings.writer import Pen

logger = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 1024
SEEK_BYTES = 4 * 1024 * 1024
"""How much output there is between two places to begin a replay at."""
ROLL_SECONDS = 24 * 3600
"""Where everything is recorded, a recording is this long at most, to be let go."""
MARKS_HELD = 1000
POLICY = "policy"


class Recorder:
    """
    The recording of one terminal, if it has one now.

    Args:
        key: The terminal's room.
        hub: Its clocks, and the recordings of the server.
        uplink: The terminal's bytes.
        tell: Sends a message to everybody who watches.
        note: Adds a message to the terminal's entry log.
    """

    def __init__(
        self,
        key: RoomKey,
        hub: "Hub",
        uplink: Uplink,
        tell: Callable[[Message], None],
        note: Callable[[Message], object],
    ) -> None:
        """Record nothing yet."""
        self._terminal = key.name
        self._hub = hub
        self._uplink = uplink
        self._tell, self._note = tell, note
        self._pen: Pen | None = None
        self._cursor = 0
        self._painted = 0
        self._size = (0, 0)
        self._started = 0.0
        self._needs: Literal["", "start", "gap"] = ""
        self._gap_reason = ""
        self._marks: deque[Mark | Title] = deque()  # full: see _hold
        self._has_lost_marks = False

    @property
    def _store(self) -> RecordingStore | None:
        return self._hub.recordings

    @property
    def id(self) -> str | None:
        """The recording that runs, or None."""
        return self._pen.begin.id if self._pen else None

    def as_message(self) -> RecordingMessage | None:
        """Return what those who join are told, or None where nothing is recorded."""
        if self._pen is None:
            return None
        begin = self._pen.begin
        return RecordingMessage(is_on=True, id=begin.id, by=begin.by)

    # Begin and end

    def start(self, user: str) -> str:
        """
        Record from now on, for *user*; return the id, also of one that runs already.

        Raises:
            DeniedError: If nothing can be recorded here or now.
        """
        if self._pen is not None:
            return self._pen.begin.id
        store = self._require_store()
        if not self._uplink.is_online:
            raise DeniedError("no-worker", "The worker is away; nothing is recorded.")
        if self._uplink.exited is not None:
            raise DeniedError("exited", "The shell has ended; nothing is recorded.")
        return self._begin(store, user)

    def _require_store(self) -> RecordingStore:
        store = self._store
        if store is None:
            raise DeniedError("conflict", "This server keeps no recordings.")
        if store.is_full:
            text = "Recordings take as much disk as they may. Remove some, or start "
            raise DeniedError("full", f"{text}the server with more --recordings-bytes.")
        return store

    def _begin(
        self, store: RecordingStore, by: str, *, is_whole: bool = False
    ) -> str:
        stream, at = self._uplink.stream, self._hub.clock()
        begin = Begin(
            time=0.0,
            offset=stream.head,
            id=new_id(at),
            terminal=self._terminal,
            epoch=self._uplink.epoch,
            at=at,
            by=by,
            cols=stream.size.cols,
            rows=stream.size.rows,
        )
        self._pen = store.open(begin, self)
        self._started = self._hub.monotonic()
        self._size = (begin.cols, begin.rows)
        self._cursor, self._painted, self._needs = 0, stream.head, ""
        self._marks.clear()
        if not is_whole or stream.oldest > 0:
            self._cursor = stream.head
            self._need("start")  # what came before is only a screen
        started = RecordingStarted(id=begin.id, by=by, at=at, position=stream.head)
        self._note(started)
        self._announce()
        self.pull()
        return begin.id

    def _announce(self, ended: Begin | None = None) -> None:
        if ended is not None:
            self._tell(RecordingMessage(is_on=False, id=ended.id, by=ended.by))
        elif (message := self.as_message()) is not None:
            self._tell(message)

    def stop(self) -> str:
        """
        End the recording and return its id.

        Raises:
            DeniedError: If there is none, or the server records everything.
        """
        if self._pen is None:
            raise DeniedError("not-found", "This terminal is not being recorded.")
        if self._pen.begin.by == POLICY:
            text = "This server records every terminal (--record always)."
            raise DeniedError("forbidden", text)
        ended = self._pen.begin.id
        self.pull()
        self._finish("stopped")
        return ended

    def _finish(self, reason: str) -> None:
        pen, store = self._pen, self._store
        if pen is None or store is None:
            return
        head = self._uplink.stream.head
        if pen.begin.epoch == self._uplink.epoch and self._cursor < head:
            late = "the disk was too slow"
            gap = Gap(time=self._time(), offset=self._cursor, to=head, reason=late)
            pen.put(gap)
        pen.put(End(time=self._time(), offset=self._cursor, reason=reason))
        store.release(pen)
        self._pen = None
        self._note(RecordingEnded(id=pen.begin.id, reason=reason))
        self._announce(pen.begin)

    # What the room tells

    def greet(self) -> None:
        """Go on with what was being recorded, now that the worker is there."""
        if (store := self._store) is None:
            return
        epoch = self._uplink.epoch
        if self._pen is not None and self._pen.begin.epoch != epoch:
            self._finish("interrupted")
        if self._pen is None:
            self._resume(store)
        if self._pen is None:
            self._obey_policy(store)
        elif self._needs:
            self._uplink.ask_keyframe()
        self.pull()

    def _obey_policy(self, store: RecordingStore) -> None:
        if not store.is_always or store.is_full:
            return
        epoch = self._uplink.epoch
        known = store.of(self._terminal)
        is_new = all(one.begin.epoch != epoch for one in known)
        if is_new or self._uplink.exited is None:
            self._begin(store, POLICY, is_whole=is_new)

    def _resume(self, store: RecordingStore) -> None:
        """Go on with the recording that a restart of the server left without an end."""
        found = store.unfinished(self._terminal)
        if found is None:
            return
        summary, begin = found.summary, found.begin
        ago = max(summary.duration, self._hub.clock() - begin.at)
        self._pen = store.resume(found, self)
        self._started = self._hub.monotonic() - ago
        self._cursor = summary.cursor if summary.cursor is not None else begin.offset
        if begin.epoch != self._uplink.epoch:
            self._finish("interrupted")
            return
        self._size = (summary.cols, summary.rows)
        self._needs = ""
        if summary.cursor is None:
            self._need("start")
        self._pen.put(Restart(time=self._time(), offset=self._cursor))
        logger.info("%s: recording %s goes on", self._terminal, begin.id)
        self._announce()

    def paint(self, snapshot: TerminalSnapshot, content: bytes) -> None:
        """Take a keyframe, where one is needed to go on or makes a place to seek to."""
        if self._pen is None:
            return
        if not self._needs:
            if snapshot.offset - self._painted >= SEEK_BYTES:
                self._paint(snapshot, content, "seek")
            return
        needed, reason = self._needs, self._gap_reason
        if needed == "gap":
            if snapshot.offset < self._cursor:
                self._uplink.ask_keyframe()
                return
            gap = Gap(
                time=self._time(),
                offset=self._cursor,
                to=snapshot.offset,
                reason=reason,
            )
            self._pen.put(gap)
        self._needs = ""
        self._cursor = snapshot.offset
        self._size = (snapshot.cols, snapshot.rows)
        self._paint(snapshot, content, needed)
        self.pull()

    def _paint(
        self,
        snapshot: TerminalSnapshot,
        content: bytes,
        reason: Literal["start", "gap", "seek"],
    ) -> None:
        assert self._pen is not None
        self._painted = snapshot.offset
        screen = Screen(
            time=self._time(),
            offset=snapshot.offset,
            size=len(content),
            cols=snapshot.cols,
            rows=snapshot.rows,
            reason=reason,
        )
        self._pen.put(screen, content)

    def mark(
        self,
        offset: int,
        label: str,
        kind: Literal["command", "command-end", "note"] = "note",
        exit_code: int | None = None,
    ) -> None:
        """Mark *offset* of the output as a place to jump to; never waits."""
        mark = Mark(
            time=self._time(),
            offset=offset,
            label=label,
            kind=kind,
            exit_code=exit_code,
        )
        self._hold(mark)

    def title(self, text: str) -> None:
        """Take the terminal's new title."""
        self._hold(
            Title(time=self._time(), offset=self._uplink.stream.head, text=text)
        )

    def _hold(self, record: Mark | Title) -> None:
        if self._pen is None:
            return
        if len(self._marks) >= MARKS_HELD:
            # The disk is far behind: this one is left out, and that is recorded.
            self._has_lost_marks = True
            return
        self._marks.append(record)
        self.pull()

    def tick(self) -> None:
        """Try again what the disk refused; begin anew what has grown too long."""
        pen = self._pen
        if pen is None:
            return
        if pen.is_failing:
            self._retry(pen)
        elif pen.begin.by == POLICY and self._time() > ROLL_SECONDS:
            self._finish("rolled")
            if (store := self._store) is not None and not store.is_full:
                self._begin(store, POLICY)

    # Output

    def pull(self) -> None:
        """Hand over what the ring has beyond the cursor, as far as there is room."""
        while (pen := self._pen) is not None and not self._needs and not pen.is_full:
            stream = self._uplink.stream
            if self._cursor < stream.oldest:
                self._need("gap", "the disk was too slow, or the link too long away")
            elif not self._put_next(pen):
                break

    def _put_next(self, pen: "Pen") -> bool:
        """Hand over what is next; False where there is nothing."""
        stream = self._uplink.stream
        if self._cursor > stream.head:
            return False  # the link is catching up to where the recording is
        self._put_size(pen)
        if self._marks and self._marks[0].offset <= self._cursor:
            pen.put(self._marks.popleft())
            return True
        end = min(stream.head, self._cursor + CHUNK_BYTES)
        change = stream.next_size(self._cursor)
        if change is not None:
            end = min(end, change.offset)
        if end == self._cursor:
            return self._put_exit(pen)
        data = stream.since(self._cursor, end - self._cursor)
        output = Output(time=self._time(), offset=self._cursor, size=len(data))
        pen.put(output, data)
        self._cursor = end
        if self._cursor - self._painted >= SEEK_BYTES:
            self._uplink.ask_keyframe()
        return True

    def _put_size(self, pen: "Pen") -> None:
        size = self._uplink.stream.size_at(self._cursor)
        if (size.cols, size.rows) != self._size:
            self._size = (size.cols, size.rows)
            record = Size(
                time=self._time(), offset=self._cursor, cols=size.cols, rows=size.rows
            )
            pen.put(record)
        if self._has_lost_marks:
            self._has_lost_marks = False
            text = "marks or titles before this are missing"
            pen.put(Mark(time=self._time(), offset=self._cursor, label=text))

    def _put_exit(self, pen: "Pen") -> bool:
        exited = self._uplink.exited
        if exited is None or self._cursor < exited.offset:
            return False
        record = Exit(
            time=self._time(),
            offset=self._cursor,
            code=exited.code,
            signal=exited.signal,
        )
        pen.put(record)
        self._finish("exited")
        return False

    def _need(self, what: Literal["start", "gap"], reason: str = "") -> None:
        self._needs, self._gap_reason = what, reason
        self._uplink.ask_keyframe()

    def _time(self) -> float:
        return round(max(self._hub.monotonic() - self._started, 0.0), 6)

    # What the pen tells

    def on_room(self) -> None:
        """Go on: the disk has caught up."""
        self.pull()

    def on_failure(self, reason: str) -> None:
        """Hand over nothing more until the next tick tries again."""
        if self._pen is not None and self._pen.is_failing:
            self._needs, self._gap_reason = "gap", reason

    def _retry(self, pen: "Pen") -> None:
        there = pen.cursor
        if there is not None and self._uplink.stream.holds(there):
            # Nothing is missing: the ring still has what the disk refused.
            pen.put(Gap(time=self._time(), offset=there, to=there, reason=""))
            self._cursor, self._needs = there, ""
            self.pull()
        elif self._uplink.is_online:
            self._cursor = self._cursor if there is None else there
            self._uplink.ask_keyframe()

    def on_full(self) -> None:
        """End the recording: all of them take as much as they may."""
        self._finish("full")

    def on_segment(self, recording_id: str, segment: Segment) -> None:
        """Name a complete segment in the entry log."""
        self._note(
            RecordingSegment(
                id=recording_id,
                number=segment.number,
                start=segment.start,
                end=segment.end,
                sha256=segment.sha256,
            )
        )
