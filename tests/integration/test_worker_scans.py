"""A worker's scans: a child each, and exactly one end."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.worker_rooms import WorkerRooms, running_agent, until

PREAMBLE = """
import json, os, signal, sys, time
def say(kind, **fields):
    line = json.dumps({"type": kind, "scan_id": sys.argv[2], **fields})
    print(line, flush=True)
def result():
    say("scan-result", processed_logs=1, started_at="a", completed_at="b",
        coverage=[], findings=[])
"""


@pytest.fixture
async def rooms() -> AsyncIterator[WorkerRooms]:
    rooms = WorkerRooms()
    await rooms.start()
    yield rooms
    await rooms.stop()


def scanner(script: str) -> dict[str, Any]:
    return {"scanner": [sys.executable, "-c", PREAMBLE + script]}


async def scan(rooms: WorkerRooms, **fields: Any) -> None:
    answer = await rooms.request("scan", scan_id="s-1", scope="full", **fields)
    assert answer["type"] == "done"


def ends(rooms: WorkerRooms) -> list[dict[str, Any]]:
    return [one for one in rooms.reports if one["type"] != "scan-progress"]


async def test_progress_and_one_result_arrive(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    script = "say('scan-progress', processed=1, total=2, phase='disk'); result()"
    async with running_agent(rooms, tmp_path, **scanner(script)):
        await scan(rooms)
        await until(lambda: ends(rooms))

    assert [one["type"] for one in rooms.reports] == ["scan-progress", "scan-result"]
    assert {one["scan_id"] for one in rooms.reports} == {"s-1"}


async def test_the_real_scanner_ends_well(rooms: WorkerRooms, tmp_path: Path) -> None:
    async with running_agent(rooms, tmp_path, state=tmp_path / "state.json"):
        await scan(rooms, kinds=["disk"], filters={}, deadline=20)
        await until(lambda: ends(rooms), 25)

    assert [one["type"] for one in ends(rooms)] == ["scan-result"], ends(rooms)


@pytest.mark.parametrize(
    "script",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "sys.exit(3)",
        "print('no json', flush=True); sys.exit(0)",
        "say('scan-progress', processed=1, total=2, phase='x'); os.abort()",
    ],
)
async def test_a_child_that_dies_is_one_crash(
    rooms: WorkerRooms, tmp_path: Path, script: str
) -> None:
    async with running_agent(rooms, tmp_path, **scanner(script)):
        await scan(rooms)
        await until(lambda: ends(rooms))

    assert [(one["type"], one["code"]) for one in ends(rooms)] == [
        ("scan-failed", "crashed")
    ]


async def test_a_second_end_of_a_child_is_not_heard(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path, **scanner("result(); result()")):
        await scan(rooms)
        await until(lambda: ends(rooms))
        await scan(rooms)
        await until(lambda: len(ends(rooms)) == 2)

    assert [one["type"] for one in ends(rooms)] == ["scan-result"] * 2


@pytest.mark.parametrize(
    "findings",
    [
        "[{'pad': '\u4e2d' * 1700} for _ in range(500)]",
        "[{'pad': [1e9] * 250_000}]",  # a short line that grows when it is sent
    ],
)
async def test_a_result_too_big_for_the_link_fails_and_the_link_stays(
    rooms: WorkerRooms, tmp_path: Path, findings: str
) -> None:
    script = f"""
line = json.dumps({{"type": "scan-result", "scan_id": sys.argv[2],
    "processed_logs": 1, "started_at": "a", "completed_at": "b", "coverage": [],
    "findings": {findings}}}, ensure_ascii=False)
print(line.replace("1000000000.0", "1e9"), flush=True)
"""
    async with running_agent(rooms, tmp_path, **scanner(script)):
        await scan(rooms)
        await until(lambda: ends(rooms))
        await rooms.request("inspect", terminal="nobody")

    assert len(rooms.hellos) == 1
    (end,) = ends(rooms)
    assert (end["type"], end["code"]) == ("scan-failed", "too-big")
    assert end["message"] == (
        "Its result is over 1.5 MiB; scan fewer logs or with stricter filters."
    )


async def test_cancel_and_deadline_end_a_scan(
    rooms: WorkerRooms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vibehq_nb.worker.scans.GRACE", 0.3)
    script = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
    script += "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    async with running_agent(rooms, tmp_path, **scanner(script)):
        await scan(rooms)
        await until((tmp_path / "pid").exists)
        await rooms.request("cancel", scan_id="s-1")
        await until(lambda: ends(rooms))
        await scan(rooms, deadline=0.1)
        await until(lambda: len(ends(rooms)) == 2)
        pid = int((tmp_path / "pid").read_text())

    assert [one["code"] for one in ends(rooms)] == ["cancelled", "timeout"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_an_end_while_the_server_is_away_comes_when_it_is_back_once(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    script = f"""
while not os.path.exists({str(tmp_path / "go")!r}): time.sleep(0.01)
result()
"""
    async with running_agent(rooms, tmp_path, **scanner(script)) as agent:
        await scan(rooms)
        rooms.die()
        await until(lambda: not agent.is_linked)
        (tmp_path / "go").touch()
        await until(lambda: not agent.is_scanning)
        await rooms.start()
        await until(lambda: ends(rooms))
        rooms.die()
        await rooms.start()
        await until(lambda: len(rooms.hellos) == 3)
        await rooms.request("inspect", terminal="nobody")

    assert len(ends(rooms)) == 1
