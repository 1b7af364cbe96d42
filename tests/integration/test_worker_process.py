"""The worker as a process: ``python -m vibehq_nb.worker``."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from tests.integration.worker_rooms import KEY, WorkerRooms, until, write_endpoint

Process = asyncio.subprocess.Process


@pytest.fixture
async def rooms() -> AsyncIterator[WorkerRooms]:
    rooms = WorkerRooms()
    await rooms.start()
    yield rooms
    await rooms.stop()


@asynccontextmanager
async def worker(*arguments: str, **env: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "vibehq_nb.worker", *arguments),
        env={**os.environ, "XDG_DATA_HOME": "/proc/x", "SHELL": "/bin/bash", **env},
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def stdin_of(pid: int) -> str:
    return str(Path(f"/proc/{pid}/fd/0").readlink())


def living(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except psutil.NoSuchProcess:
            continue
    return found


async def pids_of(room_output: Callable[[], bytes], count: int) -> list[int]:
    await until(lambda: room_output().count(b"pid=") >= count)
    lines = room_output().split(b"\r\n")
    return [int(line[4:]) for line in lines if line.startswith(b"pid=")]


async def test_a_second_worker_leaves_at_once(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    write_endpoint(rooms, tmp_path)
    async with worker("--data", str(tmp_path), "--id", "one"):
        await until(lambda: rooms.hellos)
        async with worker("--data", str(tmp_path), "--id", "two") as second:
            _out, said = await second.communicate()

    assert second.returncode == 0
    assert said.decode() == f"A worker holds {tmp_path} already.\n"
    assert [one["worker"] for one in rooms.hellos] == ["one"]


async def test_sigterm_leaves_no_orphan_and_ends_well(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    write_endpoint(rooms, tmp_path)
    script = "echo pid=$$; sleep 60 & echo pid=$!; wait"
    async with worker("--data", str(tmp_path), "--id", "w") as process:
        room = await rooms.spawn(command=["bash", "-c", script])
        pids = await pids_of(lambda: bytes(room.output), 2)
        assert living(pids) == pids
        process.send_signal(signal.SIGTERM)
        code = await process.wait()

    assert code == 0
    assert living(pids) == []
    assert room.of("exited")[0]["signal"] == "HUP"


async def test_the_worker_outlives_its_caller_and_leaks_no_secret(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with worker(
        "--url", rooms.url, "--id", "w", VIBEHQ_WORKER_KEY=KEY, VIBEHQ_TOKEN="t0ken"
    ) as process:
        room = await rooms.spawn(command=["sh", "-c", "env; echo end-of-env; cat"])
        await room.saw(b"end-of-env")
        session = os.getsid(process.pid)
        stdin = stdin_of(process.pid)

    env = dict(
        line.split("=", 1) for line in room.output.decode().split("\r\n") if "=" in line
    )
    assert session == process.pid
    assert stdin == os.devnull
    assert KEY.encode() not in room.output
    assert b"t0ken" not in room.output
    assert env["TERM"] == "xterm-256color"
    assert env["COLORTERM"] == "truecolor"
    assert env["VIBEHQ_TERMINAL"] == "w"
    assert env["LANG"]


async def test_it_finds_a_server_that_moved_and_changed_its_key(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    text = json.dumps({"url": "http://127.0.0.1:9", "worker_key": "old"})
    (tmp_path / "endpoint.json").write_text(text)
    async with worker("--data", str(tmp_path), "--id", "w") as process:
        assert process.stderr is not None
        while b"cannot be reached" not in await process.stderr.readline():
            pass
        write_endpoint(rooms, tmp_path)
        await until(lambda: rooms.hellos)


async def test_it_leaves_when_no_server_is_there_and_nothing_runs(
    tmp_path: Path,
) -> None:
    async with worker("--data", str(tmp_path), "--idle-seconds", "0.2") as process:
        async with asyncio.timeout(10):
            code = await process.wait()

    assert code == 0


async def test_it_stays_without_a_server_while_a_job_runs(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    write_endpoint(rooms, tmp_path)
    options = ("--data", str(tmp_path), "--id", "w", "--idle-seconds", "0.2")
    async with worker(*options) as process:
        await rooms.spawn(command=["bash", "-c", "sleep 2"])
        rooms.die()
        begun = asyncio.get_running_loop().time()
        async with asyncio.timeout(10):
            await process.wait()
        stayed = asyncio.get_running_loop().time() - begun

    assert stayed > 1.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Say where the server is: --data DIR or --url URL.\n"),
        (("--url", "http://x"), "--url needs a join token in VIBEHQ_JOIN (from "),
        (("--url", "hq.example"), "'hq.example' is no server address."),
        (("--data", "/proc/nothing"), "/proc/nothing/worker.lock cannot be used: "),
    ],
)
async def test_a_wrong_call_is_one_sentence(
    arguments: tuple[str, ...], sentence: str
) -> None:
    async with worker(*arguments) as process:
        _out, said = await process.communicate()

    assert process.returncode == 2
    assert said.decode().startswith(sentence)
    assert said.count(b"\n") == 1


async def test_a_fenced_worker_says_so_by_its_exit_code(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    write_endpoint(rooms, tmp_path)
    async with worker("--data", str(tmp_path), "--id", "w") as process:
        await until(lambda: rooms.control is not None)
        assert rooms.control is not None
        await rooms.control.close(4509, "replaced")
        async with asyncio.timeout(10):
            code = await process.wait()

        assert code == 4
