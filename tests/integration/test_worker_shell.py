"""The marks a shell leaves, seen by a worker's room."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.worker_rooms import (
    TerminalRoom,
    WorkerRooms,
    running_agent,
    until,
)

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")

MARK = re.compile(rb"\x1b\]133;([ABCD])(?:;(\d+))?\x07")


@pytest.fixture
async def rooms(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkerRooms]:
    monkeypatch.setenv("SHELL", shutil.which("bash") or "")
    rooms = WorkerRooms()
    await rooms.start()
    yield rooms
    await rooms.stop()


class Shell:
    """Types commands one after another, each when the prompt is there."""

    def __init__(self, room: TerminalRoom) -> None:
        self.room = room
        self._typed = 0
        self._seen = 0

    async def prompt(self) -> bytes:
        """Await the end of the next prompt; returns what came before it."""
        mark = b"\x1b]133;B\x07"
        await until(lambda: self.room.output.find(mark, self._seen) >= 0)
        end = self.room.output.index(mark, self._seen) + len(mark)
        before = bytes(self.room.output[self._seen : end])
        self._seen = end
        return before

    async def run(self, command: str) -> bytes:
        self._typed = await self.room.type(command + "\r", self._typed)
        return await self.prompt()


async def opened(rooms: WorkerRooms) -> tuple[Shell, bytes]:
    shell = Shell(await rooms.spawn(cwd="/"))
    return shell, await shell.prompt()


def marks(output: bytes) -> list[tuple[bytes, bytes | None]]:
    return [(found[1], found[2] or None) for found in MARK.finditer(output)]


def output_of(ran: bytes) -> bytes:
    return ran.partition(b"\x1b]133;C\x07")[2].partition(b"\x1b]133;D")[0]


BASHRCS = {
    "nothing": "",
    "a prompt command that ends in a semicolon": "PROMPT_COMMAND='true;'",
    "an array": "PROMPT_COMMAND=(true 'echo hook >/dev/null')",
    "a failing one": "PROMPT_COMMAND='false'",
    "a prompt made anew each time": "PROMPT_COMMAND='PS1=\"[$RANDOM] \"'",
    "a prompt that shows the status": "PS1='$? > '",
    "its own ps0": "PS0='begin '",
    "strict modes": "set -u; shopt -s extglob nocasematch",
    "a debug trap": "trap 'true' DEBUG",
}


@pytest.mark.parametrize("bashrc", BASHRCS.values(), ids=BASHRCS.keys())
async def test_marks_tell_output_and_status_whatever_the_bashrc_does(
    rooms: WorkerRooms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bashrc: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".bashrc").write_text(bashrc + "\n")
    async with running_agent(rooms, tmp_path):
        shell, first = await opened(rooms)
        good = await shell.run("echo one; echo two")
        bad = await shell.run("(exit 3)")
        empty = await shell.run("")
        status = await shell.run("echo status=$?")

    assert marks(first) == [(b"A", None), (b"B", None)]
    assert marks(good) == [(b"C", None), (b"D", b"0"), (b"A", None), (b"B", None)]
    assert output_of(good) == b"one\r\ntwo\r\n"
    assert marks(bad)[1] == (b"D", b"3")
    assert marks(empty) == [(b"A", None), (b"B", None)]
    assert output_of(status) == b"status=3\r\n"


async def test_marks_go_on_when_the_prompt_command_is_replaced(
    rooms: WorkerRooms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    async with running_agent(rooms, tmp_path):
        shell, _ = await opened(rooms)
        await shell.run("PROMPT_COMMAND=")
        ran = await shell.run("echo x; (exit 4)")

    assert marks(ran) == [(b"C", None), (b"D", b"4"), (b"A", None), (b"B", None)]


async def test_folder_and_title_are_told(
    rooms: WorkerRooms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "a b%é"
    folder.mkdir()
    async with running_agent(rooms, tmp_path):
        shell, _ = await opened(rooms)
        ran = await shell.run(f"cd '{folder}'")
        await until(lambda: any("a b%é" in m["text"] for m in shell.room.of("title")))

    assert b"/a%20b%25%C3%A9\x07" in ran
    assert b"\x1b]7;file://" in ran


async def test_the_rcfile_is_private(rooms: WorkerRooms, tmp_path: Path) -> None:
    async with running_agent(rooms, tmp_path):
        await opened(rooms)
        mode = (tmp_path / "run" / "bashrc").stat().st_mode

    assert mode & 0o777 == 0o600
