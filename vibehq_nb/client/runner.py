"""Runs commands in a shared terminal: types them, and follows them to their end."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from vibehq_nb.client.commands import CommandResult
from vibehq_nb.client.errors import (
    CommandFailedError,
    CommandTimeoutError,
    TerminalBusyError,
    TerminalEndedError,
    duration_text,
    shorten,
)
from vibehq_nb.client.replica import Output, TerminalEvent
from vibehq_nb.client.session import TerminalSession
from vibehq_nb.client.shell import Capture, typed_form
from vibehq_nb.core.errors import VibeError
from vibehq_nb.core.ids import Position
from vibehq_nb.core.messages import Connected, Exited, Gap
from vibehq_nb.core.vt import plain_text

INTERRUPT = b"\x03"
PROMPT_SECONDS = 3.0
FIRST_MARK_SECONDS = 0.6
LOOK_AGAIN_SECONDS = 1.0
REFUSED_SECONDS = 2.0
"""A prompt that comes before a command began: so long it may still begin."""
MARKING = frozenset({"bash", "zsh", "fish"})
"""The shells that mark their commands, where a worker has started them."""
UNMARKED = frozenset({"sh", "dash", "ash", "ksh", "mksh"})


class TimeOverError(Exception):
    """The command took too long; it runs on."""


@dataclass
class _Heard(Capture):
    """A capture that listens to a session."""

    begun_after: Position | None = None
    may_exec: bool = False
    is_shell_gone: bool = False
    is_end_unknown: bool = False

    def hear(self, event: TerminalEvent) -> None:
        match event:
            case Output(content):
                self.feed(content)
            case Gap():
                self.lose()
            case Exited(code=code, signal=signal):
                self.is_shell_gone = True
                self.is_end_unknown |= code is None and signal is None
            case Connected(resume="reset"):
                self.is_shell_gone = self.is_end_unknown = True

    @property
    def has_news(self) -> bool:
        """Whether something happened that may be the end."""
        return self.has_ended or self.is_refused or self.is_shell_gone


class Runner:
    """
    Types commands into one terminal's shell, one at a time, and waits for each.

    What it needs of the terminal is given: its session, its state, its commands and
    what it printed before a place.
    """

    def __init__(
        self,
        label: str,
        attach: Callable[[], Awaitable[TerminalSession]],
        inspect: Callable[[], Awaitable[dict[str, Any]]],
        commands: Callable[[int], Awaitable[list[dict[str, Any]]]],
        history: Callable[[Position], Awaitable[bytes]],
    ) -> None:
        """Run in the terminal that people call *label*."""
        self._label = label
        self._attach = attach
        self._inspect = inspect
        self._commands = commands
        self._history = history
        self._turn = asyncio.Lock()

    async def run(
        self, command: str, timeout: float | None, check: bool
    ) -> CommandResult:
        """Do as :meth:`vibehq_nb.client.terminals.AsyncTerminal.run` says."""
        async with self._turn:
            await self._ensure_idle()
            session = await self._attach()
            word = None if await self._marks(session) else secrets.token_hex(8)
            keys = typed_form(command, session.shell, word)
            capture = _Heard(
                word,
                begun_after=session.replica.position,
                may_exec=re.search(r"\bexec\b", command) is not None,
            )
            try:
                result = await self._follow(session, command, keys, capture, timeout)
            except TimeOverError:
                seconds = timeout or 0.0
                raise CommandTimeoutError(command, self._label, seconds) from None
        if check and not result.ok:
            raise CommandFailedError(result, self._label)
        return result

    # Before it is typed

    async def foreground(self) -> dict[str, Any]:
        """Return what runs in the foreground: name, pid, since (seconds), is_shell."""
        found = await self._inspect()
        if found.get("state") == "exited" or found.get("exited"):
            raise TerminalEndedError(f"The shell in {self._label} has ended.")
        return dict(found.get("foreground") or {})

    async def _is_idle(self) -> bool:
        return bool((await self.foreground()).get("is_shell", True))

    async def _ensure_idle(self) -> None:
        job = await self.foreground()
        if not job.get("is_shell", True):
            since = duration_text(job.get("since"))
            raise await self._busy(str(job.get("name") or "A program"), since)

    async def _busy(self, program: str = "", since: str = "") -> TerminalBusyError:
        """Return the error that names what runs, who ran it and for how long."""
        newest = await self._newest()
        if newest is None or newest["state"] != "running":
            who = str((await self._inspect()).get("writer") or "")
            return TerminalBusyError(
                program or "A command of the shell", self._label, who, since
            )
        who = str(newest["user"] or "")
        since = since or duration_text(newest.get("running_s"))
        return TerminalBusyError(
            program or f'"{shorten(newest["command"])}"', self._label, who, since
        )

    async def _newest(self) -> dict[str, Any] | None:
        try:
            rows = await self._commands(1)
        except VibeError:  # of an older server
            return None
        return rows[-1] if rows else None

    async def _marks(self, session: TerminalSession) -> bool:
        """Tell whether the shell marks its commands, having waited for its prompt."""
        shell = session.shell
        position = session.replica.position
        if not shell.has_marks and position is not None:
            history = await self._history(position)
            shell.recall(history)
            # A shell that printed nothing yet is still starting.
            patience = FIRST_MARK_SECONDS if history else PROMPT_SECONDS
            await session.until(lambda: shell.has_marks, patience)
        if not shell.has_marks:
            return False
        patience = FIRST_MARK_SECONDS if shell.takes_paste else PROMPT_SECONDS
        if await session.until(lambda: shell.is_at_prompt, patience):
            return True
        if await self._is_replaced(session):
            return False
        raise await self._busy()

    async def _is_replaced(self, session: TerminalSession) -> bool:
        """Tell whether a shell without marks is in front, as after ``exec zsh``."""
        job = await self.foreground()
        name = str(job.get("name"))
        # One of the marking kind reads a line where its own marks tell of no prompt.
        is_unmarked = name in UNMARKED or (
            name in MARKING and session.shell.takes_paste
        )
        return bool(job.get("is_shell")) and is_unmarked

    # After it is typed

    async def _follow(
        self,
        session: TerminalSession,
        command: str,
        keys: bytes,
        capture: _Heard,
        timeout: float | None,
    ) -> CommandResult:
        was_free = session.replica.writer is None
        stop_listening = session.listen(capture.hear)
        clock = asyncio.get_running_loop().time
        started = clock()
        due = None if timeout is None else started + timeout
        try:
            await session.type(keys)
            await self._await_end(session, capture, due)
        except asyncio.CancelledError:
            await self._interrupt(session)
            raise
        finally:
            stop_listening()
            if was_free:
                session.give_back()
        duration_s = clock() - started
        text = await asyncio.to_thread(plain_text, capture.output)
        return CommandResult(
            command=command,
            exit_code=capture.exit_code,
            output=text.rstrip("\n"),
            duration_s=duration_s,
            terminal=self._label,
            is_cut=capture.is_cut,
            used_sentinel=capture.word is not None,
        )

    async def _await_end(
        self, session: TerminalSession, capture: _Heard, due: float | None
    ) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            wait = LOOK_AGAIN_SECONDS
            if due is not None:
                wait = min(wait, max(due - clock(), 0.0))
            await session.until(lambda: capture.has_news, wait)
            if capture.is_end_unknown:
                raise TerminalEndedError(
                    f"The shell in {self._label} is gone, as when its worker dies: how "
                    "the command ended is unknown."
                )
            if capture.is_shell_gone:
                raise TerminalEndedError(
                    f"The shell in {self._label} ended while the command ran."
                )
            if await self._is_over(session, capture):
                return
            if due is not None and clock() >= due:
                raise TimeOverError

    async def _is_over(self, session: TerminalSession, capture: _Heard) -> bool:
        if capture.has_ended:
            # Output may hold marks of its own: the end is the shell's only when the
            # shell is back.
            if await self._is_idle() and capture.has_ended:
                return True
            capture.go_on()
        elif capture.is_refused:
            # The shell shows a prompt and began nothing: it could not read the line,
            # or it shows a paste before it runs it.
            begun = await session.until(lambda: capture.has_begun, REFUSED_SECONDS)
            return not begun and await self._is_idle()
        elif capture.is_lossy:
            return await self._is_recorded_over(capture)
        elif capture.has_begun:
            return await self._is_taken_over(session, capture)
        return False

    async def _is_taken_over(self, session: TerminalSession, capture: _Heard) -> bool:
        """Tell whether another shell reads lines now, which will mark no end."""
        may_be = session.shell.takes_paste or (capture.may_exec and not capture.word)
        if not may_be or not await self._is_replaced(session):
            return False
        return not await session.until(lambda: capture.has_news, FIRST_MARK_SECONDS)

    async def _is_recorded_over(self, capture: _Heard) -> bool:
        """After a gap: tell the end from the terminal's log."""
        newest, after = await self._newest(), capture.begun_after
        if newest is None or after is None or newest["epoch"] != after.epoch:
            return await self._is_idle()
        if newest["output_start"] < after.offset or newest["state"] == "running":
            return False
        capture.exit_code = newest["exit_code"]
        return await self._is_idle()

    async def _interrupt(self, session: TerminalSession) -> None:
        try:
            await session.type(INTERRUPT)
        except VibeError:
            return  # the terminal is gone or somebody else's by now
