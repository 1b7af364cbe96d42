"""One pseudo-terminal and the program behind it, driven by the event loop."""

import errno
import fcntl
import functools
import os
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import psutil

from vibehq_nb.worker import processes
from vibehq_nb.worker.freezer import Cgroup
from vibehq_nb.worker.process_io import RETRY_SECONDS, DescriptorProcess
from vibehq_nb.worker.providers.port import Exit, Foreground

DRAIN_TURNS = 20
"""For so many times RETRY_SECONDS, output after the exit is waited for at most."""


def _take_terminal(handled: Sequence[int], cgroup_fd: int) -> None:
    # In the child, between fork and exec: only plain system calls.
    if cgroup_fd >= 0:
        os.write(cgroup_fd, b"0")
    for number in handled:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _resettable() -> list[int]:
    fixed = {signal.SIGKILL, signal.SIGSTOP}
    return [
        number
        for number in signal.valid_signals() - fixed
        if signal.getsignal(number) not in {signal.SIG_DFL, None}
    ]


class Pty(DescriptorProcess):
    """A program in its own session behind its own pseudo-terminal."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        cols: int,
        rows: int,
        is_shell: bool,
        cgroup: Cgroup | None = None,
    ) -> None:
        """
        Start *command*, within *cgroup* if there is one.

        Raises:
            OSError: If it cannot be started.
        """
        fd, slave = os.openpty()
        super().__init__(fd)
        self._cgroup = cgroup
        try:
            os.set_blocking(self._fd, False)
            self._set_size(cols, rows)
            self._process = self._start(command, env, cwd, slave)
        except BaseException:
            os.close(self._fd)
            raise
        finally:
            os.close(slave)
        self.pid = self._process.pid
        self._shell = self.pid if is_shell else None
        self._exit: Exit | None = None
        self._frozen: list[int] = []

    def _start(
        self, command: Sequence[str], env: Mapping[str, str], cwd: str, slave: int
    ) -> "subprocess.Popen[bytes]":
        cgroup_fd = self._cgroup.open_procs() if self._cgroup else -1
        try:
            return subprocess.Popen(
                command,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=env,
                cwd=cwd,
                start_new_session=True,
                preexec_fn=functools.partial(_take_terminal, _resettable(), cgroup_fd),
            )
        finally:
            if cgroup_fd >= 0:
                os.close(cgroup_fd)

    def _begin(self) -> None:
        self._watch_exit()
        super()._begin()

    def _on_nobody(self) -> None:
        if self._exit is not None:
            self._finish()
        else:
            # The program closed its terminal but lives, and may open it again.
            self._set_absent(True)
            self._loop.call_later(RETRY_SECONDS, self._set_absent, False)

    # Size, jobs, signals

    def resize(self, cols: int, rows: int) -> None:
        """Set the size in character cells; the foreground job gets SIGWINCH."""
        if self._fd >= 0:
            self._set_size(cols, rows)

    def _set_size(self, cols: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, cols, 0, 0)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, size)

    async def foreground(self) -> Foreground | None:
        """Return the foreground job, None when there is none."""
        group = self._foreground_group()
        if group is None:
            return None
        return processes.describe_group(group, self._shell, time.time())

    def _foreground_group(self) -> int | None:
        if self._fd < 0:
            return None
        try:
            group = os.tcgetpgrp(self._fd)
        except OSError:
            return None
        return group if group > 0 else None

    async def signal(self, name: str) -> None:
        """Send ``SIG{name}`` to the foreground job; without one it does nothing."""
        group = self._foreground_group()
        if group is not None:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.Signals[f"SIG{name}"])

    async def freeze(self) -> str:
        """
        Stop every process of the terminal: ``freezer``, without a cgroup ``signals``.

        Raises:
            DeniedError: ``not-frozen`` if something does not stop within 2 s.
        """
        if self._cgroup is not None:
            await self._cgroup.freeze()
            return "freezer"
        await processes.stop_session(self.pid, self._frozen)
        return "signals"

    async def thaw(self) -> None:
        """Let what ``freeze`` stopped go on, in reverse order."""
        if self._cgroup is not None:
            await self._cgroup.thaw()
        processes.send(self._frozen[::-1], signal.SIGCONT)
        self._frozen.clear()

    # The end

    def _watch_exit(self) -> None:
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux
            self._pidfd = -1
            self._poll_exit()
        else:
            self._loop.add_reader(self._pidfd, self._reap)

    def _poll_exit(self) -> None:
        if self._process.poll() is None:
            self._loop.call_later(RETRY_SECONDS, self._poll_exit)
        else:
            self._reap()

    def _reap(self) -> None:
        code = self._process.poll()
        if code is None:
            return
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        named = signal.Signals(-code).name.removeprefix("SIG") if code < 0 else None
        self._exit = Exit(code if code >= 0 else None, named)
        self._set_absent(False)
        self._drain(DRAIN_TURNS, self._count)

    def _drain(self, turns: int, count: int) -> None:
        # The kernel ends the stream with EIO; a process in the background that holds
        # the other side puts that off. So the end is also when nothing more comes.
        if self._is_paused:
            self._loop.call_later(RETRY_SECONDS, self._drain, turns, count)
        elif turns == 0 or (turns < DRAIN_TURNS and count == self._count):
            self._finish()
        else:
            self._loop.call_later(RETRY_SECONDS, self._drain, turns - 1, self._count)

    def _finish(self) -> None:
        if self._fd < 0 or self._exit is None:
            return
        self.flush()
        os.close(self._release())
        if self._cgroup is not None:
            self._cgroup.leave()
        self._tell_exit(self._exit)

    async def close(self) -> None:
        """Hang up, then terminate, then kill, until no process is left."""
        is_reused = self._exit is not None and psutil.pid_exists(self.pid)
        if not is_reused:  # a session keeps its leader's pid from being given again
            await self._hang_up_frozen()
            await processes.end_session(self.pid)
        self.resume()
        await self.ended.wait()
        if self._cgroup is not None:
            await self._cgroup.remove()

    async def _hang_up_frozen(self) -> None:
        # In a freezer nothing is heard; at the thaw the hang-up comes first.
        if self._cgroup is not None and self._cgroup.is_frozen:
            processes.send(processes.members(self.pid), signal.SIGHUP)
            await self._cgroup.thaw()


def explain(error: OSError, command: str) -> str:
    """Return one sentence on why *command* could not be started."""
    if error.errno == errno.ENOENT:
        return f'There is no program "{command}".'
    if error.errno == errno.EACCES:
        return f'"{command}" may not be run.'
    return f'"{command}" could not be started: {os.strerror(error.errno or 0)}.'
