"""
The worker's end of a terminal room: its link, and the replica kept of its bytes.

After a restart of the room the replica begins near the head, so that a terminal is
there at once; what a viewer needs of before that is fetched from the worker's ring.
While the worker is away the replica stays, so viewers keep what they can scroll to.
"""

from collections.abc import Callable

import msgspec

from vibehq_nb.core.credit import CREDIT_BYTES
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import (
    Ack,
    Close,
    Exited,
    Hello,
    InputFrom,
    Keyframe,
    Message,
    Resize,
    Since,
    TerminalSnapshot,
    Watched,
)
from vibehq_nb.core.screen import MAX_KEYFRAME_BYTES
from vibehq_nb.core.stream import RING_BYTES, ByteStream
from vibehq_server.connection import Connection
from vibehq_server.frames import encode_frame
from vibehq_server.rooms.viewer import CHUNK_BYTES, Chunks

GRANT_BYTES = CREDIT_BYTES // 4
"""So often the worker is told that what it has sent is taken."""

Painter = Callable[[TerminalSnapshot, list[bytes]], None]

SESSIONS_KEPT = 256
"""Input sessions whose counts are kept, as many as the worker keeps."""

TAIL_BYTES = 256 * 1024
"""With how much of the newest output a new replica begins."""

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
        names: The title and the folder, as they were told last.
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
        self.names: dict[type[Message], Message] = {}
        self.last_number = 0
        self.record_keyframe: Callable[[TerminalSnapshot, bytes], None] | None = None
        self._on_keyframe = on_keyframe
        self._link: Connection | None = None
        self._announced_head = 0
        self._credited = 0
        self._worker_oldest = 0
        self._fetching: list[int] = []  # what was asked for and has not begun to come
        self._told_watched = 0
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

    @property
    def oldest(self) -> int:
        """The smallest offset whose successors are all kept, here or at the worker."""
        if self._link is None:
            return self.stream.oldest
        at_worker = max(self._worker_oldest, self.head - RING_BYTES)
        return min(self.stream.oldest, at_worker)

    @property
    def is_fetching(self) -> bool:
        """Whether bytes from before the replica's oldest are on their way."""
        return bool(self._fetching)

    def is_link(self, connection: Connection) -> bool:
        """Tell whether *connection* is the link."""
        return connection is self._link

    def greet(
        self,
        connection: Connection,
        hello: Hello,
        needed: int | None = None,
        commands: int = 0,
    ) -> None:
        """
        Take *connection* as the link, and ask for what is missing here.

        Args:
            connection: The link.
            hello: What the worker has.
            needed: The smallest offset from which a viewer goes on, if any does.
            commands: Up to which offset it is recorded what ran.

        Raises:
            DeniedError: ``bad-message`` if it holds less than nothing.
        """
        if hello.oldest > hello.offset:
            raise DeniedError("bad-message", "The oldest byte is beyond the last.")
        if self._link is not None and self._link is not connection:
            self._link.close(Close.REPLACED, "a newer link took over")
        self._link = connection
        if not self._goes_on(hello, needed):
            tail = hello.offset - TAIL_BYTES
            start = max(hello.oldest, tail if needed is None else min(needed, tail))
            self._begin(start, hello.cols, hello.rows)
        self._worker_oldest = hello.oldest
        self._fetching.clear()
        if hello.epoch != self.epoch:
            self.names.clear()
        self.epoch, self.screen = hello.epoch, hello.screen
        self.inputs = dict(hello.inputs)
        self.is_frozen = hello.state == "frozen"
        self.last_number = 0
        self._announced_head = hello.offset
        self._told_watched = 0
        self._keyframe, self._is_keyframe_asked = None, False
        self._credited = self.stream.head
        self.exited = None
        if hello.state == "exited":
            self.exited = Exited(
                offset=hello.offset, code=hello.code, signal=hello.signal
            )
        connection.send_message(Since(offset=self.stream.head, commands=commands))

    def _goes_on(self, hello: Hello, needed: int | None) -> bool:
        """Tell whether the replica goes on from its head, and holds what is needed."""
        stream = self.stream
        is_held = needed is None or stream.oldest <= needed
        is_next = hello.oldest <= stream.head <= hello.offset
        return hello.epoch == self.epoch and is_next and is_held

    def _begin(self, start: int, cols: int, rows: int) -> None:
        self.stream = ByteStream(cols, rows, start=start)
        self.chunks = Chunks(self.stream)
        self._credited = start

    def fetch(self, offset: int) -> None:
        """
        Ask for the bytes after *offset*, unless they are here or on their way.

        The replica begins anew with them; at least twice what it holds is fetched, so
        that it does so a few times at most.
        """
        stream = self.stream
        if self._link is None or offset >= min([stream.oldest, *self._fetching]):
            return
        start = max(self.oldest, min(offset, 2 * stream.oldest - stream.head))
        self._fetching.append(start)
        self._link.send_message(Since(offset=start))

    def begin_again(self, offset: int) -> None:
        """Hold nothing: what comes from here on follows *offset*."""
        if self._fetching:
            del self._fetching[0]
        self._announced_head = self.head
        size = self.stream.size
        self._begin(offset, size.cols, size.rows)

    def end(self, exited: Exited) -> None:
        """Note how the shell ended, at most as far as it is known to have printed."""
        offset = min(exited.offset, self.head)
        self.exited = msgspec.structs.replace(exited, offset=offset)

    def lose(self) -> None:
        """Go on without the link."""
        self._link = None
        self._fetching.clear()
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

    def grant(self) -> None:
        """Let the worker send on: what it has sent is taken."""
        if self._link is not None and self.stream.head - self._credited >= GRANT_BYTES:
            self._credited = self.stream.head
            self._link.send_message(Ack(offset=self._credited))

    def begin_keyframe(self, snapshot: TerminalSnapshot) -> None:
        """Take the next ``snapshot.bytes`` bytes as a keyframe."""
        if snapshot.bytes > MAX_KEYFRAME_BYTES:
            assert self._link is not None
            self._link.close(Close.TOO_BIG, "the keyframe is too big")
            return
        # It may be ahead of the bytes: those who are painted wait for what follows it.
        self._announced_head = max(self._announced_head, snapshot.offset)
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

    def tell_watched(self, count: int) -> None:
        """Tell how many watch, if the worker does not know yet."""
        if self._link is not None and count != self._told_watched:
            self._told_watched = count
            self._link.send_message(Watched(count=count))

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
