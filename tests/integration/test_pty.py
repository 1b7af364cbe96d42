"""A real program behind a real pseudo-terminal."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.worker_rooms import until
from tests.rounds import rounds
from vibehq_nb.worker import process_io, processes
from vibehq_nb.worker.process_io import INPUT_BYTES
from vibehq_nb.worker.providers.port import Exit, Foreground
from vibehq_nb.worker.pty import Pty

BASH = shutil.which("bash") or "/bin/bash"


class Opened:
    """A program with its output kept."""

    def __init__(self, *command: str, is_shell: bool = False, **env: str) -> None:
        self.output = bytearray()
        self.reads: list[int] = []
        self.exits: list[Exit] = []
        self.output_at_exit = 0
        self.pty = Pty(
            command, {**os.environ, "TERM": "xterm", **env}, "/", 80, 24, is_shell
        )
        self.pty.start(self._on_output, self._on_exit)

    def _on_output(self, output: bytes) -> None:
        self.output += output
        self.reads.append(len(output))

    def _on_exit(self, ended: Exit) -> None:
        self.exits.append(ended)
        self.output_at_exit = len(self.output)

    async def saw(self, text: bytes) -> None:
        await until(lambda: text in self.output)

    async def runs(self, is_it: Callable[[Foreground], bool]) -> Foreground:
        async with asyncio.timeout(10):
            while not ((job := await self.pty.foreground()) and is_it(job)):
                await asyncio.sleep(0.005)
            return job

    async def ended(self) -> Exit:
        await until(lambda: self.exits)
        return self.exits[0]


@contextmanager
def ignored(number: int) -> Iterator[None]:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.timeout(120)
async def test_t18_last_bytes_and_status_always_arrive() -> None:
    for _ in range(rounds(1000)):
        opened = Opened(BASH, "-c", "printf last; exit 7")

        assert await opened.ended() == Exit(7, None)
        assert opened.output == b"last"


async def test_a_long_last_output_is_whole_for_a_late_reader() -> None:
    opened = Opened(BASH, "-c", "head -c 200000 /dev/zero | tr '\\0' x; exit 3")
    opened.pty.pause()
    await asyncio.sleep(0.3)  # the writer fills the kernel's buffers meanwhile
    opened.pty.resume()

    assert await opened.ended() == Exit(3, None)
    assert opened.output.count(b"x") == 200000


async def test_output_left_behind_by_a_program_that_is_over_is_whole() -> None:
    opened = Opened(BASH, "-c", "head -c 3000 /dev/zero | tr '\\0' x; exit 3")
    opened.pty.pause()
    await until(lambda: opened.pty._exit)
    opened.pty.resume()

    assert await opened.ended() == Exit(3, None)
    assert opened.output.count(b"x") == 3000


async def test_a_death_by_signal_is_named() -> None:
    opened = Opened(BASH, "-c", "kill -KILL $$")

    assert await opened.ended() == Exit(None, "KILL")


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE", 0.2)


@pytest.mark.usefixtures("short_grace")
async def test_exit_does_not_wait_for_what_runs_in_the_background() -> None:
    opened = Opened(BASH, "-c", "trap '' HUP; sleep 30 & printf done; exit 0")

    assert await opened.ended() == Exit(0, None)
    assert opened.output == b"done"
    await opened.pty.close()


async def test_the_child_has_a_clean_slate() -> None:
    script = (
        "import os, signal, sys\n"
        "print(sorted(os.listdir('/proc/self/fd')), os.getsid(0) == os.getpid(),\n"
        "  os.tcgetpgrp(0) == os.getpgrp(), repr(signal.getsignal(signal.SIGHUP)),\n"
        "  repr(signal.getsignal(signal.SIGTERM)), signal.pthread_sigmask(0, []))\n"
    )
    with ignored(signal.SIGHUP):
        opened = Opened(sys.executable, "-c", script)
    await opened.ended()

    words = opened.output.decode()
    assert words.startswith("['0', '1', '2', '3'] True True"), words
    assert words.count("SIG_DFL") == 2
    assert words.rstrip().endswith("set()")


async def test_resize_reaches_the_program() -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    opened = Opened(BASH, "-c", script)
    await opened.saw(b"ready")

    opened.pty.resize(100, 31)

    await opened.saw(b"31 100")
    await opened.pty.close()


async def test_foreground_names_the_job_and_knows_the_shell() -> None:
    opened = Opened(BASH, "--norc", "-i", is_shell=True, PS1="ready$ ")
    await opened.saw(b"ready$ ")
    shell = await opened.pty.foreground()
    opened.pty.write(b"sleep 30\r")
    job = await opened.runs(lambda job: job.name == "sleep")
    await opened.pty.signal("INT")
    await opened.runs(lambda job: job.is_shell)

    assert shell is not None
    assert shell.is_shell
    assert shell.pid == opened.pty.pid
    assert not job.is_shell
    assert 0 <= job.since < 10
    await opened.pty.close()


async def test_a_program_that_does_not_read_has_its_input_refused_not_grown() -> None:
    opened = Opened(BASH, "-c", "stty raw -echo; echo ready; sleep 30")
    await opened.saw(b"ready")

    taken = 0
    for _ in range(100):
        taken += opened.pty.write(b"x" * 16384)

    assert taken * 16384 <= INPUT_BYTES + 128 * 1024
    assert not opened.pty.write(b"x" * 16384)
    await opened.pty.close()


@pytest.mark.usefixtures("short_grace")
async def test_close_leaves_no_process_that_refuses_to_go() -> None:
    script = "trap '' HUP TERM; (trap '' HUP TERM; sleep 60) & echo ready; sleep 60"
    opened = Opened(BASH, "-c", script)
    await opened.saw(b"ready")
    session = opened.pty.pid

    await opened.pty.close()

    assert opened.exits == [Exit(None, "KILL")]
    assert sessions_of(session) == []


async def test_close_of_a_stopped_program_ends_it() -> None:
    opened = Opened(BASH, "-c", "echo ready; kill -STOP $$; sleep 60")
    await opened.saw(b"ready")

    await opened.pty.close()

    assert len(opened.exits) == 1
    assert sessions_of(opened.pty.pid) == []


async def test_a_hundred_lives_leave_no_descriptor_behind() -> None:
    process = psutil.Process()
    before, children = process.num_fds(), set(process.children())
    for _ in range(30):
        opened = Opened("/bin/true")
        await opened.ended()

    assert process.num_fds() <= before
    assert set(process.children()) <= children


async def test_small_writes_are_gathered_and_the_first_leaves_at_once() -> None:
    opened = Opened(BASH, "-c", "for i in {1..2000}; do echo $i; done")
    await opened.ended()

    assert len(opened.reads) < 400
    assert opened.output.endswith(b"2000\r\n")


async def test_flush_hands_on_what_was_gathered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_io, "GATHER_SECONDS", 1e9)
    opened = Opened(BASH, "-c", "printf hello; sleep 60")
    await until(lambda: opened.pty._count == 5)
    before = bytes(opened.output)

    opened.pty.flush()
    opened.pty.flush()

    assert before == b""
    assert opened.reads == [5]
    await opened.pty.close()


async def test_freeze_stops_all_and_thaw_lets_go_on() -> None:
    script = "while :; do echo tick; sleep 0.02; done"
    opened = Opened(BASH, "-c", script)
    await opened.saw(b"tick")

    how = await opened.pty.freeze()
    states = [one.status() for one in processes_of(opened.pty.pid)]
    await opened.pty.thaw()
    before = len(opened.output)
    await until(lambda: len(opened.output) > before + 20)

    assert how == "signals"
    assert states
    assert set(states) <= {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    await opened.pty.close()


def processes_of(session: int) -> list[Any]:
    return [psutil.Process(pid) for pid in sessions_of(session)]


def sessions_of(session: int) -> list[int]:
    found = []
    for pid in psutil.pids():
        try:
            is_member = os.getsid(pid) == session
            if is_member and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


@pytest.mark.parametrize("name", ["no-such-program-anywhere", "/etc/passwd"])
async def test_what_cannot_be_started_is_an_error(name: str, tmp_path: Path) -> None:
    before = psutil.Process().num_fds()

    with pytest.raises(OSError, match=r"."):
        Opened(name)

    assert psutil.Process().num_fds() == before
