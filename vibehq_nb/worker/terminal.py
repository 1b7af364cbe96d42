"""One terminal: its process, its bytes, its screen, its input. Knows no link."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Literal, NamedTuple

from vibehq_nb.core.bracketed_paste import PasteGuard
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.input_ledger import InputLedger
from vibehq_nb.core.messages import Object
from vibehq_nb.core.screen import Screen
from vibehq_nb.core.stream import ByteStream
from vibehq_nb.worker.command_feed import CommandHistory
from vibehq_nb.worker.painter import BEHIND_BYTES, Painted, Painter
from vibehq_nb.worker.providers.port import Exit, Foreground, Process


def make_screen(cols: int, rows: int) -> Screen:
    """Return the best screen this platform has."""
    # Its library takes a third of a second to import: a worker says hello first.
    from vibehq_nb.client import screen

    return screen.make_screen(cols, rows)


UNSENT_BYTES = 256 * 1024
"""With more than this not sent to a room that is there, the program has to wait."""


class Taken(NamedTuple):
    """How much of a session was typed so far, and why no more: empty when all was."""

    total: int
    refused: Literal["", "exited", "frozen", "gap", "busy"]


class Terminal:
    """
    One life of a terminal, from its spawn until it is closed.

    It reads on while no room is there (the ring drops its oldest), and stops reading
    while the screen is 4 MiB behind, while a link shakes hands, and while a room that
    is there was not sent more than 256 KiB.
    """

    def __init__(
        self,
        terminal_id: str,
        process: Process,
        cols: int,
        rows: int,
        executor: Executor,
        make: Callable[[int, int], Screen] = make_screen,
        target: str = "local",
    ) -> None:
        """Hold *process*, which runs in *target* at a size of *cols* by *rows*."""
        self.id = terminal_id
        self.target = target
        self.epoch = secrets.token_hex(8)
        self.process = process
        self.stream = ByteStream(cols, rows)
        self.ledger = InputLedger()
        self._pastes = PasteGuard()
        self.commands = CommandHistory()
        self.exit: Exit | None = None
        self.watchers = 0  # as far as a room that is there has told
        self.is_frozen = False
        self.frozen_at = 0  # where in the stream ``is_frozen`` changed last
        self._is_held = False  # no keys are taken, from the freeze to the thaw
        self.painter = Painter(
            self.stream, make(cols, rows), executor, self._on_progress
        )
        self._sent: int | None = None
        self._is_shaking_hands = False
        self._has_told_exit = asyncio.Event()
        self._on_change: Callable[[], None] = _ignore

    @property
    def state(self) -> Literal["running", "exited", "frozen"]:
        """What the process does."""
        if self.exit is not None:
            return "exited"
        return "frozen" if self.is_frozen else "running"

    async def run(self) -> None:
        """Read the process and paint its screen until cancelled."""
        self.process.start(self._on_output, self._on_exit)
        await self.painter.run()

    # What the process says

    def _on_output(self, output: bytes) -> None:
        self.stream.append(output)
        self.commands.feed(output)
        self.painter.wake()
        self.update_reading()
        self._on_change()

    def _on_exit(self, ended: Exit) -> None:
        self.exit = ended
        self._on_change()

    def _on_progress(self) -> None:
        self.update_reading()
        self._on_change()

    # What the room wants

    def take_input(self, session: str, offset: int, keys: bytes) -> Taken:
        """
        Type what is new of *keys*, and return how much of *session* was typed so far.

        Nothing is typed when the program has exited or is frozen, when bytes before
        *offset* are missing (a gap), or when the queue is full (busy).
        """
        total = self.ledger.taken(session)
        fresh = self.ledger.fresh(session, offset, keys)
        if fresh == b"":
            return Taken(total, "")
        if self.exit is not None:
            return Taken(total, "exited")
        if self._is_held:
            return Taken(total, "frozen")
        if fresh is None:
            return Taken(total, "gap")
        # Counted as the client sent it, whatever the guard leaves out.
        if not self.process.write(self._pastes.clean(session, fresh)):
            return Taken(total, "busy")
        self.commands.typed(session, fresh)
        return Taken(self.ledger.take(session, len(fresh)), "")

    def resize(self, cols: int, rows: int) -> None:
        """Set the size from the head of the stream on."""
        if self.stream.resize(cols, rows):
            self.process.resize(cols, rows)
            self.painter.wake()
            self._on_change()

    async def keyframe(self) -> Painted:
        """Return a keyframe at or before the head."""
        return await self.painter.keyframe()

    async def foreground(self) -> Foreground | None:
        """
        Return the job that reads the keyboard, if any.

        Raises:
            DeniedError: If it cannot be told.
        """
        return None if self.exit is not None else await self.process.foreground()

    async def describe_foreground(self) -> Object:
        """Return ``foreground``, None if none is seen; ``unknown`` says why not."""
        try:
            job = await self.foreground()
        except DeniedError as error:
            return {"foreground": None, "unknown": error.code}
        return {"foreground": job._asdict() if job else None}

    @property
    def traffic(self) -> tuple[int, int]:
        """How many bytes went out and in."""
        return self.stream.head, sum(self.ledger.counts().values())

    async def freeze(self) -> Object:
        """
        Stop its processes and say how; keys are refused until the thaw.

        Raises:
            DeniedError: ``not-frozen`` if something does not stop, or at a thaw
                meanwhile; then all go on.
        """
        self._is_held = True
        try:
            how = await self.process.freeze()
            if not self._is_held:
                raise DeniedError("not-frozen", "It was thawed meanwhile.")
        except BaseException:
            await self.thaw()
            raise
        self._set_frozen(True)
        return {"how": how}

    async def thaw(self) -> None:
        """
        Let its processes go on.

        Raises:
            DeniedError: ``not-thawed`` if they do not.
        """
        await self.process.thaw()
        self._set_frozen(False)
        self._is_held = False

    def _set_frozen(self, is_frozen: bool) -> None:
        if self.is_frozen != is_frozen:
            self.process.flush()
            self.is_frozen, self.frozen_at = is_frozen, self.stream.head
            self._on_change()

    # What the link tells

    def attach(self, on_change: Callable[[], None]) -> None:
        """
        Call *on_change* at every change; hold still until ``sent`` is known.

        Nothing that was read may come later: a hello would not know of it.
        """
        self._on_change = on_change
        self._is_shaking_hands = True
        self.update_reading()
        self.process.flush()

    def note_sent(self, offset: int) -> None:
        """Note that the room that is there was sent everything up to *offset*."""
        self._sent = offset
        self._is_shaking_hands = False
        self.update_reading()

    def note_told_exit(self) -> None:
        """Note that a room was told of the exit."""
        self._has_told_exit.set()

    async def wait_told_exit(self) -> None:
        """Wait until a room that is there was told of the exit."""
        if self._sent is not None:
            await self._has_told_exit.wait()

    def detach(self) -> None:
        """Note that no room is there."""
        self._on_change = _ignore
        self.watchers = 0
        self._sent = None
        self._is_shaking_hands = False
        self.update_reading()

    def update_reading(self) -> None:
        """Read or wait, as the screen and the room can take it."""
        if self.is_waiting:
            self.process.pause()
        else:
            self.process.resume()

    @property
    def is_waiting(self) -> bool:
        """Whether the program has to wait before its next output is read."""
        if self._is_shaking_hands or self.painter.behind > BEHIND_BYTES:
            return True
        return self._sent is not None and self.stream.head - self._sent > UNSENT_BYTES


def _ignore() -> None:
    pass
