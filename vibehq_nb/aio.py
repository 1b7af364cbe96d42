"""
The facade for asynchronous code: the same calls, awaited.

    hq = await vibehq_nb.aio.connect()
    term = await hq.terminal()
    result = await term.run("df -h /")

The work runs on the client's own loop, so a busy kernel loop delays no socket.
"""

import asyncio
import os
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from vibehq_nb.client import async_hq, loop
from vibehq_nb.client.async_hq import AsyncHQ, Me
from vibehq_nb.client.commands import CommandResult
from vibehq_nb.client.decisions import AsyncTask, Decision, Kind
from vibehq_nb.client.errors import DecisionError
from vibehq_nb.client.recordings import AsyncRecording
from vibehq_nb.client.scans import Scan
from vibehq_nb.client.static import StaticScreen
from vibehq_nb.client.tables import commands_frame
from vibehq_nb.client.tasks import show_decision, show_request
from vibehq_nb.client.terminals import AsyncTerminal

if TYPE_CHECKING:
    import pandas

T = TypeVar("T")


async def _there(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* on the client's loop and await it on this one."""
    return await asyncio.wrap_future(loop.shared().submit(work))


async def connect(url: str | None = None, token: str | None = None) -> "HQ":
    """Find the server; see :func:`vibehq_nb.connect`."""
    return HQ(await _there(async_hq.connect(url, token)))


class HQ:
    """A server; see :class:`vibehq_nb.HQ`."""

    def __init__(self, hq: AsyncHQ) -> None:
        """Wrap a server that has answered."""
        self._hq = hq

    @property
    def me(self) -> Me:
        """Who we are on the server, and with which roles."""
        return self._hq.me

    async def terminal(
        self,
        target: str = "local",
        name: str | None = None,
        new: bool = False,
        worker: str | None = None,
    ) -> "Terminal":
        """Open a terminal, or attach to the one that is there."""
        return Terminal(await _there(self._hq.terminal(target, name, new, worker)))

    async def scan(self, scope: str = "full", **options: Any) -> Scan:
        """Run a scan and return what it found."""
        return await _there(self._hq.scan(scope, **options))

    async def emit(self, name: str, payload: dict[str, Any] | None = None) -> None:
        """Tell everybody who watches of something."""
        await _there(self._hq.emit(name, payload))

    def task(
        self,
        name: str,
        key: str | None = None,
        terminals: Iterable["Terminal | str"] = (),
    ) -> "Task":
        """Return a piece of work with gates in it, for an ``async with`` block."""
        ids = [item if isinstance(item, str) else item.id for item in terminals]
        return Task(self._hq.task(name, key, ids), self._hq.base)


class Terminal:
    """A shared terminal; see :class:`vibehq_nb.client.terminal.Terminal`."""

    def __init__(self, terminal: AsyncTerminal) -> None:
        """Wrap a terminal that is open."""
        self.id, self.target = terminal.id, terminal.target
        self._terminal = terminal

    async def run(
        self, command: str, timeout: float | None = 60.0, check: bool = True
    ) -> CommandResult:
        """Run *command* in the shell for all to see, and return what came of it."""
        return await _there(self._terminal.run(command, timeout, check))

    async def commands(self, limit: int = 100) -> "pandas.DataFrame":
        """Return the last *limit* commands that ran here, by anybody, as a table."""
        return commands_frame(await _there(self._terminal.commands(limit)))

    async def send(self, text: str) -> None:
        """Type *text* as it is."""
        await _there(self._terminal.send(text))

    async def screen(self) -> str:
        """Return the screen as text."""
        return await _there(self._terminal.screen())

    async def static(self) -> StaticScreen:
        """Return the screen as it is now."""
        return await _there(self._terminal.static())

    async def take_control(self) -> None:
        """Take the keyboard from whoever has it."""
        await _there(self._terminal.take_control())

    async def record(self) -> "Recording":
        """Record the output from now on; use it in an ``async with`` block."""
        started = AsyncRecording.start(self._terminal.api, self.id)
        return Recording(await _there(started))

    async def detach(self) -> None:
        """Leave the terminal; it runs on."""
        await _there(self._terminal.detach())

    async def close(self) -> None:
        """End the terminal for everybody."""
        await _there(self._terminal.close())


class Recording:
    """A recording of a terminal; see :class:`vibehq_nb.client.recording.Recording`."""

    def __init__(self, recording: AsyncRecording) -> None:
        """Wrap a recording."""
        self.id, self.terminal = recording.id, recording.terminal
        self._recording = recording

    async def __aenter__(self) -> Self:
        """Record."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop."""
        await self.stop()

    async def stop(self) -> None:
        """End it; does nothing if it has ended."""
        await _there(self._recording.stop())

    async def export(self, path: str | os.PathLike[str], version: int = 3) -> Path:
        """Write it to *path* as an asciicast of version 2 or 3; return the path."""
        return await _there(self._recording.export(path, version))


class Task:
    """A piece of work with gates; see :class:`vibehq_nb.client.tasks.Task`."""

    def __init__(self, task: AsyncTask, base: str = "") -> None:
        """Wrap a task."""
        self._task, self._base = task, base

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """End; a request that still waits was withdrawn by its own call."""

    async def confirm(
        self, question: str, action: dict[str, Any], **options: Any
    ) -> Decision:
        """Ask before doing something; cancelling the call withdraws the request."""
        return await self._gate("confirm", question, action, options)

    async def review(
        self, question: str, action: dict[str, Any], **options: Any
    ) -> Decision:
        """Ask somebody else; cancelling the call withdraws the request."""
        return await self._gate("review", question, action, options)

    async def _gate(
        self, kind: Kind, question: str, action: dict[str, Any], options: dict[str, Any]
    ) -> Decision:
        asked = self._task.ask(kind, question, action, **options)
        request = await _there(asked)
        show_request(request, self._base)
        try:
            decision = await _there(request.settled())
        except DecisionError as error:
            show_decision(error.decision)
            raise
        show_decision(decision)
        return decision
