"""Terminals on a host over SSH: a real sshd, the settings of a real client."""

import asyncio
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.opened import opened
from tests.integration.worker_rooms import WorkerRooms, running_agent, until
from tests.rounds import rounds
from tests.ssh_server import Sshd, running_sshd, sshd
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker import processes
from vibehq_nb.worker.process_io import INPUT_BYTES
from vibehq_nb.worker.providers import remote
from vibehq_nb.worker.providers.port import Exit
from vibehq_nb.worker.providers.ssh import SshProvider

__all__ = ["sshd"]  # the fixture

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("home")]
TICKS = "while :; do echo tick; sleep 0.01; done"


@pytest.fixture
def home(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HOME", str(sshd.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    yield sshd.home
    sshd.know("host_key")


@pytest.fixture
def provider() -> SshProvider:
    return SshProvider()


@pytest.mark.parametrize("host", ["web-1", "behind"])
async def test_a_shell_answers_with_the_size_and_the_environment_it_was_given(
    provider: SshProvider, host: str
) -> None:
    shell = await opened(provider, host, size=(100, 31), cwd="/tmp")
    shell.process.write(b"stty size; pwd; echo $TERM,$VIBEHQ_TERMINAL,$((6*7))\r")

    await shell.saw(b"31 100\r\n/tmp\r\n")
    await shell.saw(b"xterm-256color,laptop:t,42\r\n")
    assert b"\x1e" not in shell.output
    await shell.process.close()


async def test_t18_last_bytes_and_status_always_arrive(provider: SshProvider) -> None:
    for _ in range(rounds(200)):
        program = await opened(provider, "web-1", "sh", "-c", "printf last; exit 7")

        assert await program.ended() == Exit(7, None)
        assert program.output == b"last"


async def test_a_death_by_signal_is_named(provider: SshProvider) -> None:
    program = await opened(provider, "web-1", "sh", "-c", "kill -TERM $$")

    assert await program.ended() == Exit(None, "TERM")


async def test_a_long_output_is_whole_for_a_reader_that_pauses(
    provider: SshProvider,
) -> None:
    script = (
        "import os, sys, tty, hashlib; tty.setraw(1); data = os.urandom(4 << 20)\n"
        "sys.stdout.buffer.write(data + hashlib.sha256(data).digest())"
    )
    program = await opened(provider, "web-1", sys.executable, "-c", script)
    for _ in range(5):
        program.process.pause()
        await asyncio.sleep(0.05)
        before = len(program.output)
        program.process.resume()
        await until(lambda: len(program.output) > before or program.exits)  # noqa: B023

    assert await program.ended() == Exit(0, None)
    assert len(program.output) == (4 << 20) + 32
    assert hashlib.sha256(program.output[:-32]).digest() == program.output[-32:]


async def test_a_program_that_does_not_read_has_its_input_refused_not_grown(
    provider: SshProvider,
) -> None:
    script = "stty raw -echo; echo ready; sleep 60"
    program = await opened(provider, "web-1", "bash", "-c", script)
    await program.saw(b"ready")

    taken = 0
    while program.process.write(b"x" * 65536):
        taken += 65536
        await asyncio.sleep(0)
        assert taken < 16 * 2**20

    assert program.process._channel.get_write_buffer_size() <= INPUT_BYTES  # type: ignore[attr-defined]
    await program.process.close()


async def test_resize_reaches_the_program(provider: SshProvider) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    program = await opened(provider, "web-1", "bash", "-c", script)
    await program.saw(b"ready")

    program.process.resize(119, 31)

    await program.saw(b"31 119\r\n")
    await program.process.close()


async def test_the_foreground_job_is_named_and_gets_the_signals(
    provider: SshProvider,
) -> None:
    shell = await opened(provider, "web-1")
    at_prompt = await shell.runs(lambda job: job.is_shell)
    shell.process.write(b"sleep 300 | sleep 301\r")
    job = await shell.runs(lambda job: job.name == "sleep")
    await shell.process.signal("INT")
    again = await shell.runs(lambda job: job.is_shell)

    assert not job.is_shell
    assert 0 <= job.since < 30
    assert again.pid == at_prompt.pid
    await shell.process.close()


async def test_close_leaves_no_process_that_refuses_to_go(
    provider: SshProvider,
) -> None:
    script = "trap '' HUP TERM; (trap '' HUP TERM; sleep 60) & echo pid $$.; sleep 60"
    program = await opened(provider, "web-1", "bash", "-c", script)
    await program.saw(b".\r\n")
    session = int(program.output.partition(b"pid ")[2].partition(b".")[0])
    before = processes.members(session)

    await program.process.close()

    assert len(before) >= 2
    # What is killed goes when the kernel gets to it.
    await until(lambda: processes.members(session) == [])
    assert program.exits == [Exit(None, "KILL")]


async def test_freeze_only_refuses_keys_and_says_so(sshd: Sshd, tmp_path: Path) -> None:
    rooms = WorkerRooms()
    await rooms.start()
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn(target="ssh:web-1", command=["bash", "-c", TICKS])
        hello = rooms.hellos[0]
        frozen = await rooms.request("freeze", terminal="w")
        await room.type("x", 0, number=1)
        await until(lambda: room.of("input-ack"))
        await rooms.request("thaw", terminal="w")
        await room.type("x", 0, number=2)
        await until(lambda: len(room.of("input-ack")) == 2)
    await rooms.stop()

    assert "ssh" in hello["providers"]
    assert frozen["result"] == {"how": "degraded"}
    assert [one.get("refused") for one in room.of("input-ack")] == ["frozen", None]


UNKNOWN = (
    "The key of host {} is not the one in known_hosts, or none is there. "
    "Look at it, and log in once with: ssh {}"
)


@pytest.mark.parametrize("known", ["other_key", None])
async def test_a_host_key_that_is_not_known_is_refused(
    sshd: Sshd, provider: SshProvider, known: str | None
) -> None:
    sshd.know(known)

    with pytest.raises(DeniedError) as caught:
        await opened(provider, "web-1")

    assert caught.value.code == "unknown-host-key"
    assert caught.value.reason == UNKNOWN.format("web-1", "web-1")


async def test_settings_cannot_switch_the_check_of_host_keys_off(
    sshd: Sshd, provider: SshProvider
) -> None:
    sshd.know(None)

    with pytest.raises(DeniedError) as caught:
        await opened(provider, "careless")

    assert caught.value.code == "unknown-host-key"


@pytest.mark.parametrize(
    ("place", "code", "sentence"),
    [
        (
            "stranger",
            "no-login",
            "Host stranger takes none of our keys. Put one into its authorized_keys, "
            "or name it in ~/.ssh/config (IdentityFile, User).",
        ),
        ("closed", "no-host", "Host closed cannot be reached: connection refused."),
        (
            "web1.invalid",
            "no-host",
            'No host "web1.invalid" for worker laptop. In ~/.ssh/config: web-1, '
            "behind, closed, careless, db, stranger.",
        ),
        ("", "no-host", 'Name the host, as in "ssh:web-1".'),
        ("-oProxyCommand=x", "no-host", 'Name the host, as in "ssh:web-1".'),
        ("a b", "no-host", 'Name the host, as in "ssh:web-1".'),
    ],
)
async def test_what_cannot_be_reached_is_one_sentence(
    provider: SshProvider, place: str, code: str, sentence: str
) -> None:
    with pytest.raises(DeniedError) as caught:
        await opened(provider, place)

    assert (caught.value.code, caught.value.reason) == (code, sentence)


@pytest.mark.parametrize(
    ("command", "cwd", "code", "sentence"),
    [
        (["vmi"], None, "no-command", 'There is no program "vmi" on host web-1.'),
        ([], "/nope", "no-folder", 'There is no folder "/nope" on host web-1.'),
        ([""], None, "no-command", "The command is empty."),
    ],
)
async def test_what_cannot_be_started_is_one_sentence(
    provider: SshProvider, command: list[str], cwd: str | None, code: str, sentence: str
) -> None:
    with pytest.raises(DeniedError) as caught:
        await opened(provider, "web-1", *command, cwd=cwd)

    assert (caught.value.code, caught.value.reason) == (code, sentence)


async def test_settings_that_cannot_be_read_are_said(
    home: Path, provider: SshProvider
) -> None:
    config = home / ".ssh" / "config"
    good = config.read_text()
    config.write_text(good + "\nHost x\n  Port many\n")
    try:
        with pytest.raises(DeniedError) as caught:
            await opened(provider, "x")
    finally:
        config.write_text(good)

    assert caught.value.reason == (
        "~/.ssh/config, or a key that it names, cannot be read."
    )


@pytest.mark.parametrize("end", ["time is over", "a cancellation"])
async def test_what_an_opening_that_fails_has_begun_is_hung_up(
    provider: SshProvider, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    def begun() -> list[int]:
        found = psutil.process_iter(["cmdline"])
        return [one.pid for one in found if one.info["cmdline"] == ["sleep", "4243"]]

    monkeypatch.setattr(remote, "LOGIN_SHELL", "sleep 4243")
    if end == "time is over":
        monkeypatch.setattr(remote, "MARK_SECONDS", 1.0)
    opening = asyncio.create_task(opened(provider, "web-1"))
    await until(begun)
    if end == "a cancellation":
        opening.cancel()

    await asyncio.wait([opening])
    await until(lambda: not begun())

    assert opening.cancelled() or isinstance(opening.exception(), DeniedError)


async def test_a_server_that_is_killed_hangs_its_terminals_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: SshProvider
) -> None:
    with running_sshd(tmp_path) as server:
        monkeypatch.setenv("HOME", str(server.home))
        shell = await opened(provider, "web-1")
        job = await shell.runs(lambda job: job.is_shell)
        for one in psutil.Process(job.pid).parents():
            if one.name().startswith("sshd"):
                one.kill()

        ended = await shell.ended()
        with pytest.raises(DeniedError, match="does not answer"):
            await shell.process.foreground()
        with pytest.raises(DeniedError, match="does not answer"):
            await shell.process.signal("INT")
        await shell.process.close()

    assert ended == Exit(None, "HUP")
    assert not shell.process.write(b"x")


async def test_openings_and_closings_leave_nothing_behind(
    provider: SshProvider,
) -> None:
    async def cycle() -> None:
        shell = await opened(provider, "behind")
        await shell.process.close()
        with pytest.raises(DeniedError):
            await opened(provider, "web-1", "vmi")

    await cycle()
    me = psutil.Process()
    before = me.num_fds(), len(asyncio.all_tasks())
    for _ in range(rounds(100)):
        await cycle()
    await until(lambda: (me.num_fds(), len(asyncio.all_tasks())) <= before)
