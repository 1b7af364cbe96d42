"""One pseudo-terminal and the program behind it, driven by the event loop."""

import asyncio
import errno
import fcntl
import functools
import os
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import psutil

from vibehq_nb.worker import processes
from vibehq_nb.worker.providers.port import Exit, Foreground

READ_BYTES = 64 * 1024
GATHER_BYTES = 64 * 1024
GATHER_SECONDS = 0.003
INPUT_BYTES = 256 * 1024
RETRY_SECONDS = 0.1
DRAIN_TURNS = 20
"""For so many times RETRY_SECONDS, output after the exit is waited for at most."""


def _take_terminal(handled: Sequence[int]) -> None:
    # In the child, between fork and exec: only plain system calls.
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


class Pty:
    """
    A program in its own session behind its own pseudo-terminal.

    Reads once a turn of the event loop, so that no terminal starves another. Output
    after a pause leaves at once; what follows is gathered for 3 ms or 64 KiB. Input
    is queued, at most 256 KiB, and refused beyond that.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        cols: int,
        rows: int,
        is_shell: bool,
    ) -> None:
        """
        Start *command*.

        Raises:
            OSError: If it cannot be started.
        """
        self._fd, slave = os.openpty()
        try:
            os.set_blocking(self._fd, False)
            self._set_size(cols, rows)
            self._process = subprocess.Popen(
                command,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=env,
                cwd=cwd,
                start_new_session=True,
                preexec_fn=functools.partial(_take_terminal, _resettable()),
            )
        except BaseException:
            os.close(self._fd)
            raise
        finally:
            os.close(slave)
        self.pid = self._process.pid
        self._shell = self.pid if is_shell else None
        self._loop = asyncio.get_running_loop()
        self._gathered = bytearray()  # at GATHER_BYTES it is handed on
        self._count = 0  # bytes read so far
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0
        self._input = bytearray()  # over INPUT_BYTES: input is refused
        self._is_paused = False
        self._is_absent = False
        self._is_reading = False
        self._exit: Exit | None = None
        self._frozen: list[int] = []
        self.ended = asyncio.Event()

    def start(
        self, on_output: Callable[[bytes], None], on_exit: Callable[[Exit], None]
    ) -> None:
        """Begin to read; *on_exit* is called once, after the last output."""
        self._on_output = on_output
        self._on_exit = on_exit
        self._watch_exit()
        self._update_reading()

    # Output

    def pause(self) -> None:
        """Stop reading: the program waits once the kernel's buffer is full."""
        self._is_paused = True
        self._update_reading()

    def resume(self) -> None:
        """Read on."""
        self._is_paused = False
        self._update_reading()

    def _set_absent(self, is_absent: bool) -> None:
        self._is_absent = is_absent
        self._update_reading()

    def _update_reading(self) -> None:
        wanted = not (self._is_paused or self._is_absent) and self._fd >= 0
        if wanted == self._is_reading:
            return
        self._is_reading = wanted
        if wanted:
            self._loop.add_reader(self._fd, self._read)
        else:
            self._loop.remove_reader(self._fd)

    def _read(self) -> None:
        try:
            output = os.read(self._fd, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # EIO: nobody holds the other side
            output = b""
        if output:
            self._gather(output)
        elif self._exit is not None:
            self._finish()
        else:
            # The program closed its terminal but lives, and may open it again.
            self._set_absent(True)
            self._loop.call_later(RETRY_SECONDS, self._set_absent, False)

    def _gather(self, output: bytes) -> None:
        self._count += len(output)
        self._gathered += output
        waited = self._loop.time() - self._flushed_at
        if len(self._gathered) >= GATHER_BYTES or waited >= GATHER_SECONDS:
            self.flush()
        elif self._flush_timer is None:
            delay = GATHER_SECONDS - waited
            self._flush_timer = self._loop.call_later(delay, self.flush)

    def flush(self) -> None:
        """Hand on at once what was gathered."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        self._flushed_at = self._loop.time()
        if self._gathered:
            output = bytes(self._gathered)
            self._gathered.clear()
            self._on_output(output)

    # Input

    def write(self, keys: bytes) -> bool:
        """Queue *keys* as typed; False and nothing queued when the queue is full."""
        if self._fd < 0:
            return False
        if self._input and len(self._input) + len(keys) > INPUT_BYTES:
            return False
        was_empty = not self._input
        self._input += keys
        if was_empty:
            self._write_queued()
        return True

    def _write_queued(self) -> None:
        try:
            written = os.write(self._fd, self._input)
            del self._input[:written]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._input.clear()
        if self._input:
            self._loop.add_writer(self._fd, self._write_queued)
        else:
            self._loop.remove_writer(self._fd)

    # Size, jobs, signals

    def resize(self, cols: int, rows: int) -> None:
        """Set the size in character cells; the foreground job gets SIGWINCH."""
        if self._fd >= 0:
            self._set_size(cols, rows)

    def _set_size(self, cols: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, cols, 0, 0)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, size)

    def foreground(self) -> Foreground | None:
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

    def signal(self, name: str) -> None:
        """Send ``SIG{name}`` to the foreground job; without one it does nothing."""
        group = self._foreground_group()
        if group is not None:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.Signals[f"SIG{name}"])

    async def freeze(self) -> str:
        """
        Stop every process of the session that is not stopped already.

        Raises:
            DeniedError: ``not-frozen`` if something does not stop within 2 s.
        """
        await processes.stop_session(self.pid, self._frozen)
        return "signals"

    def thaw(self) -> None:
        """Let what ``freeze`` stopped go on, in reverse order."""
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
        fd, self._fd = self._fd, -1
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)
        self._is_reading = False
        os.close(fd)
        self._on_exit(self._exit)
        self.ended.set()

    async def close(self) -> None:
        """Hang up, then terminate, then kill, until no process is left."""
        is_reused = self._exit is not None and psutil.pid_exists(self.pid)
        if not is_reused:  # a session keeps its leader's pid from being given again
            await processes.end_session(self.pid)
        self.resume()
        await self.ended.wait()


def explain(error: OSError, command: str) -> str:
    """Return one sentence on why *command* could not be started."""
    if error.errno == errno.ENOENT:
        return f'There is no program "{command}".'
    if error.errno == errno.EACCES:
        return f'"{command}" may not be run.'
    return f'"{command}" could not be started: {os.strerror(error.errno or 0)}.'
