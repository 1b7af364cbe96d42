"""The worker: all its terminals, their links, and what the server asks of it."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from vibehq_nb import __version__
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import (
    PROTOCOL,
    Cancel,
    CloseTerminal,
    Emit,
    Freeze,
    Inspect,
    Object,
    Scan,
    Signal,
    Spawn,
    StopWorker,
    Thaw,
    WorkerHello,
)
from vibehq_nb.worker.control_link import ControlLink, Request
from vibehq_nb.worker.dial import Dialer, FencedError
from vibehq_nb.worker.endpoint import EndpointSource
from vibehq_nb.worker.lifetime import IDLE_SECONDS, Lifetime
from vibehq_nb.worker.providers.places import Places
from vibehq_nb.worker.providers.port import Provider
from vibehq_nb.worker.scans import SCANNER, Scans
from vibehq_nb.worker.terminal import Terminal, make_screen
from vibehq_nb.worker.terminal_link import TerminalLink

logger = logging.getLogger(__name__)

KEEP_EXITED = 32
"""How many terminals whose program is over are kept for those who look back."""
MAX_TERMINALS = 64
FAREWELL_SECONDS = 1.0
"""How long a closed terminal waits for its room to hear of the exit."""


class Agent:
    """
    Holds terminals and runs scans for one server.

    Ends when it is cancelled, when a newer worker takes over, or after *idle_seconds*
    without a server while no foreground job runs.
    """

    def __init__(
        self,
        worker_id: str,
        source: EndpointSource,
        runtime: Path,
        *,
        providers: Sequence[Provider] = (),
        scanner: Sequence[str] = SCANNER,
        state: Path | None = None,
        max_terminals: int = MAX_TERMINALS,
        idle_seconds: float = IDLE_SECONDS,
        cull_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Prepare a worker; *runtime* is a private folder for its files.

        Scans keep where they are in *state*; without it each is a full one. With
        *max_terminals* running, no other is opened. A terminal that was idle for
        *cull_seconds* is closed.
        """
        self.id = worker_id
        self.terminals: dict[str, Terminal] = {}
        self._source = source
        self._places = Places(worker_id, runtime, providers)
        self._max_terminals = max_terminals
        self._scanner = scanner
        self._scan_options = ["--host", worker_id]
        if state is not None:
            self._scan_options += ["--state", str(state)]
        self.lifetime = Lifetime(self, idle_seconds, cull_seconds, clock)
        self._generation = int(time.time() * 1000)
        self.has_ended = False
        self.is_fenced = False
        self._tasks_of: dict[str, list[asyncio.Task[None]]] = {}
        self._openings: dict[str, _Opening] = {}
        self._is_closing = False
        self._painting = ThreadPoolExecutor(1, "screen")
        self._control = ControlLink(self._hello, self.perform)
        self._dialer = Dialer(source, "worker", worker_id, self._control)

    @property
    def is_linked(self) -> bool:
        """Whether the server is there."""
        return self._dialer.is_up

    @property
    def is_scanning(self) -> bool:
        """Whether a scan runs."""
        return self._scans.is_running

    async def run(self) -> None:
        """Serve until the end; every terminal is closed when this returns."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._scans = Scans(
                    tasks, self._control.report, self._scanner, self._scan_options
                )
                self._painting.submit(_warm_up)
                dialing = tasks.create_task(self._dialer.run())
                try:
                    await self.lifetime.wait(dialing)
                finally:
                    self._is_closing = True  # from here on nothing is opened
                    await self._say_goodbye()
                    await self._close_all()
                    await self._places.close()
                    self._scans.cancel_all()
                    dialing.cancel()
        except* FencedError:
            self.is_fenced = True
            logger.error("a newer worker %s has taken over: this one stops", self.id)
        finally:
            self._painting.shutdown()
            self.has_ended = True

    def cull(self, terminal: Terminal, seconds: float) -> None:
        """Close *terminal*, which was idle for *seconds*, and say so."""
        logger.info("%s: idle for %g s: closing it", terminal.id, seconds)
        data = {"terminal": terminal.id, "idle_seconds": seconds}
        self._control.tell(Emit(name="terminal-culled", data=data))
        self._tasks.create_task(self._close_if_there(terminal.id))

    async def _close_if_there(self, terminal_id: str) -> None:
        with suppress(DeniedError):  # it was closed meanwhile
            await self._close(terminal_id)

    async def _say_goodbye(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._control.flush()

    async def _close_all(self) -> None:
        openings = [opening.task for opening in self._openings.values()]
        for opening in openings:
            opening.cancel()
        if openings:
            await asyncio.wait(openings)
        # One that cannot be closed must not keep the others from it.
        ends = await asyncio.gather(
            *map(self._close_if_there, list(self.terminals)), return_exceptions=True
        )
        for error in ends:
            if isinstance(error, Exception):
                logger.error("a terminal could not be closed", exc_info=error)
        for terminal_id in list(self.terminals):
            self._forget(terminal_id)

    def _hello(self) -> WorkerHello:
        return WorkerHello(
            protocol=PROTOCOL,
            version=__version__,
            worker=self.id,
            host=os.uname().nodename,
            generation=self._generation,
            providers=self._places.usable(),
            terminals=list(self.terminals),
        )

    # Requests

    async def perform(self, request: Request) -> Object:
        """
        Do what is asked and return its result.

        Raises:
            DeniedError: With one sentence that says why it was not done.
        """
        match request:
            case Spawn():
                await self._spawn(request)
            case Inspect(terminal=terminal_id):
                return await self._inspect(self._find(terminal_id))
            case Signal(terminal=terminal_id, signal=name):
                await self._find(terminal_id).process.signal(name)
            case CloseTerminal(terminal=terminal_id):
                await self._close(terminal_id)
            case StopWorker(force=is_forced):
                return await self.lifetime.stop(is_forced)
            case Freeze() | Thaw():
                return await self._freeze(request)
            case Scan() | Cancel():
                self._scans.perform(request)
        return {}

    async def _freeze(self, request: Freeze | Thaw) -> Object:
        terminal = self._find(request.terminal)
        if isinstance(request, Freeze):
            return await terminal.freeze()
        await terminal.thaw()
        return {}

    def _find(self, terminal_id: str) -> Terminal:
        terminal = self.terminals.get(terminal_id)
        if terminal is None:
            raise DeniedError(
                "not-found", f'There is no terminal "{terminal_id}" here.'
            )
        return terminal

    async def _spawn(self, request: Spawn) -> None:
        there = self.terminals.get(request.terminal)
        if there is not None and there.state != "exited":
            _refuse_another(request, there.target)
            return
        opening = self._openings.get(request.terminal)
        if opening is None:
            self._refuse_now()
            # It goes on when the link that asked is cut: asked again, it is joined.
            task = self._tasks.create_task(self._open(request))
            opening = self._openings[request.terminal] = _Opening(request.target, task)
            task.add_done_callback(lambda _: self._openings.pop(request.terminal))
        _refuse_another(request, opening.target)
        error = await asyncio.shield(opening.task)
        if error is not None:
            raise error

    def _refuse_now(self) -> None:
        if self._is_closing:
            raise DeniedError("stopping", f"Worker {self.id} is about to end.")
        self._refuse_over_limit()

    def _refuse_over_limit(self) -> None:
        running = sum(one.state != "exited" for one in self.terminals.values())
        if running + len(self._openings) >= self._max_terminals:
            raise DeniedError(
                "busy",
                f"{running} terminals are open on worker {self.id}, which holds at "
                f"most {self._max_terminals}. Close one that is not needed, or start "
                "the worker with a higher limit.",
            )

    async def _open(self, request: Spawn) -> Exception | None:
        """Open a terminal and return why it is not open; nothing is raised."""
        try:
            process = await self._places.open(request)
        except Exception as error:
            return error
        self._forget(request.terminal)
        size = request.cols, request.rows
        target = request.target
        self._hold(
            Terminal(request.terminal, process, *size, self._painting, target=target)
        )
        return None

    def _hold(self, terminal: Terminal) -> None:
        self.terminals[terminal.id] = terminal
        dialer = Dialer(self._source, "terminal", terminal.id, TerminalLink(terminal))
        self._tasks_of[terminal.id] = [
            self._tasks.create_task(terminal.run()),
            self._tasks.create_task(dialer.run()),
        ]
        logger.info("%s: opened", terminal.id)
        exited = [t.id for t in self.terminals.values() if t.state == "exited"]
        for terminal_id in exited[:-KEEP_EXITED]:
            self._forget(terminal_id)

    def _forget(self, terminal_id: str) -> None:
        self.terminals.pop(terminal_id, None)
        for task in self._tasks_of.pop(terminal_id, []):
            task.cancel()

    async def _inspect(self, terminal: Terminal) -> Object:
        return {
            **await terminal.describe_foreground(),
            "state": terminal.state,
            "cols": terminal.stream.size.cols,
            "rows": terminal.stream.size.rows,
        }

    async def _close(self, terminal_id: str) -> None:
        terminal = self._find(terminal_id)
        await terminal.process.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await terminal.wait_told_exit()
        if self.terminals.get(terminal_id) is terminal:
            self._forget(terminal_id)
            logger.info("%s: closed", terminal_id)


class _Opening(NamedTuple):
    """A terminal that is being opened, and where."""

    target: str
    task: asyncio.Task[Exception | None]


def _refuse_another(request: Spawn, target: str) -> None:
    """Keep what is typed for one place from a shell in another."""
    if request.target != target:
        raise DeniedError(
            "conflict",
            f"Terminal {request.terminal} is open on {target}. Give another name for "
            f"{request.target}, or ask for a new one.",
        )


def _warm_up() -> None:
    # The library reads its declarations at the first use, for half a second.
    make_screen(2, 2).keyframe()
