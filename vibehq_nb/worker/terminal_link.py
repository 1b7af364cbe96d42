"""The socket between one terminal and its room, while it is up."""

import asyncio
import logging

from msgspec import UNSET
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

from vibehq_nb.core.codec import Decoder, encode
from vibehq_nb.core.errors import DecodeError
from vibehq_nb.core.messages import (
    PROTOCOL,
    TO_WORKER,
    Ack,
    Error,
    Hello,
    InputAck,
    InputFrom,
    Keyframe,
    Message,
    Resize,
    Since,
    Watched,
)
from vibehq_nb.worker.direct import DirectConnection
from vibehq_nb.worker.terminal import Terminal
from vibehq_nb.worker.terminal_feed import TerminalFeed

logger = logging.getLogger(__name__)

DECODER = Decoder(TO_WORKER["terminal"])
HANDSHAKE_SECONDS = 10.0


class TerminalLink:
    """
    Sends a terminal's stream from where the room asks, and takes its input.

    Nothing here waits: a frame is acted on when it comes, output is sent when it is
    read, and what the socket does not take is left in the terminal's ring.
    """

    def __init__(self, terminal: Terminal) -> None:
        """Serve *terminal*; one connection at a time."""
        self._terminal = terminal

    async def serve(self, connection: DirectConnection) -> None:
        """
        Talk until the connection ends.

        Raises:
            ConnectionClosed: If it did not end in the usual way.
            TimeoutError: If the room asks for nothing.
        """
        await _Conversation(self._terminal, connection).run()


class _Conversation:
    """What is true for one connection only."""

    def __init__(self, terminal: Terminal, connection: DirectConnection) -> None:
        self._terminal = terminal
        self._connection = connection
        self._feed = TerminalFeed(terminal, connection, self._stop)
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._input: InputFrom | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(HANDSHAKE_SECONDS, self._give_up)
        self._connection.listen(self._take, self._feed.pump, self._lose)
        self._terminal.attach(self._feed.pump)
        try:
            self._connection.queue(encode(self._hello()), is_text=True)
            self._connection.flush()
            await self._end
        finally:
            deadline.cancel()
            self._feed.end()
            self._terminal.detach()

    def _hello(self) -> Hello:
        terminal, stream = self._terminal, self._terminal.stream
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
            target=terminal.target,
            inputs=terminal.ledger.counts(),
            code=ended.code if ended else None,
            signal=ended.signal if ended else None,
        )

    # The end

    def _give_up(self) -> None:
        if not self._feed.has_begun:
            self._stop(TimeoutError("the room asked for nothing"))

    def _lose(self, closed: ConnectionClosed) -> None:
        self._stop(None if isinstance(closed, ConnectionClosedOK) else closed)

    def _stop(self, error: Exception | None) -> None:
        if self._end.done():
            return
        if error is None:
            self._end.set_result(None)
        else:
            self._end.set_exception(error)

    # What the room sends

    def _take(self, frame: str | bytes) -> None:
        if self._end.done():
            return
        try:
            if isinstance(frame, bytes):
                self._receive_input(frame)
            else:
                self._receive(DECODER.decode(frame))
        except DecodeError as error:
            logger.warning("%s: %s", self._terminal.id, error.reason)
        except Exception as error:
            self._stop(error)
        self._feed.pump()

    def _receive(self, message: Message) -> None:
        match message:
            case InputFrom():
                self._input = message
            case Ack(offset=offset):
                self._feed.acknowledge(offset)
            case Since():
                self._serve_from(message)
            case Keyframe():
                self._feed.ask_keyframe()
            case Resize(cols=cols, rows=rows):
                self._terminal.resize(cols, rows)
            case Watched(count=count):
                self._terminal.watchers = count
            case Error(code=code, message=text):
                logger.warning("%s: %s: %s", self._terminal.id, code, text)
            case _:
                pass

    def _serve_from(self, since: Since) -> None:
        if self._feed.has_begun:
            self._feed.begin_again(since.offset)
        else:
            self._begin(since)

    def _begin(self, since: Since) -> None:
        """Begin where asked, or end: only another hello can agree on a place."""
        stream = self._terminal.stream
        if stream.holds(since.offset):
            self._feed.begin(since)
            return
        logger.warning(
            "%s: the room asked for %d, held are %d to %d: linking anew",
            self._terminal.id,
            since.offset,
            stream.oldest,
            stream.head,
        )
        self._stop(None)

    def _receive_input(self, keys: bytes) -> None:
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
        self._feed.answer(answer)
