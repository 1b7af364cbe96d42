"""A WebSocket whose frames come and go within one turn of the event loop."""

from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State

DATA = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})


def _ignore(*_: object) -> None:
    pass


class DirectConnection(ClientConnection):
    """
    A client connection of ``websockets``, and a way past its queues and tasks.

    Until :meth:`listen` it is used as any other. From then on frames are handed over as
    they come, what is sent is written at once, and ``recv`` gets nothing.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take what a client connection takes."""
        super().__init__(*args, **options)
        self._on_frame: Callable[[str | bytes], None] | None = None
        self._on_writable: Callable[[], None] = _ignore
        self._on_lost: Callable[[ConnectionClosed], None] = _ignore
        self._fragments = b""  # of one message, bounded by its largest size
        self._is_text = False

    def listen(
        self,
        on_frame: Callable[[str | bytes], None],
        on_writable: Callable[[], None],
        on_lost: Callable[[ConnectionClosed], None],
    ) -> None:
        """
        Hand every frame to *on_frame* from now on.

        Args:
            on_frame: Called with each message.
            on_writable: Called when the socket takes bytes again.
            on_lost: Called once, when the connection is over.
        """
        self._on_frame = on_frame
        self._on_writable = on_writable
        self._on_lost = on_lost

    @property
    def is_writable(self) -> bool:
        """Whether what is sent now would not only pile up here."""
        return not self.paused and self.protocol.state is State.OPEN

    def queue(self, message: bytes, *, is_text: bool) -> None:
        """Send *message* with the next :meth:`flush`; dropped once it is closed."""
        if self.protocol.state is State.OPEN:
            send = self.protocol.send_text if is_text else self.protocol.send_binary
            send(message)

    def flush(self) -> None:
        """Write what is queued, in one piece."""
        writes = self.protocol.data_to_send()
        if writes and not self.transport.is_closing():
            self.transport.write(writes[0] if len(writes) == 1 else b"".join(writes))

    def pause_reading(self, is_paused: bool) -> None:
        """Leave what comes in the kernel, or read on."""
        if not self.transport.is_closing():
            transport: Any = self.transport
            (transport.pause_reading if is_paused else transport.resume_reading)()

    # What websockets calls

    def process_event(self, event: Event) -> None:
        """Hand a data frame over; all else is the library's."""
        if (
            self._on_frame is None
            or not isinstance(event, Frame)
            or event.opcode not in DATA
        ):
            super().process_event(event)
        elif event.fin and event.opcode is not Opcode.CONT:
            self._hand_over(bytes(event.data), is_text=event.opcode is Opcode.TEXT)
        else:
            self._assemble(event)

    def _assemble(self, part: Frame) -> None:
        if part.opcode is not Opcode.CONT:
            self._fragments, self._is_text = b"", part.opcode is Opcode.TEXT
        self._fragments += part.data
        if part.fin:
            self._hand_over(self._fragments, is_text=self._is_text)

    def _hand_over(self, content: bytes, *, is_text: bool) -> None:
        assert self._on_frame is not None
        self._on_frame(content.decode(errors="replace") if is_text else content)

    def resume_writing(self) -> None:
        """Go on sending."""
        super().resume_writing()
        self._on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that it is over."""
        super().connection_lost(exc)
        self._on_lost(self.close_exc)
