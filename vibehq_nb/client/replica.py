"""
A client's copies: of an event room, of a terminal's bytes, of what was typed.

Pure: frames go in, what changed comes out, and a position that survives reconnects.
"""

from dataclasses import dataclass

from vibehq_nb.core.ids import Position
from vibehq_nb.core.messages import (
    Connected,
    Message,
    StateSnapshot,
    TerminalSnapshot,
    Writer,
    type_of,
)

HOLD_SECONDS = 5.0
"""Keys typed while disconnected are sent only if the link is back within this."""


class Progress:
    """
    The position in an event room, moved by what the room says.

    Attributes:
        position: How much is held; None before the first snapshot is here whole.
    """

    def __init__(self, position: Position | None = None) -> None:
        """Begin at *position*, or with nothing seen."""
        self.position = position

    def take(
        self, kind: str, offset: int = 0, epoch: str = "", resume: str = ""
    ) -> bool:
        """Take a message of type *kind*; False if it is an entry already seen."""
        match kind:
            case "connected" if resume in ("fresh", "reset"):
                self.position = None
            case "snapshot":
                self.position = Position(epoch, offset)
            case "tick":
                self._advance(offset)
            case _ if offset and kind not in _LIVE:
                return self._advance(offset)
        return True

    def _advance(self, offset: int) -> bool:
        if self.position is None:
            return True
        is_new = offset > self.position.offset
        if is_new:
            self.position = self.position._replace(offset=offset)
        return is_new


_LIVE = frozenset({"connected", "accepted", "ack", "input-ack"})
"""Carry an offset of something else than the entry they are not."""


class EventReplica:
    """
    The position in an event room, and the newest snapshot of its state.

    Entries come out once each, in order, however often the link breaks.
    """

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.progress = Progress()
        self.connected: Connected | None = None
        self.state: dict[str, object] = {}

    @property
    def position(self) -> Position | None:
        """How much is held; None if nothing is."""
        return self.progress.position

    def forget(self) -> None:
        """Hold nothing: the next link begins with the whole state."""
        self.progress.position = None

    def receive(self, message: Message) -> Message | None:
        """Take *message* and return it, or None if it is an entry already seen."""
        epoch = resume = ""
        match message:
            case Connected():
                self.connected = message
                resume = message.resume
            case StateSnapshot():
                self.state = message.state
                epoch = message.epoch
        offset = getattr(message, "offset", 0)
        is_new = self.progress.take(type_of(message), offset, epoch, resume)
        return message if is_new else None


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes the terminal printed, after those before."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Redraw:
    """A whole keyframe: forget the screen, draw this."""

    content: bytes
    cols: int
    rows: int


TerminalEvent = Output | Redraw | Message


class TerminalReplica:
    """
    The position in a terminal's bytes, across keyframes and reconnects.

    A keyframe counts only when it is whole: a link lost halfway resumes from the
    position before it.
    """

    def __init__(self, position: Position | None = None) -> None:
        """Begin at *position*, or with nothing seen."""
        self.position = position
        self.connected: Connected | None = None
        self.writer: Writer | None = None
        self._snapshot: TerminalSnapshot | None = None
        self._keyframe = bytearray()  # at most the snapshot's ``bytes``

    def receive(self, frame: Message | bytes) -> list[TerminalEvent]:
        """Take one frame and return what follows from it, in order."""
        if isinstance(frame, bytes):
            return self._receive_bytes(frame)
        match frame:
            case Connected():
                self.connected = frame
                self._snapshot = None
                if isinstance(frame.writer, str):
                    self.writer = Writer(user=frame.writer)
                elif frame.writer is None:
                    self.writer = None
            case TerminalSnapshot():
                self._snapshot = frame
                self._keyframe.clear()
                return [frame, *self._receive_bytes(b"")]
            case Writer(user=user):
                self.writer = frame if user else None
        return [frame]

    def _receive_bytes(self, content: bytes) -> list[TerminalEvent]:
        events: list[TerminalEvent] = []
        if self._snapshot is not None:
            wanted = self._snapshot.bytes - len(self._keyframe)
            self._keyframe += content[:wanted]
            content = content[wanted:]
            if len(self._keyframe) < self._snapshot.bytes:
                return events
            events.append(self._redraw(self._snapshot))
            self._snapshot = None
        if content and self.position is not None:
            offset = self.position.offset + len(content)
            self.position = self.position._replace(offset=offset)
            events.append(Output(content))
        return events

    def _redraw(self, snapshot: TerminalSnapshot) -> Redraw:
        self.position = Position(snapshot.epoch, snapshot.offset)
        return Redraw(bytes(self._keyframe), snapshot.cols, snapshot.rows)


class SentKeys:
    """
    What was typed in this input session and what of it the terminal has.

    A keystroke reaches the terminal at most once: after a reconnect, only what the
    server says it did not take is sent again, and only within five seconds.
    """

    def __init__(self) -> None:
        """Begin with nothing typed."""
        self.accepted = 0
        self._waiting = bytearray()  # bounded by the socket's send queue

    @property
    def sent(self) -> int:
        """How many bytes were typed, all told."""
        return self.accepted + len(self._waiting)

    def push(self, content: bytes) -> int:
        """Note *content* as typed and return the count that will accept it."""
        self._waiting += content
        return self.sent

    def ack(self, offset: int) -> None:
        """Note that the terminal has everything up to *offset*."""
        taken = min(max(offset - self.accepted, 0), len(self._waiting))
        del self._waiting[:taken]
        self.accepted += taken

    def discard(self) -> int:
        """Forget what was not accepted; returns how many bytes that is."""
        count = len(self._waiting)
        self._waiting.clear()
        return count

    def resume(self, accepted: int, away_seconds: float) -> bytes:
        """
        Return what to send again after a reconnect.

        Args:
            accepted: What the server says it took of this session.
            away_seconds: How long the link was down; beyond five seconds, or if the
                server no longer knows this session, what waits is discarded.
        """
        known = accepted >= self.accepted
        self.ack(accepted)
        self.accepted = accepted
        if not known or away_seconds > HOLD_SECONDS:
            self.discard()
        return bytes(self._waiting)
