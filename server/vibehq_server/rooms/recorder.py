"""When a terminal is recorded: on request, by policy, and again after a restart."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.messages import (
    CommandEnded,
    CommandStarted,
    Hello,
    Message,
    RecordingEnded,
    RecordingSegment,
    RecordingStarted,
    TerminalSnapshot,
)
from vibehq_nb.core.messages import Recording as RecordingMessage
from vibehq_nb.core.recording import Begin, Mark, Segment, Title
from vibehq_server.connection import Connection
from vibehq_server.recordings.store import RecordingStore, new_id
from vibehq_server.rooms.tape import Tape
from vibehq_server.rooms.uplink import Uplink

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

logger = logging.getLogger(__name__)

ROLL_SECONDS = 24 * 3600
"""Where everything is recorded, a recording is this long at most, to be let go."""
POLICY = "policy"

Kind = Literal["command", "command-end", "note"]


class Recorder:
    """
    The recording of one terminal, if it has one now; all that is output, no key.

    Args:
        key: The terminal's room.
        hub: Its clocks, and the recordings of the server.
        uplink: The terminal's bytes.
        tell_all: Sends a message to everybody who watches.
        note: Adds a message to the terminal's entry log.
    """

    def __init__(
        self,
        key: RoomKey,
        hub: "Hub",
        uplink: Uplink,
        tell_all: Callable[[Message], None],
        note: Callable[[Message], object],
    ) -> None:
        """Record nothing yet."""
        self._terminal = key.name
        self._hub = hub
        self._uplink = uplink
        self._tell_all, self._note = tell_all, note
        self._tape: Tape | None = None
        uplink.record_keyframe = self._paint

    @property
    def _running(self) -> Begin | None:
        return self._tape.pen.begin if self._tape and self._tape.pen else None

    @property
    def id(self) -> str | None:
        """The recording that runs, or None."""
        return self._running.id if self._running else None

    def tell(self, connection: Connection) -> None:
        """Tell somebody who joined that the terminal is being recorded, if it is."""
        if self._running is not None:
            connection.send_message(_told(self._running, is_on=True))

    # Begin and end

    def start(self, user: str) -> str:
        """
        Record from now on, for *user*; return the id, also of one that runs already.

        Raises:
            DeniedError: If nothing can be recorded here or now.
        """
        if self._running is not None:
            return self._running.id
        store = self._hub.recordings
        if store is None:
            raise DeniedError("conflict", "This server keeps no recordings.")
        if store.is_full:
            text = "Recordings take as much disk as they may (--recordings-bytes)."
            raise DeniedError("conflict", text)
        if not self._uplink.is_online:
            raise DeniedError("no-worker", "The worker is away; nothing is recorded.")
        if self._uplink.exited is not None:
            raise DeniedError("exited", "The shell has ended; nothing is recorded.")
        return self._begin(store, user)

    def _begin(self, store: RecordingStore, by: str, *, is_whole: bool = False) -> str:
        stream, at = self._uplink.stream, self._hub.clock()
        size = stream.size_at(0) if is_whole else stream.size
        begin = Begin(
            time=0.0,
            offset=0 if is_whole and stream.oldest == 0 else stream.head,
            id=new_id(at),
            terminal=self._terminal,
            epoch=self._uplink.epoch,
            at=at,
            by=by,
            cols=size.cols,
            rows=size.rows,
        )
        self._note(
            RecordingStarted(
                offset=0, epoch=begin.epoch, at_byte=begin.offset, id=begin.id, by=by
            )
        )
        self._tell_all(_told(begin, is_on=True))
        tape = self._new_tape(ago=0.0)
        tape.begin(store.open(begin, tape), is_whole=is_whole)
        return begin.id

    def _new_tape(self, ago: float) -> Tape:
        monotonic = self._hub.monotonic
        started = monotonic() - ago
        self._tape = Tape(
            self._uplink,
            lambda: monotonic() - started,
            self._finish,
            self._note_segment,
        )
        return self._tape

    def stop(self) -> str:
        """
        End the recording and return its id.

        Raises:
            DeniedError: If there is none, or the server records everything.
        """
        running, tape = self._running, self._tape
        if running is None or tape is None:
            raise DeniedError("not-found", "This terminal is not being recorded.")
        if running.by == POLICY:
            text = "This server records every terminal (--record always)."
            raise DeniedError("forbidden", text)
        tape.pull()
        self._finish("stopped")
        return running.id

    def _finish(self, reason: str) -> None:
        tape, store = self._tape, self._hub.recordings
        if tape is None or tape.pen is None or store is None:
            return
        begin = tape.finish(reason)
        self._note(
            RecordingEnded(
                offset=0,
                epoch=begin.epoch,
                at_byte=tape.cursor,
                id=begin.id,
                reason=reason,
            )
        )
        self._tell_all(_told(begin, is_on=False))

    # What the room tells

    def needed(self, hello: Hello) -> int | None:
        """Return the offset from which a recording goes on, if the worker has it."""
        store = self._hub.recordings
        wanted = None if store is None else self._wanted(store, hello.epoch)
        is_there = wanted is not None and hello.oldest <= wanted <= hello.offset
        return wanted if is_there else None

    def _wanted(self, store: RecordingStore, epoch: str) -> int | None:
        tape, running = self._tape, self._running
        if tape is not None and running is not None:
            return tape.cursor if running.epoch == epoch else None
        if (found := store.unfinished(self._terminal)) is not None:
            return found.summary.cursor if found.begin.epoch == epoch else None
        return 0 if store.is_always and self._is_new(store, epoch) else None

    def _is_new(self, store: RecordingStore, epoch: str) -> bool:
        """Tell whether nothing of this life of the terminal is recorded yet."""
        return all(one.begin.epoch != epoch for one in store.of(self._terminal))

    def leave(self, epoch: str) -> None:
        """End the recording of another life than *epoch*, while its bytes are there."""
        if self._running is not None and self._running.epoch != epoch:
            self._finish("interrupted")

    def greet(self) -> None:
        """Go on with what was being recorded, now that the worker is there."""
        if (store := self._hub.recordings) is None:
            return
        if self._running is None:
            self._resume(store)
        if self._running is None:
            self._obey_policy(store)
        elif self._tape is not None:
            self._tape.ask_again()
            self._tape.pull()

    def _resume(self, store: RecordingStore) -> None:
        """Go on with the recording that a restart of the server left without an end."""
        found = store.unfinished(self._terminal)
        if found is None:
            return
        summary, begin = found.summary, found.begin
        if begin.epoch != self._uplink.epoch:
            tape = self._new_tape(summary.duration)
            tape.abandon(store.resume(found, tape), summary)
            self._finish("interrupted")
            return
        tape = self._new_tape(max(summary.duration, self._hub.clock() - begin.at))
        tape.resume(store.resume(found, tape), summary)
        logger.info("%s: recording %s goes on", self._terminal, begin.id)
        self._tell_all(_told(begin, is_on=True))

    def _obey_policy(self, store: RecordingStore) -> None:
        if not store.is_always or store.is_full:
            return
        is_new = self._is_new(store, self._uplink.epoch)
        if self._uplink.is_online and (is_new or self._uplink.exited is None):
            self._begin(store, POLICY, is_whole=is_new)

    def pull(self) -> None:
        """Record what has come."""
        if self._tape is not None:
            self._tape.pull()

    def _paint(self, snapshot: TerminalSnapshot, content: bytes) -> None:
        if self._tape is not None:
            self._tape.paint(snapshot, content)

    def mark(
        self,
        offset: int,
        label: str,
        kind: Kind = "note",
        exit_code: int | None = None,
    ) -> None:
        """
        Mark *offset* of the output as a place to jump to; never waits.

        Args:
            offset: Where; output that came already included.
            label: What it is called, such as a command's line.
            kind: ``command`` where one begins, ``command-end`` where it ends.
            exit_code: Of a command that ended, if its shell told.
        """
        if (tape := self._tape) is not None and tape.pen is not None:
            mark = Mark(
                time=tape.time,
                offset=offset,
                label=label,
                kind=kind,
                exit_code=exit_code,
            )
            tape.hold(mark)

    def command(self, message: CommandStarted | CommandEnded) -> None:
        """Mark where a command began, or ended."""
        if isinstance(message, CommandStarted):
            self.mark(message.at_byte, message.command, "command")
        else:
            self.mark(message.at_byte, "", "command-end", message.exit_code)

    def title(self, text: str) -> None:
        """Record the terminal's new title."""
        if (tape := self._tape) is not None and tape.pen is not None:
            head = self._uplink.stream.head
            tape.hold(Title(time=tape.time, offset=head, text=text))

    def tick(self) -> None:
        """Try again what the disk refused; begin anew what is too long or ended."""
        tape, running, store = self._tape, self._running, self._hub.recordings
        if store is None:
            return
        if tape is None or running is None:
            self._obey_policy(store)
            return
        tape.retry()
        if running.by == POLICY and tape.time > ROLL_SECONDS:
            self._finish("rolled")
            self._obey_policy(store)

    def _note_segment(self, recording_id: str, segment: Segment) -> None:
        self._note(
            RecordingSegment(
                offset=0,
                id=recording_id,
                number=segment.number,
                start=segment.start,
                end=segment.end,
                sha256=segment.sha256,
            )
        )


def _told(begin: Begin, *, is_on: bool) -> RecordingMessage:
    return RecordingMessage(is_on=is_on, id=begin.id, by=begin.by)
