"""
The worker's end of a terminal room: its link, and the replica kept of its bytes.

After a restart of the room the replica is filled again from the worker's ring; while
the worker is away it stays, so viewers keep what they can scroll to.
"""

from collections.abc import Callable

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import (
    Ack,
    Close,
    Exited,
    Hello,
    InputFrom,
    Keyframe,
    Resize,
    Since,
    TerminalSnapshot,
)
from vibehq_nb.core.stream import ByteStream
from vibehq_server.connection import Connection
from vibehq_server.frames import encode_frame
from vibehq_server.rooms.viewer import CHUNK_BYTES, Chunks

Painter = Callable[[TerminalSnapshot, list[bytes]], None]

KEYFRAME_BYTES = 4 * 1024 * 1024
"""A worker's keyframe is a sixteenth of this; a larger one is a fault."""

SESSIONS_KEPT = 256
"""Input sessions whose counts are kept, as many as the worker keeps."""

REFUSALS = {
    "frozen": "The terminal is frozen; nothing was typed.",
    "busy": "The program does not read what is typed; nothing more was typed.",
    "exited": "The shell has ended; nothing was typed.",
}
"""What people are told when keystrokes are not taken."""


class Uplink:
    """
    What one worker says of one terminal.

    Attributes:
        epoch: Names one life of the PTY; empty before the first hello.
        stream: The bytes, as far as they came and are kept.
        chunks: Encodes stretches of the stream once for all viewers.
        screen: What the worker's keyframes are: ``vt`` or ``tail``.
        exited: How the shell ended, or None.
        inputs: Keystrokes taken, by input session.
        is_frozen: Whether its processes are stopped.
        record_keyframe: Given every keyframe too, where a recorder wants them.
    """

    def __init__(self, on_keyframe: Painter) -> None:
        """Give keyframes that were asked for to *on_keyframe*."""
        self.epoch = ""
        self.stream = ByteStream()
        self.chunks = Chunks(self.stream)
        self.screen = "tail"
        self.exited: Exited | None = None
        self.inputs: dict[str, int] = {}
        self.is_frozen = False
        self.last_number = 0
        self.record_keyframe: Callable[[TerminalSnapshot, bytes], None] | None = None
        self._on_keyframe = on_keyframe
        self._link: Connection | None = None
        self._announced_head = 0
        self._credited = 0
        self._keyframe: tuple[TerminalSnapshot, bytearray] | None = None
        self._is_keyframe_asked = False

    @property
    def is_online(self) -> bool:
        """Whether the link is up and has said hello."""
        return self._link is not None

    @property
    def head(self) -> int:
        """The last offset there is, here or at the worker."""
        return max(self.stream.head, self._announced_head)

    def is_link(self, connection: Connection) -> bool:
        """Tell whether *connection* is the link."""
        return connection is self._link

    def greet(self, connection: Connection, hello: Hello) -> None:
        """Take *connection* as the link, and ask for what is missing here."""
        if self._link is not None and self._link is not connection:
            self._link.close(Close.REPLACED, "a newer link took over")
        self._link = connection
        is_same = hello.epoch == self.epoch
        if not (is_same and hello.oldest <= self.stream.head <= hello.offset):
            self.stream = ByteStream(hello.cols, hello.rows, start=hello.oldest)
            self.chunks = Chunks(self.stream)
        self.epoch, self.screen = hello.epoch, hello.screen
        self.inputs = dict(hello.inputs)
        self.is_frozen = hello.state == "frozen"
        self.last_number = 0
        self._announced_head = hello.offset
        self._keyframe, self._is_keyframe_asked = None, False
        self._credited = self.stream.head
        self.exited = None
        if hello.state == "exited":
            self.exited = Exited(
                offset=hello.offset, code=hello.code, signal=hello.signal
            )
        connection.send_message(Since(offset=self.stream.head))

    def lose(self) -> None:
        """Go on without the link."""
        self._link = None
        self._keyframe, self._is_keyframe_asked = None, False

    # Down

    def take_bytes(self, connection: Connection, data: bytes) -> None:
        """
        Take a binary frame of the link: output, or a piece of a keyframe.

        Raises:
            DeniedError: If *connection* has not said hello.
        """
        if connection is not self._link:
            raise DeniedError("no-hello", "Say hello first.")
        if self._keyframe is not None:
            self._collect(data)
            return
        self.stream.append(data)
        if self.stream.head - self._credited >= CHUNK_BYTES:
            self._credited = self.stream.head
            self._link.send_message(Ack(offset=self._credited))

    def begin_keyframe(self, snapshot: TerminalSnapshot) -> None:
        """Take the next ``snapshot.bytes`` bytes as a keyframe."""
        if snapshot.bytes > KEYFRAME_BYTES:
            assert self._link is not None
            self._link.close(Close.TOO_BIG, "the keyframe is too big")
            return
        self._keyframe = (snapshot, bytearray())
        self._collect(b"")

    def _collect(self, data: bytes) -> None:
        assert self._keyframe is not None
        snapshot, collected = self._keyframe
        collected += data
        if len(collected) < snapshot.bytes:
            return
        self._keyframe, self._is_keyframe_asked = None, False
        frames = [
            encode_frame(bytes(collected[at : at + CHUNK_BYTES]), binary=True)
            for at in range(0, len(collected), CHUNK_BYTES)
        ]
        if snapshot.epoch == self.epoch:
            self._on_keyframe(snapshot, frames)
            if self.record_keyframe is not None:
                self.record_keyframe(snapshot, bytes(collected))

    # Up

    def ask_keyframe(self) -> None:
        """Ask for a keyframe, unless one is on its way."""
        if self._link is not None and not self._is_keyframe_asked:
            self._is_keyframe_asked = True
            self._link.send_message(Keyframe())

    def resize(self, cols: int, rows: int) -> None:
        """Ask for a size."""
        if self._link is not None:
            self._link.send_message(Resize(cols=cols, rows=rows))

    def type(self, session: str, offset: int, data: bytes) -> None:
        """
        Pass on keystrokes of *session*, the first of them number *offset*.

        Raises:
            DeniedError: ``no-worker``, ``exited`` or ``frozen``; nothing was typed.
        """
        if self._link is None:
            raise DeniedError("no-worker", "The worker is away; nothing was typed.")
        if self.exited is not None:
            raise DeniedError("exited", REFUSALS["exited"])
        if self.is_frozen:
            raise DeniedError("frozen", REFUSALS["frozen"])
        self.last_number += 1
        self._link.send_message(
            InputFrom(session=session, offset=offset, number=self.last_number)
        )
        self._link.send(data)

    def note_input(self, session: str, offset: int) -> int:
        """Keep how many keystrokes of *session* were taken; return the count before."""
        before = self.inputs.pop(session, 0)
        self.inputs[session] = offset
        if len(self.inputs) > SESSIONS_KEPT:  # the one that was silent for longest
            del self.inputs[next(iter(self.inputs))]
        return before
