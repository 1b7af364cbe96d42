"""Terminals in real containers, over Podman's socket."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.containers import Podman, podman
from tests.integration.opened import Opened, opened
from tests.integration.worker_rooms import WorkerRooms, running_agent, until
from tests.rounds import rounds
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.providers import container, remote
from vibehq_nb.worker.providers.container import ContainerProcess, ContainerProvider
from vibehq_nb.worker.providers.port import Exit
from vibehq_nb.worker.providers.runtime import DOCKER, PODMAN, Kind, Runtime

__all__ = ["podman"]  # the fixture

pytestmark = pytest.mark.timeout(120)
Patch = pytest.MonkeyPatch
TICKS = "while :; do echo tick; sleep 0.01; done"


@pytest.fixture(scope="module")
def web(podman: Podman) -> Iterator[str]:
    """A container that runs."""
    podman.start("web-1")
    yield "web-1"
    podman.remove("web-1")


@pytest.fixture(params=[DOCKER, PODMAN], ids=["docker", "podman"])
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
async def provider(podman: Podman) -> AsyncIterator[ContainerProvider]:
    provider = provider_at(podman.url)
    yield provider
    await provider.close()


def provider_at(url: str, kind: Kind = PODMAN) -> ContainerProvider:
    return ContainerProvider(kind, Runtime(kind, {kind.variable: url}))


async def test_a_shell_answers_with_the_size_and_the_environment_it_was_given(
    provider: ContainerProvider, web: str
) -> None:
    shell = await opened(provider, web, size=(100, 31), cwd="/tmp")
    shell.process.write(b"stty size; pwd; echo $TERM,$VIBEHQ_TERMINAL,$((6*7))\r")

    await shell.saw(b"31 100\r\n/tmp\r\nxterm-256color,laptop:t,42\r\n")
    assert b"\x1e" not in shell.output
    await shell.process.close()


async def test_both_runtimes_are_spoken_to_alike(
    podman: Podman, web: str, kind: Kind
) -> None:
    provider = provider_at(podman.url, kind)
    assert provider.is_usable()

    program = await opened(provider, web, "echo", "hello")

    assert await program.ended() == Exit(0, None)
    assert program.output == b"hello\r\n"
    await provider.close()


async def test_t18_last_bytes_and_status_always_arrive(
    provider: ContainerProvider, web: str
) -> None:
    for _ in range(rounds(100)):
        program = await opened(provider, web, "sh", "-c", "printf last; exit 7")

        assert await program.ended() == Exit(7, None)
        assert program.output == b"last"


async def test_a_long_output_is_whole_for_a_reader_that_pauses(
    provider: ContainerProvider, web: str
) -> None:
    make = "head -c 4194304 /dev/urandom > /tmp/r"
    script = f"stty raw; {make}; cat /tmp/r; sha256sum < /tmp/r"
    program = await opened(provider, web, "sh", "-c", script)
    for _ in range(5):
        program.process.pause()
        await asyncio.sleep(0.1)  # what is between fills up
        before = len(program.output)
        program.process.resume()
        await until(lambda: len(program.output) > before or program.exits)  # noqa: B023

    assert await program.ended() == Exit(0, None)
    assert len(program.output) == (4 << 20) + 68
    digest = hashlib.sha256(program.output[: 4 << 20]).hexdigest()
    assert program.output[4 << 20 :].startswith(digest.encode())


async def test_resizes_reach_the_program_and_the_last_one_counts(
    provider: ContainerProvider, web: str
) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    program = await opened(provider, web, "sh", "-c", script)
    await program.saw(b"ready")

    for cols in range(100, 120):
        program.process.resize(cols, 31)

    await program.saw(b"31 119\r\n")
    await program.process.close()


async def test_the_foreground_job_is_named_and_gets_the_signals(
    provider: ContainerProvider, web: str
) -> None:
    shell = await opened(provider, web)
    at_prompt = await shell.runs(lambda job: job.is_shell)
    shell.process.write(b"sleep 300 | sleep 301\r")
    job = await shell.runs(lambda job: job.name == "sleep")
    await shell.process.signal("INT")
    again = await shell.runs(lambda job: job.is_shell)

    assert at_prompt.name == "sh"
    assert not job.is_shell
    assert 0 <= job.since < 30
    assert again.pid == at_prompt.pid
    await shell.process.close()


async def test_close_leaves_no_process_that_refuses_to_go(
    podman: Podman, provider: ContainerProvider, web: str
) -> None:
    script = "trap '' HUP TERM; (trap '' HUP TERM; sleep 777) & echo ready; sleep 778"
    program = await opened(provider, web, "sh", "-c", script)
    await program.saw(b"ready")

    await program.process.close()

    assert program.exits == [Exit(137, None)]
    assert podman.processes(web) == ["sleep 1000000"]


async def test_t17_no_byte_differs_after_the_runtimes_pause(
    provider: ContainerProvider, web: str
) -> None:
    script = "for i in $(seq 3000); do echo $i-the-same-line; done; exit 5"
    plain = await opened(provider, web, "sh", "-c", script)
    assert await plain.ended() == Exit(5, None)
    frozen = await opened(provider, web, "sh", "-c", script)
    hows = set()
    for _ in range(4):
        hows.add(await frozen.process.freeze())
        await asyncio.sleep(0.05)
        before = len(frozen.output)
        await asyncio.sleep(0.1)
        assert len(frozen.output) == before
        await frozen.process.thaw()

    assert await frozen.ended() == Exit(5, None)
    assert hows == {"pause"}
    assert digest(frozen) == digest(plain)


def digest(program: Opened) -> str:
    return hashlib.sha256(program.output).hexdigest()


def state(podman: Podman, name: str) -> str:
    return podman.command("inspect", "--format", "{{.State.Status}}", name)


async def test_a_container_goes_on_when_the_last_of_its_terminals_is_thawed(
    podman: Podman, provider: ContainerProvider, web: str
) -> None:
    one = await opened(provider, web, "sh", "-c", TICKS)
    two = await opened(provider, web, "sh", "-c", TICKS)
    await one.process.freeze()
    await two.process.freeze()
    await one.process.thaw()
    with pytest.raises(DeniedError, match="paused"):
        await one.process.signal("INT")
    with pytest.raises(DeniedError, match="paused"):
        await one.process.foreground()
    still = state(podman, web)
    await two.process.close()
    after = state(podman, web)

    assert (still, after) == ("paused", "running")
    await one.saw(b"tick")
    await one.process.close()


async def test_what_somebody_else_has_paused_stays_so_after_our_thaw(
    podman: Podman, provider: ContainerProvider, web: str
) -> None:
    job = await opened(provider, web, "sleep", "300")
    podman.command("pause", web)
    with pytest.raises(DeniedError):  # not: that nothing runs
        await job.process.foreground()
    how = await job.process.freeze()
    await job.process.thaw()
    after = state(podman, web)
    podman.command("unpause", web)
    seen = await job.process.foreground()
    await job.process.close()

    assert how == "pause"
    assert after == "paused"
    assert seen is not None


async def test_a_container_that_is_removed_ends_its_terminals(
    podman: Podman, provider: ContainerProvider
) -> None:
    podman.start("short")
    shell = await opened(provider, "short")
    podman.remove("short")

    ended = await shell.ended()
    await shell.process.close()

    assert ended in {Exit(137, None), Exit(129, None), Exit(None, "HUP")}
    assert len(shell.exits) == 1


async def test_a_worker_opens_freezes_and_thaws_a_containers_terminal(
    podman: Podman, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTAINER_HOST", podman.url)
    rooms = WorkerRooms()
    await rooms.start()
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn(target=f"podman:{web}", command=["sh", "-c", TICKS])
        hello = rooms.hellos[0]
        await room.saw(b"tick")
        frozen = await rooms.request("freeze", terminal="w")
        await room.type("x", 0, number=1)
        await until(lambda: room.of("input-ack"))
        still = room.head
        await rooms.request("thaw", terminal="w")
        await until(lambda: room.head > still)
        closed = await rooms.request("close", terminal="w")
    await rooms.stop()

    assert "podman" in hello["providers"]
    assert frozen["result"] == {"how": "pause"}
    assert [one.get("refused") for one in room.of("input-ack")] == ["frozen"]
    assert closed["type"] == "done"
    assert room.of("exited")
    assert podman.processes(web) == ["sleep 1000000"]


STUCK = "sleep 4242"


async def begun(podman: Podman, name: str) -> None:
    async with asyncio.timeout(30):
        while STUCK not in await asyncio.to_thread(podman.processes, name):
            await asyncio.sleep(0.05)


async def alone(podman: Podman, name: str) -> None:
    async with asyncio.timeout(30):
        while await asyncio.to_thread(podman.processes, name) != ["sleep 1000000"]:
            await asyncio.sleep(0.05)


async def test_a_shell_that_never_begins_is_ended(
    podman: Podman, provider: ContainerProvider, web: str, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(remote, "CONTAINER_SHELL", f"trap '' HUP; {STUCK}")
    monkeypatch.setattr(remote, "MARK_SECONDS", 0.5)

    with pytest.raises(DeniedError, match="does not begin"):
        await opened(provider, web)

    await alone(podman, web)


async def test_what_an_opening_that_is_cancelled_has_begun_is_ended(
    podman: Podman, provider: ContainerProvider, web: str, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(remote, "CONTAINER_SHELL", STUCK)
    opening = asyncio.create_task(opened(provider, web))
    await begun(podman, web)

    opening.cancel()

    await asyncio.wait([opening])
    assert opening.cancelled()
    await provider.close()  # it waits for that
    assert podman.processes(web) == ["sleep 1000000"]


async def test_a_command_whose_mark_was_not_read_in_time_is_ended(
    podman: Podman, provider: ContainerProvider, web: str, monkeypatch: Patch
) -> None:
    read_some, reads = ContainerProcess.read_some, []

    async def read_late(process: ContainerProcess) -> bytes:
        reads.append(process)
        if len(reads) == 1:
            await asyncio.Event().wait()
        return await read_some(process)

    monkeypatch.setattr(ContainerProcess, "read_some", read_late)
    opening = asyncio.create_task(opened(provider, web, *STUCK.split()))
    await begun(podman, web)

    opening.cancel()

    await asyncio.wait([opening])
    await alone(podman, web)


async def test_an_opening_that_is_cancelled_while_the_runtime_starts_it_leaves_nothing(
    podman: Podman, provider: ContainerProvider, web: str, monkeypatch: Patch
) -> None:
    attach, started, gate = container._attach, threading.Event(), threading.Event()

    def attach_late(*arguments: Any) -> container.Attached:
        attached = attach(*arguments)
        started.set()
        gate.wait(30)
        return attached

    monkeypatch.setattr(container, "_attach", attach_late)
    opening = asyncio.create_task(opened(provider, web, *STUCK.split()))
    await until(started.is_set, 30)
    opening.cancel()
    await asyncio.wait([opening])
    await begun(podman, web)

    gate.set()

    await alone(podman, web)


async def test_what_cannot_be_ended_is_logged(
    podman: Podman,
    provider: ContainerProvider,
    monkeypatch: Patch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(remote, "CONTAINER_SHELL", STUCK)
    podman.start("frozen")
    opening = asyncio.create_task(opened(provider, "frozen"))
    await begun(podman, "frozen")
    podman.command("pause", "frozen")

    opening.cancel()

    told = "what was begun in container frozen may run on: Podman refuses"
    await until(lambda: told in caplog.text, 30)
    podman.remove("frozen")


async def test_a_name_that_is_not_there_is_answered_with_the_nearest(
    podman: Podman, provider: ContainerProvider, web: str
) -> None:
    podman.start("db")

    with pytest.raises(DeniedError) as caught:
        await opened(provider, "web1")
    podman.remove("db")

    assert caught.value.code == "no-container"
    assert caught.value.reason == (
        'No container "web1" on worker laptop. Running: web-1, db.'
    )


@pytest.mark.parametrize(
    ("command", "cwd", "code", "sentence"),
    [
        (["vmi"], None, "no-command", 'There is no program "vmi" in container web-1.'),
        ([], "/nope", "no-folder", 'There is no folder "/nope" in container web-1.'),
        ([""], None, "no-command", "The command is empty."),
        (["a\0b"], None, "no-command", "The command holds a NUL character."),
    ],
)
async def test_what_cannot_be_started_is_one_sentence(
    provider: ContainerProvider,
    web: str,
    command: list[str],
    cwd: str | None,
    code: str,
    sentence: str,
) -> None:
    with pytest.raises(DeniedError) as caught:
        await opened(provider, web, *command, cwd=cwd)

    assert (caught.value.code, caught.value.reason) == (code, sentence)


@pytest.mark.parametrize("place", ["", "a b", "../x", "-x", "x\n"])
async def test_a_name_that_can_be_none_is_not_asked_for(place: str) -> None:
    with pytest.raises(DeniedError) as caught:
        await opened(provider_at("unix:///no/socket"), place)

    assert caught.value.reason == 'Name the container, as in "podman:web-1".'


async def test_a_container_that_does_not_run_says_what_to_do(
    podman: Podman, provider: ContainerProvider
) -> None:
    podman.start("over", "true")
    await until(lambda: "over" not in podman.command("ps"))
    with pytest.raises(DeniedError) as stopped:
        await opened(provider, "over")
    podman.start("held")
    podman.command("pause", "held")
    with pytest.raises(DeniedError) as paused:
        await opened(provider, "held")
    podman.remove("over", "held")

    assert stopped.value.reason == (
        "Container over is not running. Start it: podman start over."
    )
    assert paused.value.reason == (
        "Container held is paused. Let it go on: podman unpause held."
    )


async def test_a_container_without_a_shell_is_said(
    podman: Podman, provider: ContainerProvider
) -> None:
    podman.start("bare")
    podman.command("exec", "bare", "rm", "/bin/sh")

    with pytest.raises(DeniedError) as caught:
        await opened(provider, "bare")
    podman.remove("bare")

    assert caught.value.code in {"no-shell", "refused"}


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (
            "unix:///no/socket",
            "There is no socket of Podman here. Start it, or set CONTAINER_HOST.",
        ),
        (
            "tcp://127.0.0.1:1",
            "Podman does not answer at its socket. Start it, or set CONTAINER_HOST.",
        ),
        (
            "ssh://ana@host/x",
            "CONTAINER_HOST has to begin with unix:// or tcp://.",
        ),
    ],
)
async def test_a_runtime_that_is_gone_is_one_sentence(
    address: str, sentence: str
) -> None:
    provider = provider_at(address)

    with pytest.raises(DeniedError) as caught:
        await opened(provider, "web-1")

    assert (caught.value.code, caught.value.reason) == ("no-runtime", sentence)
    await provider.close()


@pytest.mark.timeout(300)
async def test_openings_and_closings_leave_no_descriptor_and_no_process(
    podman: Podman, web: str
) -> None:
    me = psutil.Process()
    before = me.num_fds(), len(asyncio.all_tasks())
    provider = provider_at(podman.url)

    for _ in range(rounds(100)):
        shell = await opened(provider, web)
        await shell.process.close()
        with pytest.raises(DeniedError):
            await opened(provider, web, "vmi")
    await provider.close()

    assert (me.num_fds(), len(asyncio.all_tasks())) == before
    assert podman.processes(web) == ["sleep 1000000"]
