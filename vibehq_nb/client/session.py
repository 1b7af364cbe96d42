"""One viewer of one terminal, from Python: its bytes, its screen, its keyboard."""

import asyncio
from collections.abc import Callable
from typing import Self

from vibehq_nb.client.errors import RefusedError, TerminalError
from vibehq_nb.client.http import Server
from vibehq_nb.client.refusals import input_refusal
from vibehq_nb.client.replica import (
    Output,
    Redraw,
    SentKeys,
    TerminalEvent,
    TerminalReplica,
)
from vibehq_nb.client.room_link import RoomLink
from vibehq_nb.client.screen import Screen, make_screen
from vibehq_nb.client.shell import ShellState
from vibehq_nb.core.codec import Decoder, encode
from vibehq_nb.core.errors import DecodeError, VibeError
from vibehq_nb.core.ids import Position
from vibehq_nb.core.messages import (
    DOWNSTREAM,
    Ack,
    Connected,
    Error,
    InputAck,
    InputAt,
    Message,
    Resized,
    TakeWriter,
)

ACK_BYTES = 64 * 1024
ACK_IDLE_SECONDS = 0.05
KEY_FRAME_BYTES = 32 * 1024
ANSWER_SECONDS = 10.0
BUSY_SECONDS = 0.05
"""Between two tries to type into a program that is slow to read."""

Listener = Callable[[TerminalEvent], None]


class TerminalSession:
    """
    A live copy of a terminal, and the input session of this kernel.

    Attributes:
        label: How messages for people call the terminal.
        screen: The screen without one; None before the first keyframe is whole.
        shell: What the shell's own marks tell.
        may_type: Whether the terminal takes keys now, as far as is known.
        on_link: Told that the link is lost, with the error if it is for good.
    """

    def __init__(
        self,
        server: Server,
        terminal: str,
        label: str = "",
        position: Position | None = None,
        min_delay: float | None = None,
    ) -> None:
        """Prepare to view *terminal*, from *position* on if one is given."""
        self.label = label or terminal
        self.replica = TerminalReplica(position)
        self.ledger = SentKeys()
        self.shell = ShellState()
        self.screen: Screen | None = None
        self.failure: VibeError | None = None
        self.may_type = False
        self.on_link: Callable[[RefusedError | None], None] = lambda _error: None
        self._decoder = Decoder(DOWNSTREAM["terminal"])
        self._socket = RoomLink(
            server,
            "terminal",
            terminal,
            self,
            query=self._position,
            min_delay=min_delay,
        )
        self._listeners: list[Listener] = []
        self._waiters: set[asyncio.Future[None]] = set()
        self._input_error: Error | None = None
        self._away = 0.0
        self._owes_count = False  # the room counted anew, and has to know we know
        self._acked = 0
        self._ack_timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        """Dial; returns at once."""
        await self._socket.__aenter__()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Leave the terminal; it runs on."""
        await self.close()

    async def close(self) -> None:
        """Leave the terminal; it runs on. Whoever waits is told. Safe to repeat."""
        # Who gives up waiting dials anew, which would bring this session back.
        self.failure = self.failure or TerminalError(f"{self.label} was left.")
        self._changed()
        if self._ack_timer is not None:
            self._ack_timer.cancel()
        await self._socket.close()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell *listener* every event from now on; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """
        Wait until *condition* holds; False when that takes longer than *seconds*.

        Raises:
            VibeError: When the server refused this session for good.
        """
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    if self.failure is not None:
                        raise self.failure
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
        except TimeoutError:
            return condition()
        return True

    def _changed(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def caught_up(self) -> None:
        """
        Wait until the copy holds what the terminal had when this link opened.

        Raises:
            TerminalError: If that takes longer than ten seconds.
        """
        if not await self.until(self.holds_head, ANSWER_SECONDS):
            raise TerminalError(
                f"{self.label} sent no screen within {ANSWER_SECONDS:.0f} s: its "
                "worker is away."
            )

    def holds_head(self) -> bool:
        """Tell whether the copy holds what there was when this link opened."""
        connected, position = self.replica.connected, self.replica.position
        if connected is None or position is None or not self._socket.is_open:
            return False
        return position.epoch == connected.epoch and position.offset >= connected.offset

    async def type(self, content: bytes) -> None:
        """
        Type *content* and return when the terminal has taken it.

        Raises:
            NotWriterError: If somebody else is typing; nothing was typed.
            FrozenError: If the terminal is frozen.
            DeniedError: ``busy`` if the program reads nothing for ten seconds.
            TerminalError: If it was not taken within ten seconds.
        """
        if not await self.until(lambda: self.may_type, ANSWER_SECONDS):
            raise TerminalError(
                f"Nothing was typed: the worker of {self.label} is away."
            )
        for start in range(0, len(content), KEY_FRAME_BYTES):
            await self._type_frame(content[start : start + KEY_FRAME_BYTES])

    async def _type_frame(self, content: bytes) -> None:
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + ANSWER_SECONDS
        # A frame is taken whole or not at all, so one that found no room can go again.
        while not await self._offer_frame(content):
            error = self._input_error
            if error is None or error.code != "busy" or clock() >= give_up_at:
                raise input_refusal(self._input_error, self.replica.writer, self.label)
            await asyncio.sleep(BUSY_SECONDS)

    async def _offer_frame(self, content: bytes) -> bool:
        """Send *content* and tell whether it was taken, or else refused."""
        self._input_error = None
        # No await between: what is noted as typed is what was handed to the socket.
        if not self._send_keys(self.ledger.sent, content):
            raise TerminalError(f"Nothing was typed: {self.label} is not connected.")
        wanted = self.ledger.push(content)

        def is_answered() -> bool:
            return self.ledger.accepted >= wanted or self._input_error is not None

        answered = await self.until(is_answered, ANSWER_SECONDS)
        if self.ledger.accepted >= wanted:
            return True
        self.ledger.discard()
        if answered:
            return False
        self._socket.reconnect()  # it may still be taken: a new link counts anew
        raise TerminalError(f"{self.label} took no keys within {ANSWER_SECONDS:.0f} s.")

    def _send_keys(self, offset: int, content: bytes) -> bool:
        if self._owes_count and content:
            self._owes_count = not self.send(InputAt(offset=offset))
        return self._socket.send(content)

    @property
    def link(self) -> RoomLink:
        """The link under it: ``abort()`` drops it, ``reconnect()`` dials now."""
        return self._socket

    def give_back(self) -> None:
        """Give the input lease back, so that others may type at once."""
        self.send(TakeWriter(action="give"))

    def send(self, message: Message) -> bool:
        """Send *message* and return True; False while the link is down."""
        return self._socket.send(encode(message).decode())

    def _position(self) -> dict[str, str]:
        position = self.replica.position
        if position is None:
            return {}
        return {"epoch": position.epoch, "offset": str(position.offset)}

    def opened(self, away_seconds: float) -> None:
        """Wait for the room's first frame before anything is typed."""
        self._away = away_seconds
        self.may_type = False
        self.replica.connected = None

    def received(self, frame: str | bytes) -> None:
        """Take one frame of the room."""
        if isinstance(frame, bytes):
            self._take(self.replica.receive(frame))
            return
        try:
            message = self._decoder.decode(frame)
        except DecodeError:
            return  # of a newer server
        self._take(self.replica.receive(message))

    def _take(self, events: list[TerminalEvent]) -> None:
        for event in events:
            match event:
                case Output(content):
                    self.shell.feed(content)
                    if self.screen is not None:
                        self.screen.feed(content)
                    self._note_parsed()
                case Redraw():
                    self._draw(event)
                    self._note_parsed()
                case _:
                    self._take_message(event)
            for listener in list(self._listeners):
                listener(event)
        self._changed()

    def _take_message(self, message: Message) -> None:
        match message:
            case Connected(input=int(accepted)):
                rest = self.ledger.resume(accepted, self._away)
                self._away = 0.0
                self.may_type = self._owes_count = True
                if rest:
                    self._send_keys(accepted, rest)
            case InputAck(offset=offset):
                self.ledger.ack(offset)
            case Error(id=str()):
                return
            case Error():
                # Before the room counts anew: what is refused is not sent again.
                self.ledger.discard()
                self._input_error = message
            case Resized(cols=cols, rows=rows) if self.screen is not None:
                self.screen.resize(cols, rows)

    def _draw(self, redraw: Redraw) -> None:
        self.shell.redraw(redraw.content)
        self.screen = make_screen(redraw.cols, redraw.rows)
        self.screen.feed(redraw.content)

    def _note_parsed(self) -> None:
        position = self.replica.position
        if position is None:
            return
        if position.offset - self._acked >= ACK_BYTES:
            self._send_ack()
        elif self._ack_timer is None:
            loop = asyncio.get_running_loop()
            self._ack_timer = loop.call_later(ACK_IDLE_SECONDS, self._send_ack)

    def _send_ack(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        if self.replica.position is not None:
            self._acked = self.replica.position.offset
            self.send(Ack(offset=self._acked))

    def lost(self) -> None:
        """Hold what was typed; the screen stays."""
        self.may_type = False
        self._acked = 0
        self._changed()
        self.on_link(None)

    def refused(self, error: RefusedError) -> None:
        """End every wait with *error*."""
        self.failure = error
        self._changed()
        self.on_link(error)
