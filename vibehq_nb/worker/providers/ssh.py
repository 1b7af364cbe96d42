"""Terminals on other hosts, over SSH."""

import asyncio
import logging
import re
import shlex
from importlib.util import find_spec
from typing import Any

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.process_io import INPUT_BYTES, GatheringProcess
from vibehq_nb.worker.providers import remote
from vibehq_nb.worker.providers.port import Exit, Foreground, Opening
from vibehq_nb.worker.providers.remote import RemoteSession
from vibehq_nb.worker.providers.ssh_login import NEEDS_LIBRARY, Login

logger = logging.getLogger(__name__)

CALL_SECONDS = 15.0
"""How long a script on the host may take."""
CLOSE_SECONDS = 5.0


class SshProcess(GatheringProcess):
    """
    A program on another host, on a connection of its own.

    It is what asyncssh calls a session, and is told by it what comes in.
    """

    def __init__(self, login: Login, host: str) -> None:
        """Belong to *host*, to which *login* leads."""
        super().__init__()
        self._login = login
        self._host = host
        self._channel: Any = None
        self._early = bytearray()  # before the mark; then reading is paused
        self._came = asyncio.Event()
        self._has_begun = False
        self._is_lost = False
        self._is_paused = False
        self.exit: Exit | None = None
        self.session: RemoteSession

    # What asyncssh tells

    def connection_made(self, channel: Any) -> None:
        """Note the channel."""
        self._channel = channel

    def session_started(self) -> None:
        """Do nothing: the mark tells when the program begins."""

    def data_received(self, output: bytes, _kind: object) -> None:
        """Take output."""
        if self._has_begun:
            self._gather(output)
        else:
            self._early += output
            self._came.set()

    def eof_received(self) -> bool:
        """Let the channel close in both directions."""
        return False

    def exit_status_received(self, status: int) -> None:
        """Note the exit code."""
        self.exit = Exit(status, None)

    def exit_signal_received(self, name: str, *_details: object) -> None:
        """Note the signal's name."""
        self.exit = Exit(None, name)

    def connection_lost(self, _error: Exception | None) -> None:
        """Note the end of the channel, after its last output."""
        self._is_lost = True
        self._came.set()
        self._login.close()
        if self._has_begun:
            self._tell_exit(self.exit or remote.HUNG_UP)

    def pause_writing(self) -> None:
        """Do nothing: ``write`` looks at the queue itself."""

    def resume_writing(self) -> None:
        """Do nothing."""

    # Output and input

    async def read_some(self) -> bytes:
        """Return what comes next, before ``start``; empty at the end."""
        await self._came.wait()
        output = bytes(self._early)
        self._early.clear()
        if not self._is_lost:
            self._came.clear()
        return output

    def begin(self, began: remote.Began, is_shell: bool) -> None:
        """Note who leads the session, and keep what it has printed."""
        self.session = RemoteSession(self._run, began.leader, is_shell)
        self._hold(began.output + bytes(self._early))
        self._has_begun = True
        self._channel.pause_reading()
        if self._is_lost:
            self._tell_exit(self.exit or remote.HUNG_UP)

    def _begin(self) -> None:
        if not self._is_paused:
            self._channel.resume_reading()

    def pause(self) -> None:
        """Stop reading: the program waits once the buffers between are full."""
        self._is_paused = True
        self._channel.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self._is_paused = False
        if self._is_started:
            self._channel.resume_reading()

    def write(self, keys: bytes) -> bool:
        """Queue *keys* as typed; False and nothing queued when the queue is full."""
        queued = self._channel.get_write_buffer_size()
        if self._is_lost or (queued and queued + len(keys) > INPUT_BYTES):
            return False
        try:
            self._channel.write(keys)
        except OSError:  # the channel closes
            return False
        return True

    # Size, jobs, signals

    def resize(self, cols: int, rows: int) -> None:
        """Set the size in character cells."""
        if not self._is_lost:
            self._channel.change_terminal_size(cols, rows)

    async def foreground(self) -> Foreground | None:
        """
        Return the foreground job, None when there is none.

        Raises:
            DeniedError: ``not-known`` or ``no-answer``.
        """
        return await self.session.foreground()

    async def signal(self, name: str) -> None:
        """
        Send ``SIG{name}`` to the foreground job.

        Raises:
            DeniedError: ``no-answer`` or ``no-signal``.
        """
        await self.session.signal(name)

    async def _run(self, script: str, *words: str) -> str:
        import asyncssh

        command = shlex.join(["sh", "-c", script, "sh", *words])
        connection = self._login.connections[-1]
        try:
            async with asyncio.timeout(CALL_SECONDS):
                done = await connection.run(command, errors="replace")
        except (TimeoutError, OSError, asyncssh.Error):
            sentence = f"Host {self._host} does not answer."
            raise DeniedError("no-answer", sentence) from None
        return str(done.stdout)

    async def freeze(self) -> str:
        """Stop nothing: only keys are refused, which is ``degraded``."""
        return "degraded"

    async def thaw(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Hang up, then terminate, then kill, until no process of it is left."""
        if not self._is_lost:
            try:
                await self.session.end()
            except DeniedError as error:
                logger.warning("what ran on %s may run on: %s", self._host, error)
        self.resume()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.ended.wait()
        except TimeoutError:
            self._login.abort()
            await self.ended.wait()
        await self._login.wait_closed()


class SshProvider:
    """Opens terminals on hosts that ``ssh`` would reach."""

    name = "ssh"

    def is_usable(self) -> bool:
        """Tell whether the library is installed."""
        return find_spec("asyncssh") is not None

    async def open(self, opening: Opening) -> SshProcess:
        """
        Start the command, or the user's login shell, on a host.

        Raises:
            DeniedError: With one sentence that says why it cannot be started.
        """
        found = re.fullmatch(r"(?:([\w.][\w.-]*)@)?([\w.:][\w.:-]*)", opening.place)
        if found is None:
            raise DeniedError("no-host", 'Name the host, as in "ssh:web-1".')
        remote.check_command(opening)
        if not self.is_usable():
            raise DeniedError("no-library", NEEDS_LIBRARY)
        logging.getLogger("asyncssh").setLevel(logging.WARNING)
        login = Login(opening.worker)
        connection = await login.connect(found[2], found[1])
        try:
            return await self._begin(opening, login, connection, found[2])
        except BaseException:
            login.close()
            raise

    async def _begin(
        self, opening: Opening, login: Login, connection: Any, host: str
    ) -> SshProcess:
        import asyncssh

        mark = remote.new_mark()
        command = remote.opening_command(opening, mark, remote.LOGIN_SHELL)
        process = SshProcess(login, host)
        try:
            await connection.create_session(
                lambda: process,
                shlex.join(command),
                term_type="xterm-256color",
                term_size=(opening.cols, opening.rows),
                encoding=None,
            )
        except (asyncssh.Error, OSError):
            sentence = f"Host {host} refuses to start a terminal."
            raise DeniedError("refused", sentence) from None
        began = await remote.await_mark(process.read_some, mark)
        if began is None:
            code = process.exit.code if process.exit else None
            raise remote.refusal(opening, code, f"on host {host}")
        process.begin(began, opening.command is None)
        return process

    async def close(self) -> None:
        """Do nothing: each terminal has a connection of its own."""
