"""A worker over real sockets with real shells: what the rooms can rely on."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.worker_rooms import WorkerRooms, running_agent, until


@pytest.fixture
async def rooms() -> AsyncIterator[WorkerRooms]:
    rooms = WorkerRooms()
    await rooms.start()
    yield rooms
    await rooms.stop()


async def test_hello_names_the_worker(rooms: WorkerRooms, tmp_path: Path) -> None:
    async with running_agent(rooms, tmp_path):
        hello = await until(lambda: rooms.hellos and rooms.hellos[0])

    assert hello["type"] == "worker-hello"
    assert hello["worker"] == "w"
    assert hello["providers"] == ["local"]
    assert hello["terminals"] == []


async def test_a_shell_answers_and_a_keyframe_shows_it(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn()
        count = await room.type("echo $((6*7))-here\r", 0)
        end = await room.saw(b"42-here")
        await until(lambda: room.input_acks.get("ana/c") == count)
        snapshot, frame = await room.keyframe()

    assert snapshot["offset"] >= end
    assert b"42-here" in frame
    assert frame.startswith(b"\x1bc")


async def test_four_random_mebibytes_arrive_exactly(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    script = (
        "import os, sys, tty, hashlib; tty.setraw(1)\n"
        "data = os.urandom(4 << 20)\n"
        "sys.stdout.buffer.write(data); sys.stdout.flush()\n"
        "sys.stdout.buffer.write(hashlib.sha256(data).digest())\n"
    )
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn(command=["python3", "-c", script])
        await until(lambda: room.of("exited"), 20)

    assert len(room.output) == (4 << 20) + 32
    assert hashlib.sha256(room.output[:-32]).digest() == room.output[-32:]
    assert room.of("exited") == [
        {"type": "exited", "offset": room.head, "code": 0, "signal": None}
    ]
