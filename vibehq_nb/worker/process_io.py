"""What every process behind a terminal has in common, wherever it runs."""

import asyncio
import os
from collections.abc import Callable

from vibehq_nb.worker.providers.port import Exit

READ_BYTES = 64 * 1024
PART_BYTES = 2048
"""A shorter read was the last there was: the kernel gives a PTY's in parts of 4 KiB."""
TURN_BYTES = 16 * 1024
GATHER_BYTES = 64 * 1024
GATHER_SECONDS = 0.003
INPUT_BYTES = 256 * 1024
RETRY_SECONDS = 0.1


class GatheringProcess:
    """
    Gathers output and tells the exit once, after the last of it.

    Output after a pause leaves at once; what follows is gathered for 3 ms or 64 KiB.
    """

    def __init__(self) -> None:
        """Belong to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._gathered = bytearray()  # at GATHER_BYTES it is handed on
        self._count = 0  # bytes read so far
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0
        self._on_output: Callable[[bytes], None] = _ignore
        self._on_exit: Callable[[Exit], None] = _ignore
        self._is_started = False
        self._early_exit: Exit | None = None
        self.ended = asyncio.Event()

    def start(
        self, on_output: Callable[[bytes], None], on_exit: Callable[[Exit], None]
    ) -> None:
        """Begin to read; *on_exit* is called once, after the last output."""
        self._on_output = on_output
        self._on_exit = on_exit
        self._is_started = True
        self.flush()
        self._begin()
        if self._early_exit is not None:
            self._tell_exit(self._early_exit)

    def _begin(self) -> None:
        raise NotImplementedError

    def _hold(self, output: bytes) -> None:
        """Keep *output* for the next ``flush``."""
        self._count += len(output)
        self._gathered += output

    def _gather(self, output: bytes) -> None:
        self._hold(output)
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

    def _tell_exit(self, ended: Exit) -> None:
        if not self._is_started:
            self._early_exit = ended
        elif not self.ended.is_set():
            self.flush()
            self.ended.set()
            self._on_exit(ended)


class DescriptorProcess(GatheringProcess):
    """
    Speaks to its program over one non-blocking descriptor.

    Reads little in a turn of the event loop, so that no terminal starves another. Input
    is queued, at most 256 KiB, and refused beyond that.
    """

    def __init__(self, fd: int) -> None:
        """Take over *fd*."""
        super().__init__()
        self._fd = fd
        self._input = bytearray()  # over INPUT_BYTES: input is refused
        self._is_paused = False
        self._is_absent = False
        self._is_reading = False

    def _begin(self) -> None:
        self._update_reading()

    def pause(self) -> None:
        """Stop reading: the program waits once the buffers between are full."""
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
        """Read what is there, but no more than 16 KiB before others have their turn."""
        until = self._count + TURN_BYTES
        while self._is_reading and self._count < until:
            try:
                output = os.read(self._fd, READ_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # EIO, ECONNRESET: nobody holds the other side
                output = b""
            if not output:
                self._on_nobody()
                return
            self._gather(output)
            if len(output) < PART_BYTES:
                return

    def _on_nobody(self) -> None:
        """Act on the other side being closed."""
        raise NotImplementedError

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

    def _release(self) -> int:
        """Let go of the descriptor and return it, for the caller to close."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
        self._is_reading = False
        return fd


def _ignore(_told: object) -> None:
    pass
