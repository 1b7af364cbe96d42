"""Terminals in pods, over the frames that Kubernetes speaks."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.cluster_server import TOKEN, ClusterServer, running_cluster
from tests.integration.opened import opened
from tests.integration.worker_rooms import WorkerRooms, running_agent, until
from tests.rounds import rounds
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker import processes
from vibehq_nb.worker.providers import remote
from vibehq_nb.worker.providers.k8s import PodProvider, exit_of
from vibehq_nb.worker.providers.port import Exit

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ClusterServer]:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    async with running_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
async def provider(cluster: ClusterServer) -> AsyncIterator[PodProvider]:
    provider = PodProvider()
    yield provider
    await provider.close()


async def test_a_shell_answers_with_the_size_and_the_environment_it_was_given(
    provider: PodProvider, cluster: ClusterServer
) -> None:
    shell = await opened(provider, "prod/web-1/sidecar", size=(100, 31), cwd="/tmp")
    shell.process.write(b"stty size; pwd; echo $TERM,$VIBEHQ_TERMINAL,$((6*7))\r")

    await shell.saw(b"31 100\r\n/tmp\r\n")
    await shell.saw(b"xterm-256color,laptop:t,42\r\n")
    assert cluster.asked[0]["container"] == ["sidecar"]
    await shell.process.close()


async def test_t18_last_bytes_and_status_always_arrive(
    provider: PodProvider, cluster: ClusterServer
) -> None:
    for _ in range(rounds(200)):
        program = await opened(provider, "prod/db", "sh", "-c", "printf last; exit 7")

        assert await program.ended() == Exit(7, None)
        assert program.output == b"last"
    assert cluster.asked[0]["container"] == ["postgres"]


async def test_a_long_output_is_whole_for_a_reader_that_pauses(
    provider: PodProvider,
) -> None:
    script = (
        "import os, sys, tty, hashlib; tty.setraw(1); data = os.urandom(4 << 20)\n"
        "sys.stdout.buffer.write(data + hashlib.sha256(data).digest())"
    )
    program = await opened(provider, "prod/web-1", sys.executable, "-c", script)
    for _ in range(5):
        program.process.pause()
        await asyncio.sleep(0.05)
        before = len(program.output)
        program.process.resume()
        await until(lambda: len(program.output) > before or program.exits)  # noqa: B023

    assert await program.ended() == Exit(0, None)
    assert len(program.output) == (4 << 20) + 32
    assert hashlib.sha256(program.output[:-32]).digest() == program.output[-32:]


async def test_resize_reaches_the_program(
    provider: PodProvider, cluster: ClusterServer
) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    program = await opened(provider, "prod/web-1", "bash", "-c", script)
    await program.saw(b"ready")

    program.process.resize(119, 31)

    await program.saw(b"31 119\r\n")
    assert cluster.sizes[-1] == {"Width": 119, "Height": 31}
    await program.process.close()


async def test_the_foreground_job_is_named_and_gets_the_signals(
    provider: PodProvider,
) -> None:
    shell = await opened(provider, "prod/web-1")
    at_prompt = await shell.runs(lambda job: job.is_shell)
    shell.process.write(b"sleep 300 | sleep 301\r")
    job = await shell.runs(lambda job: job.name == "sleep")
    await shell.process.signal("INT")
    again = await shell.runs(lambda job: job.is_shell)

    assert not job.is_shell
    assert again.pid == at_prompt.pid
    await shell.process.close()


async def test_a_job_that_the_cluster_does_not_tell_is_not_taken_for_none(
    provider: PodProvider, cluster: ClusterServer
) -> None:
    shell = await opened(provider, "prod/web-1", "cat")
    cluster.token = "another"
    with pytest.raises(DeniedError, match="does not know our login"):
        await shell.process.foreground()
    cluster.token = TOKEN
    job = await shell.process.foreground()

    assert job is not None
    assert job.name == "cat"
    await shell.process.close()


async def test_a_worker_does_not_stop_over_a_job_that_nobody_tells(
    cluster: ClusterServer, tmp_path: Path
) -> None:
    rooms = WorkerRooms()
    await rooms.start()
    async with running_agent(rooms, tmp_path) as agent:
        await rooms.spawn(target="k8s:prod/web-1", command=["sleep", "60"])
        cluster.token = "another"
        seen = await rooms.request("inspect", terminal="w")
        refused = await rooms.request("stop")
        cluster.token = TOKEN
        was_told = agent.lifetime.is_told_to_stop
    await rooms.stop()

    assert seen["result"]["foreground"] is None
    assert seen["result"]["unknown"] == "refused"
    assert refused["code"] == "still-running"
    assert refused["message"] == "w: what runs there is not known."
    assert not was_told


async def test_close_leaves_no_process_that_refuses_to_go(
    provider: PodProvider,
) -> None:
    script = "trap '' HUP TERM; (trap '' HUP TERM; sleep 60) & echo pid $$.; sleep 60"
    program = await opened(provider, "prod/web-1", "bash", "-c", script)
    await program.saw(b".\r\n")
    session = int(program.output.partition(b"pid ")[2].partition(b".")[0])

    await program.process.close()

    assert processes.members(session) == []
    assert program.exits == [Exit(137, None)]
    assert not program.process.write(b"x")


async def test_a_program_that_does_not_read_has_its_input_refused_not_grown(
    provider: PodProvider,
) -> None:
    script = "stty raw -echo; echo ready; sleep 60"
    program = await opened(provider, "prod/web-1", "bash", "-c", script)
    await program.saw(b"ready")

    taken = 0
    while program.process.write(b"x" * 65536):
        taken += 65536
        await asyncio.sleep(0)
        assert taken < 16 * 2**20

    await program.process.close()


async def test_a_worker_freezes_keys_only_and_says_so(
    cluster: ClusterServer, tmp_path: Path
) -> None:
    rooms = WorkerRooms()
    await rooms.start()
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn(target="k8s:prod/web-1", command=["cat"])
        hello = rooms.hellos[0]
        frozen = await rooms.request("freeze", terminal="w")
        await room.type("x", 0, number=1)
        await until(lambda: room.of("input-ack"))
        await rooms.request("thaw", terminal="w")
    await rooms.stop()

    assert "k8s" in hello["providers"]
    assert frozen["result"] == {"how": "degraded"}
    assert room.of("input-ack")[0]["refused"] == "frozen"


@pytest.mark.parametrize(
    ("place", "code", "sentence"),
    [
        (
            "prod/web1",
            "no-pod",
            'No pod "web1" in namespace prod for worker laptop. Running: web-1, db.',
        ),
        (
            "dev/web-1",
            "no-pod",
            'No pod "web-1" in namespace dev for worker laptop. Running: none.',
        ),
        (
            "prod/web-1/ngnix",
            "no-container",
            'No container "ngnix" in pod web-1. There: nginx, sidecar.',
        ),
        ("prod/job", "not-running", "Pod job is pending, not running."),
        ("web-1", "no-pod", 'Name namespace and pod, as in "k8s:default/web-1".'),
        ("a/../b", "no-pod", 'Name namespace and pod, as in "k8s:default/web-1".'),
    ],
)
async def test_what_is_not_there_is_one_sentence(
    provider: PodProvider, place: str, code: str, sentence: str
) -> None:
    with pytest.raises(DeniedError) as caught:
        await opened(provider, place)

    assert (caught.value.code, caught.value.reason) == (code, sentence)


@pytest.mark.parametrize(
    ("command", "cwd", "sentence"),
    [
        (["vmi"], None, 'There is no program "vmi" in pod web-1.'),
        ([], "/nope", 'There is no folder "/nope" in pod web-1.'),
    ],
)
async def test_what_cannot_be_started_is_one_sentence(
    provider: PodProvider, command: list[str], cwd: str | None, sentence: str
) -> None:
    with pytest.raises(DeniedError) as caught:
        await opened(provider, "prod/web-1", *command, cwd=cwd)

    assert caught.value.reason == sentence


async def test_a_login_that_is_not_known_is_said_and_not_shown(
    provider: PodProvider, cluster: ClusterServer
) -> None:
    cluster.token = "another"

    with pytest.raises(DeniedError) as caught:
        await opened(provider, "prod/web-1")

    assert caught.value.reason == (
        "The cluster does not know our login. Log in to it again."
    )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (None, "There is no usable ~/.kube/config here. Set KUBECONFIG."),
        ("kind: Config\n", "There is no usable ~/.kube/config here. Set KUBECONFIG."),
        ("http://127.0.0.1:1", "The cluster does not answer."),
    ],
)
async def test_a_cluster_that_is_not_there_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: str | None,
    sentence: str,
) -> None:
    from tests.cluster_server import KUBECONFIG

    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))
    if settings is not None:
        is_url = settings.startswith("http")
        path.write_text(
            KUBECONFIG.format(url=settings, token="x") if is_url else settings
        )
    provider = PodProvider()

    with pytest.raises(DeniedError) as caught:
        await opened(provider, "prod/web-1")

    assert caught.value.reason == sentence
    await provider.close()


async def test_a_link_that_is_cut_hangs_the_terminal_up(
    provider: PodProvider, cluster: ClusterServer
) -> None:
    shell = await opened(provider, "prod/web-1")
    for connection in list(cluster.server.connections):
        connection.transport.abort()

    assert await shell.ended() == Exit(None, "HUP")
    await shell.process.close()


@pytest.mark.parametrize("end", ["time is over", "a cancellation", "a cut link"])
async def test_what_an_opening_that_fails_has_begun_is_ended(
    provider: PodProvider,
    cluster: ClusterServer,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    cluster.hangs_up = False
    monkeypatch.setattr(remote, "CONTAINER_SHELL", "trap '' HUP; sleep 60")
    if end == "time is over":
        monkeypatch.setattr(remote, "MARK_SECONDS", 1.0)
    opening = asyncio.create_task(opened(provider, "prod/web-1"))
    session = await until(lambda: cluster.sessions and cluster.sessions[0])
    if end == "a cancellation":
        opening.cancel()
    elif end == "a cut link":
        for connection in list(cluster.server.connections):
            connection.transport.abort()

    await asyncio.wait([opening])
    begun = processes.members(session)
    await provider.close()  # it waits for that

    assert opening.cancelled() or isinstance(opening.exception(), DeniedError)
    assert session in begun
    assert processes.members(session) == []


@pytest.mark.parametrize(
    ("frame", "ended"),
    [
        (b'{"status": "Success"}', Exit(0, None)),
        (
            b'{"status": "Failure", "details": '
            b'{"causes": [{"reason": "ExitCode", "message": "3"}]}}',
            Exit(3, None),
        ),
        (b'{"status": "Failure", "reason": "InternalError"}', None),
        (b'{"status": "Failure", "details": {"causes": []}}', None),
        (b"[]", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_a_status_frame_tells_the_exit_or_nothing(
    frame: bytes, ended: Exit | None
) -> None:
    assert exit_of(frame) == ended


async def test_openings_and_closings_leave_nothing_behind(
    provider: PodProvider,
) -> None:
    async def cycle() -> None:
        shell = await opened(provider, "prod/web-1")
        await shell.process.close()
        with pytest.raises(DeniedError):
            await opened(provider, "prod/web-1", "vmi")

    for _ in range(3):
        await cycle()
    me = psutil.Process()
    before = me.num_fds(), len(asyncio.all_tasks())
    for _ in range(rounds(100)):
        await cycle()
    await until(lambda: (me.num_fds(), len(asyncio.all_tasks())) <= before)
