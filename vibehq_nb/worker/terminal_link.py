"""The socket between one terminal and its room, while it is up."""

import asyncio
import logging

from msgspec import UNSET
from websockets.asyncio.client import ClientConnection

from vibehq_nb.core.codec import Decoder, encode
from vibehq_nb.core.credit import Credit
from vibehq_nb.core.errors import DecodeError, UsageError
from vibehq_nb.core.messages import (
    PROTOCOL,
    TO_WORKER,
    Ack,
    Cwd,
    Error,
    Exited,
    Frozen,
    Hello,
    InputAck,
    InputFrom,
    Keyframe,
    Message,
    Resize,
    Resized,
    Since,
    TerminalSnapshot,
    Title,
    Watched,
)
from vibehq_nb.worker.command_feed import CommandFeed
from vibehq_nb.worker.dial import closing_group
from vibehq_nb.worker.painter import Painted
from vibehq_nb.worker.terminal import Terminal

logger = logging.getLogger(__name__)

DECODER = Decoder(TO_WORKER["terminal"])
FRAME_BYTES = 64 * 1024
HANDSHAKE_SECONDS = 10.0
MAX_TITLE = 1024
MAX_ANSWERS = 1024
"""With so many answers to input not sent, the socket is not read."""


class TerminalLink:
    """
    Sends a terminal's stream from where the room asks, and takes its input.

    Sizes and commands are sent exactly at their offset, the exit after the last byte.
    A keyframe is sent at once, so it may be ahead of the bytes.
    """

    def __init__(self, terminal: Terminal) -> None:
        """Serve *terminal*; one connection at a time."""
        self._terminal = terminal

    async def serve(self, connection: ClientConnection) -> None:
        """Talk until the connection ends."""
        await _Conversation(self._terminal, connection).run()


class _Conversation:
    """What is true for one connection only."""

    def __init__(self, terminal: Terminal, connection: ClientConnection) -> None:
        self._terminal = terminal
        self._stream = terminal.stream
        self._connection = connection
        self._wake = asyncio.Event()
        self._credit = Credit(0)
        # Which size the room's copy ends in is not known here: it is always told.
        self._announced = (0, 0)
        self._told_frozen = False
        self._title = self._cwd = ""
        self._commands = CommandFeed(terminal.commands, 0)
        self._has_told_exit = False
        self._answers: asyncio.Queue[InputAck] = asyncio.Queue(MAX_ANSWERS)
        self._keyframe: asyncio.Task[Painted] | None = None
        self._input: InputFrom | None = None
        self._again: int | None = None  # from where the room wants the bytes once more

    async def run(self) -> None:
        self._terminal.attach(self._wake.set)
        try:
            await self._send(self._hello())
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                since = await self._receive_since()
            if self._begin(since):
                await self._talk()
        finally:
            self._terminal.detach()

    def _hello(self) -> Hello:
        terminal, stream = self._terminal, self._stream
        self._told_frozen = terminal.state == "frozen"
        ended = terminal.exit
        return Hello(
            protocol=PROTOCOL,
            epoch=terminal.epoch,
            oldest=stream.oldest,
            offset=stream.head,
            cols=stream.size.cols,
            rows=stream.size.rows,
            state=terminal.state,
            screen=terminal.painter.kind,
            inputs=terminal.ledger.counts(),
            code=ended.code if ended else None,
            signal=ended.signal if ended else None,
        )

    async def _receive_since(self) -> Since:
        async for frame in self._connection:
            match self._decode(frame):
                case Since() as since:
                    return since
                case Error() as error:
                    self._log(error)
                case _:
                    pass  # ``connected``; the rest comes after ``since``
        raise UsageError("the room closed the link before it asked for anything")

    def _begin(self, since: Since) -> bool:
        """Begin where asked; False when only another hello can agree on a place."""
        offset = since.offset
        if not self._stream.holds(offset):
            logger.warning(
                "%s: the room asked for %d, held are %d to %d: linking anew",
                self._terminal.id,
                offset,
                self._stream.oldest,
                self._stream.head,
            )
            return False
        self._credit = Credit(offset)
        self._commands = CommandFeed(self._terminal.commands, since.commands)
        self._terminal.note_sent(offset)
        self._wake.set()
        return True

    async def _talk(self) -> None:
        async with closing_group() as tasks:
            sending = tasks.create_task(self._send_all())
            await self._receive_all(tasks)
            sending.cancel()
            if self._keyframe is not None:
                self._keyframe.cancel()

    # Down

    async def _receive_all(self, tasks: asyncio.TaskGroup) -> None:
        async for frame in self._connection:
            if isinstance(frame, bytes):
                await self._receive_input(frame)
            elif (message := self._decode(frame)) is not None:
                self._receive(message, tasks)

    def _decode(self, frame: str | bytes) -> Message | None:
        if isinstance(frame, bytes):
            return None
        try:
            return DECODER.decode(frame)
        except DecodeError as error:
            logger.warning("%s: %s", self._terminal.id, error.reason)
            return None

    def _receive(self, message: Message, tasks: asyncio.TaskGroup) -> None:
        match message:
            case InputFrom():
                self._input = message
            case Since(offset=offset):
                self._again = offset
                self._wake.set()
            case Ack(offset=offset):
                self._credit.acknowledge(offset)
                self._wake.set()
            case Keyframe():
                self._ask_keyframe(tasks)
            case Resize(cols=cols, rows=rows):
                self._terminal.resize(cols, rows)
            case Watched(count=count):
                self._terminal.watchers = count
            case Error():
                self._log(message)
            case _:
                pass

    async def _receive_input(self, keys: bytes) -> None:
        announced, self._input = self._input, None
        if announced is None:
            logger.warning("%s: input of nobody was dropped", self._terminal.id)
            return
        taken = self._terminal.take_input(announced.session, announced.offset, keys)
        answer = InputAck(
            session=announced.session,
            offset=taken.total,
            number=announced.number,
            refused=taken.refused or UNSET,
        )
        await self._answers.put(answer)
        self._wake.set()

    def _ask_keyframe(self, tasks: asyncio.TaskGroup) -> None:
        if self._keyframe is None:  # one is enough for all that ask meanwhile
            self._keyframe = tasks.create_task(self._terminal.keyframe())
            self._keyframe.add_done_callback(lambda _task: self._wake.set())

    def _log(self, error: Error) -> None:
        logger.warning("%s: %s: %s", self._terminal.id, error.code, error.message)

    # Up

    async def _send_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while await self._send_next():
                pass

    async def _send_next(self) -> bool:
        """Send what is due next; False when there is nothing to send now."""
        return (
            await self._send_since()
            or await self._send_answers()
            or await self._send_names()
            or await self._send_size()
            or await self._send_command()
            or await self._send_frozen()
            or await self._send_keyframe()
            or await self._send_output()
            or await self._send_exit()
        )

    async def _send_answers(self) -> bool:
        if self._answers.empty():
            return False
        await self._send(self._answers.get_nowait())
        return True

    async def _send_since(self) -> bool:
        if self._again is None:
            return False
        at = min(max(self._again, self._stream.oldest), self._stream.head)
        self._again, self._credit, self._announced = None, Credit(at), (0, 0)
        self._terminal.note_sent(at)
        await self._send(Since(offset=at))
        return True

    async def _send_names(self) -> bool:
        title, cwd = self._terminal.painter.title, self._terminal.commands.cwd
        if (title, cwd) == (self._title, self._cwd):
            return False
        if title != self._title:
            await self._send(Title(text=title[:MAX_TITLE]))
        if cwd != self._cwd:
            await self._send(Cwd(path=cwd))
        self._title, self._cwd = title, cwd
        return True

    async def _send_command(self) -> bool:
        due = self._commands.next_offset
        if due is None or due > self._credit.sent:
            return False
        await self._send(self._commands.take())
        return True

    async def _send_size(self) -> bool:
        at = self._credit.sent
        size = self._stream.size_at(at)
        if (size.cols, size.rows) == self._announced:
            return False
        self._announced = (size.cols, size.rows)
        await self._send(Resized(cols=size.cols, rows=size.rows, offset=at))
        return True

    @property
    def _owes_frozen(self) -> bool:
        return self._told_frozen != (self._terminal.state == "frozen")

    async def _send_frozen(self) -> bool:
        if not self._owes_frozen or self._credit.sent < self._terminal.frozen_at:
            return False
        self._told_frozen = not self._told_frozen
        await self._send(Frozen(is_frozen=self._told_frozen))
        return True

    async def _send_keyframe(self) -> bool:
        task = self._keyframe
        if task is None or not task.done():
            return False
        painted = task.result()
        self._keyframe = None
        await self._send(
            TerminalSnapshot(
                epoch=self._terminal.epoch,
                offset=painted.offset,
                cols=painted.cols,
                rows=painted.rows,
                bytes=len(painted.frame),
            )
        )
        for start in range(0, len(painted.frame), FRAME_BYTES):
            await self._connection.send(painted.frame[start : start + FRAME_BYTES])
        return True

    async def _send_output(self) -> bool:
        at = self._credit.sent
        limit = min(self._credit.left, FRAME_BYTES)
        change = self._stream.next_size(at)
        if change is not None:
            limit = min(limit, change.offset - at)
        if self._owes_frozen:
            limit = min(limit, self._terminal.frozen_at - at)
        if (due := self._commands.next_offset) is not None:
            limit = min(limit, due - at)
        output = self._stream.since(at, limit)
        if not output:
            return False
        self._credit.spend(len(output))
        await self._connection.send(output)
        self._terminal.note_sent(self._credit.sent)
        return True

    async def _send_exit(self) -> bool:
        ended = self._terminal.exit
        if ended is None or self._has_told_exit:
            return False
        if self._credit.sent < self._stream.head:
            return False
        self._has_told_exit = True
        await self._send(
            Exited(offset=self._stream.head, code=ended.code, signal=ended.signal)
        )
        self._terminal.note_told_exit()
        return True

    async def _send(self, message: Message) -> None:
        await self._connection.send(encode(message).decode())
