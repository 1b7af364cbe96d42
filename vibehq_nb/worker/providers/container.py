"""Terminals in containers of Docker and of Podman: an exec with a TTY each."""

import asyncio
import logging
import os
import re
from contextlib import suppress
from typing import Any, NamedTuple

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.process_io import READ_BYTES, RETRY_SECONDS, DescriptorProcess
from vibehq_nb.worker.providers import remote
from vibehq_nb.worker.providers.leftovers import Leftovers, end_begun
from vibehq_nb.worker.providers.pauses import Pauses
from vibehq_nb.worker.providers.port import Exit, Foreground, Opening
from vibehq_nb.worker.providers.remote import RemoteSession
from vibehq_nb.worker.providers.runtime import Container, Kind, Runtime

logger = logging.getLogger(__name__)

STATUS_SECONDS = 5.0
"""How long after its last output an exec's exit status is asked for."""
RESIZE_SECONDS = 0.2
CLOSE_SECONDS = 5.0
"""How long after the last process of an exec its stream may stay open."""


class Attached(NamedTuple):
    """A running exec: its id, its connection, and what came over that already."""

    exec_id: str
    fd: int
    early: bytes


class ContainerProcess(DescriptorProcess):
    """An exec in a container, over the connection that the runtime has handed out."""

    def __init__(
        self,
        runtime: Runtime,
        pauses: Pauses,
        container: Container,
        attached: Attached,
    ) -> None:
        """Speak to an exec in *container* to which the runtime has *attached* us."""
        super().__init__(attached.fd)
        self._early = attached.early
        self._runtime = runtime
        self._pauses = pauses
        self._container = container
        self._exec_id = attached.exec_id
        self._size = (0, 0)
        self._resizing: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self.session: RemoteSession

    async def read_some(self) -> bytes:
        """Return what comes next, before ``start``; empty at the end."""
        if self._early:
            early, self._early = self._early, b""
            return early
        ready = asyncio.Event()
        self._loop.add_reader(self._fd, ready.set)
        try:
            await ready.wait()
            return os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return await self.read_some()
        except OSError:
            return b""
        finally:
            self._loop.remove_reader(self._fd)

    def begin(self, began: remote.Began, is_shell: bool) -> None:
        """Note who leads the session, and keep what it has printed."""
        self.session = RemoteSession(self._run, began.leader, is_shell)
        self._hold(began.output)

    async def _run(self, script: str, *words: str) -> str:
        command = ["sh", "-c", script, "sh", *words]
        return await self._runtime.run(self._container.id, command)

    async def end_begun(self, mark: str) -> None:
        """End what was begun with *mark*, and let go of it."""
        where = f"in container {self._container.name}"
        try:
            await end_begun(self._run, mark, self.read_some, where)
        finally:
            self.drop()

    # Size, jobs, signals

    def resize(self, cols: int, rows: int) -> None:
        """Set the size in character cells, soon; of several, the last one."""
        self._size = (cols, rows)
        if self._resizing is None or self._resizing.done():
            self._resizing = asyncio.create_task(self._resize())

    async def _resize(self) -> None:
        told = (0, 0)
        while told != self._size:
            told = self._size
            await self.set_size(*told)
            # Podman loses a size that follows another too closely: say it again.
            await asyncio.sleep(RESIZE_SECONDS)
            await self.set_size(*told)

    async def set_size(self, cols: int, rows: int) -> None:
        """Set the size in character cells, unless the program is over."""
        if self._fd < 0:
            return
        try:
            await self._runtime.call("exec_resize", self._exec_id, rows, cols)
        except DeniedError as error:
            logger.info("no new size in %s: %s", self._container.name, error.reason)

    async def foreground(self) -> Foreground | None:
        """
        Return the foreground job, None when there is none.

        Raises:
            DeniedError: ``frozen``, ``not-known``, or what the runtime says.
        """
        self._refuse_frozen()
        return await self.session.foreground()

    async def signal(self, name: str) -> None:
        """
        Send ``SIG{name}`` to the foreground job.

        Raises:
            DeniedError: ``frozen``, or what the runtime says.
        """
        self._refuse_frozen()
        await self.session.signal(name)

    def _refuse_frozen(self) -> None:
        if self._pauses.holds(self._container.id):
            raise DeniedError("frozen", "Its container is paused. Thaw it first.")

    async def freeze(self) -> str:
        """
        Pause the container, and with it all its terminals.

        Raises:
            DeniedError: ``not-frozen``, or what the runtime says.
        """
        await self._pauses.pause(self._container.id, self)
        return "pause"

    async def thaw(self) -> None:
        """
        Unpause the container when nobody else has frozen it.

        Raises:
            DeniedError: What the runtime says.
        """
        await self._pauses.unpause(self._container.id, self)

    # The end

    def drop(self) -> bool:
        """Close the connection; False when it was closed before."""
        fd = self._release()
        if fd >= 0:
            os.close(fd)
        return fd >= 0

    def _on_nobody(self) -> None:
        if self.drop():
            self._ending = asyncio.create_task(self._tell_status())

    async def _tell_status(self) -> None:
        self._tell_exit(await self.status() or remote.HUNG_UP)

    async def status(self) -> Exit | None:
        """Return how the exec has ended; None when the runtime does not say."""
        deadline = self._loop.time() + STATUS_SECONDS
        while self._loop.time() < deadline:
            try:
                seen = await self._runtime.call("exec_inspect", self._exec_id)
            except DeniedError:
                return None
            if not seen["Running"] and seen["ExitCode"] is not None:
                return Exit(int(seen["ExitCode"]), None)
            await asyncio.sleep(RETRY_SECONDS)
        return None

    async def close(self) -> None:
        """Hang up, then terminate, then kill, until no process of it is left."""
        try:
            await self._pauses.unpause(self._container.id, self)
            await self.session.end()
        except DeniedError as error:
            name = self._container.name
            logger.warning("what ran in %s may run on: %s", name, error.reason)
            self._on_nobody()
        self.resume()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.ended.wait()
        except TimeoutError:
            self._on_nobody()
            await self.ended.wait()
        if self._resizing is not None:
            self._resizing.cancel()


class ContainerProvider:
    """Opens terminals in the containers of one runtime."""

    def __init__(self, kind: Kind, runtime: Runtime | None = None) -> None:
        """Use *runtime*, by default the one of this *kind* on this host."""
        self.name = kind.name
        self._runtime = runtime or Runtime(kind)
        self._pauses = Pauses(self._runtime)
        self._leftovers = Leftovers()

    def is_usable(self) -> bool:
        """Tell whether the library is installed and a socket is there."""
        return self._runtime.is_usable()

    async def open(self, opening: Opening) -> ContainerProcess:
        """
        Start the command, or the container's bash or sh, in a running container.

        Raises:
            DeniedError: With one sentence that says why it cannot be started.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", opening.place):
            sentence = f'Name the container, as in "{self.name}:web-1".'
            raise DeniedError("no-container", sentence)
        remote.check_command(opening)
        container = await self._runtime.find(opening.place, opening.worker)
        mark = remote.new_mark()
        command = remote.opening_command(opening, mark, remote.CONTAINER_SHELL)
        starting = asyncio.create_task(self._start(container, command))
        try:
            process = await asyncio.shield(starting)
            began = await remote.await_mark(process.read_some, mark)
            ended = None if began else await process.status()
        except BaseException:
            self._leftovers.end(_end_started(starting, mark))
            raise
        if began is None:
            if ended is None:  # the stream was cut
                self._leftovers.end(process.end_begun(mark))
            else:
                process.drop()
            code = ended.code if ended else None
            raise remote.refusal(opening, code, f"in container {container.name}")
        process.begin(began, opening.command is None)
        process.resize(opening.cols, opening.rows)
        return process

    async def _start(
        self, container: Container, command: list[str]
    ) -> ContainerProcess:
        attached = await self._runtime.perform(
            lambda api: _attach(api, container.id, command)
        )
        return ContainerProcess(self._runtime, self._pauses, container, attached)

    async def close(self) -> None:
        """Let go of the runtime's connections, once what was left is ended."""
        await self._leftovers.close()
        await self._runtime.close()


async def _end_started(starting: asyncio.Task[ContainerProcess], mark: str) -> None:
    with suppress(DeniedError):  # nothing was started
        process = await starting
        await process.end_begun(mark)


def _attach(api: Any, container: str, command: list[str]) -> Attached:
    """Start *command* with a TTY in *container*."""
    exec_id = api.exec_create(container, command, stdin=True, tty=True)["Id"]
    stream = api.exec_start(exec_id, tty=True, socket=True)
    response = stream._response
    try:
        stream._sock.setblocking(False)
        # The HTTP client may have read output together with the headers.
        early = response.raw._fp.fp.peek()
        return Attached(exec_id, os.dup(stream.fileno()), early)
    finally:
        response.close()
