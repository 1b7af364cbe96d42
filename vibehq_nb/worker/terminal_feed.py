"""What one link has still to send of its terminal, each thing in its place."""

import asyncio
from collections import deque
from collections.abc import Callable

from vibehq_nb.core.codec import encode
from vibehq_nb.core.credit import Credit
from vibehq_nb.core.messages import (
    Exited,
    Frozen,
    InputAck,
    Message,
    Resized,
    Since,
    TerminalSnapshot,
)
from vibehq_nb.worker.command_feed import ShellNews
from vibehq_nb.worker.direct import DirectConnection
from vibehq_nb.worker.painter import Painted
from vibehq_nb.worker.terminal import Terminal

FRAME_BYTES = 64 * 1024
MAX_ANSWERS = 1024
"""With so many answers to input not sent, the socket is not read."""


class TerminalFeed:
    """
    Sends bytes as far as the room's credit goes, and all else between them.

    Sizes and commands are sent exactly at their offset, the exit after the last byte.
    A keyframe is sent at once, so it may be ahead of the bytes.

    Attributes:
        has_begun: Whether the room has said from where it wants the bytes.
    """

    def __init__(
        self,
        terminal: Terminal,
        connection: DirectConnection,
        on_failure: Callable[[Exception], None],
    ) -> None:
        """Wait for ``begin``; *on_failure* is told of what went wrong in ``pump``."""
        self.has_begun = False
        self._terminal = terminal
        self._stream = terminal.stream
        self._connection = connection
        self._on_failure = on_failure
        self._credit = Credit(0)
        # Which size the room's copy ends in is not known here: it is always told.
        self._announced = (0, 0)
        self._told_frozen = terminal.state == "frozen"  # the hello says so
        self._news = ShellNews(terminal, 0)
        self._has_told_exit = False
        self._answers: deque[InputAck] = deque()  # MAX_ANSWERS: then nothing is read
        self._keyframe: asyncio.Task[Painted] | None = None
        self._again: int | None = None  # from where the room wants the bytes once more

    # What the room wants

    def begin(self, since: Since) -> None:
        """Send what follows, to a room that has recorded so many commands."""
        self.has_begun = True
        self._credit = Credit(since.offset)
        self._news = ShellNews(self._terminal, since.commands)
        self._terminal.note_sent(since.offset)

    def begin_again(self, offset: int) -> None:
        """Send the bytes after *offset* once more, as far as they are kept."""
        self._again = offset

    def acknowledge(self, offset: int) -> None:
        """Note that the room has taken everything up to *offset*."""
        self._credit.acknowledge(offset)

    def answer(self, answer: InputAck) -> None:
        """Tell what became of input."""
        self._answers.append(answer)
        if len(self._answers) == MAX_ANSWERS:
            self._connection.pause_reading(True)

    def ask_keyframe(self) -> None:
        """Send a keyframe as soon as there is one, for all that ask meanwhile."""
        if self._keyframe is None:
            self._keyframe = asyncio.create_task(self._terminal.keyframe())
            self._keyframe.add_done_callback(lambda _task: self.pump())

    def end(self) -> None:
        """Send no more."""
        self.has_begun = False
        if self._keyframe is not None:
            self._keyframe.cancel()

    # Sending

    def pump(self) -> None:
        """Send what is due, as far as the socket takes it."""
        try:
            while self.has_begun and self._connection.is_writable and self._send_next():
                pass
            self._connection.flush()
        except Exception as error:
            self._on_failure(error)

    def _send_next(self) -> bool:
        """Send what is due next; False when there is nothing to send now."""
        return (
            self._send_since()
            or self._send_answers()
            or self._send_news()
            or self._send_size()
            or self._send_frozen()
            or self._send_keyframe()
            or self._send_output()
            or self._send_exit()
        )

    def _send_since(self) -> bool:
        if self._again is None:
            return False
        at = min(max(self._again, self._stream.oldest), self._stream.head)
        self._again, self._credit, self._announced = None, Credit(at), (0, 0)
        self._terminal.note_sent(at)
        self._send(Since(offset=at))
        return True

    def _send_answers(self) -> bool:
        if not self._answers:
            return False
        was_full = len(self._answers) >= MAX_ANSWERS
        while self._answers:
            self._send(self._answers.popleft())
        if was_full:
            self._connection.pause_reading(False)
        return True

    def _send_news(self) -> bool:
        message = self._news.next(self._credit.sent)
        if message is not None:
            self._send(message)
        return message is not None

    def _send_size(self) -> bool:
        at = self._credit.sent
        size = self._stream.size_at(at)
        if (size.cols, size.rows) == self._announced:
            return False
        self._announced = (size.cols, size.rows)
        self._send(Resized(cols=size.cols, rows=size.rows, offset=at))
        return True

    @property
    def _owes_frozen(self) -> bool:
        return self._told_frozen != (self._terminal.state == "frozen")

    def _send_frozen(self) -> bool:
        if not self._owes_frozen or self._credit.sent < self._terminal.frozen_at:
            return False
        self._told_frozen = not self._told_frozen
        self._send(Frozen(is_frozen=self._told_frozen))
        return True

    def _send_keyframe(self) -> bool:
        task = self._keyframe
        if task is None or not task.done() or task.cancelled():
            return False
        self._keyframe = None
        painted = task.result()
        self._send(
            TerminalSnapshot(
                epoch=self._terminal.epoch,
                offset=painted.offset,
                cols=painted.cols,
                rows=painted.rows,
                bytes=len(painted.frame),
            )
        )
        for start in range(0, len(painted.frame), FRAME_BYTES):
            part = painted.frame[start : start + FRAME_BYTES]
            self._connection.queue(part, is_text=False)
        return True

    def _send_output(self) -> bool:
        at = self._credit.sent
        limit = min(self._credit.left, FRAME_BYTES)
        change = self._stream.next_size(at)
        if change is not None:
            limit = min(limit, change.offset - at)
        if self._owes_frozen:
            limit = min(limit, self._terminal.frozen_at - at)
        if (due := self._news.next_offset) is not None:
            limit = min(limit, due - at)
        output = self._stream.since(at, limit)
        if not output:
            return False
        self._credit.spend(len(output))
        self._connection.queue(output, is_text=False)
        self._connection.flush()
        self._terminal.note_sent(self._credit.sent)
        return True

    def _send_exit(self) -> bool:
        ended = self._terminal.exit
        if ended is None or self._has_told_exit:
            return False
        if self._credit.sent < self._stream.head:
            return False
        self._has_told_exit = True
        self._send(
            Exited(offset=self._stream.head, code=ended.code, signal=ended.signal)
        )
        self._terminal.note_told_exit()
        return True

    def _send(self, message: Message) -> None:
        self._connection.queue(encode(message), is_text=True)
