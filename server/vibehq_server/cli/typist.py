"""Hands what is typed here to a remote terminal, at most once and never late."""

import asyncio
import os
import sys
from collections.abc import Callable

from vibehq_nb.client.errors import FrozenError, NotWriterError, RefusedError
from vibehq_nb.client.replica import HOLD_SECONDS
from vibehq_nb.client.session import TerminalSession
from vibehq_nb.core.errors import VibeError
from vibehq_nb.core.messages import TakeWriter
from vibehq_server.cli.keyboard import CtrlKey, without_reports

READ_BYTES = 4096
HELD_BYTES = 64 * 1024
LEAVE_SECONDS = 1.0
TAKE = CtrlKey("t")


class Typist:
    """
    Reads standard input for one session.

    What cannot be typed within five seconds is dropped, and said so. The answers that
    the terminal here gives to a program's questions are typed only while one's own
    keys are: with several viewers, each would answer.

    Attributes:
        is_read_only: Whether nothing is typed at all.
    """

    def __init__(
        self,
        session: TerminalSession,
        leave_key: CtrlKey,
        say: Callable[[str], None],
        leave: Callable[[], None],
    ) -> None:
        """Type into *session*; tell *say* what was not typed."""
        self.is_read_only = False
        self._session = session
        self._leave_key = leave_key
        self._say = say
        self._leave = leave
        # Full: standard input is not read, and the kernel keeps the rest.
        self._typed = bytearray()
        self._has_typed = asyncio.Event()
        self._is_leaving = False

    @property
    def me(self) -> str:
        """Who the server takes us for."""
        connected = self._session.replica.connected
        return "" if connected is None else connected.user

    @property
    def _writer(self) -> str | None:
        writer = self._session.replica.writer
        return None if writer is None else writer.user

    async def run(self) -> None:
        """Read and type until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self._read)
        try:
            while True:
                await self._has_typed.wait()
                self._has_typed.clear()
                if self._typed:
                    await self._type_held()
                loop.add_reader(sys.stdin.fileno(), self._read)
                if self._is_leaving:
                    self._leave()
        finally:
            loop.remove_reader(sys.stdin.fileno())

    def _read(self) -> None:
        loop = asyncio.get_running_loop()
        content = os.read(sys.stdin.fileno(), READ_BYTES)
        typed, has_left = self._leave_key.split(content)
        self._take(typed if self._writer == self.me else without_reports(typed))
        if has_left or not content:
            self._is_leaving = True
            loop.call_later(LEAVE_SECONDS, self._leave)
        if self._is_leaving or len(self._typed) >= HELD_BYTES:
            loop.remove_reader(sys.stdin.fileno())
        self._has_typed.set()

    def _take(self, typed: bytes) -> None:
        if not typed:
            return
        if self.is_read_only:
            self._say(f"read-only, nothing was typed; {self._leave_key.name} leaves")
            return
        if self._writer not in (None, self.me):
            typed, is_taking = TAKE.split(typed)
            if is_taking:
                self._session.send(TakeWriter(action="take"))
                return
        self._typed += typed

    async def _type_held(self) -> None:
        session = self._session
        try:
            if not session.may_type:
                self._say(f"what you type is held for {HOLD_SECONDS:.0f} s")
            if await session.until(lambda: session.may_type, HOLD_SECONDS):
                typed, self._typed = bytes(self._typed), bytearray()
                await session.type(typed)
                return
            count = len(self._typed)
            self._typed.clear()
            self._say(f"{count} typed bytes were dropped: the terminal is away")
        except RefusedError:
            pass  # it is told elsewhere, and ends everything
        except NotWriterError as error:
            text = f"{error.writer} is typing here; nothing of yours was typed."
            self._say(f"{text} {TAKE.name} takes control")
        except FrozenError:
            self._say("frozen: nothing was typed")
        except VibeError as error:
            self._say(str(error))
