"""A real ``vibehq serve`` that tests kill and start again: same folder, same port."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import Entry
from vibehq_server.room_logs.sqlite import SqliteRoomLog

START_SECONDS = 20.0


async def until(condition, seconds: float = 10.0):
    """Await a condition with a deadline; return what it returned."""
    async with asyncio.timeout(seconds):
        while not (found := condition()):
            await asyncio.sleep(0.005)
        return found


class ServerProcess:
    """One server on *data*; after the first start its port stays the same."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        self.options = options
        self.port = 0
        self.admin: dict[str, str] = {}
        self.worker: dict[str, str] = {}
        self.starts = 0
        self.is_ready = False
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it; return once it listens."""
        assert self._process is None
        self._process = self._spawn()
        self.starts += 1
        found = await until(self._endpoint, START_SECONDS)
        self.is_ready = True
        self.port = int(found["url"].rpartition(":")[2])
        self.admin = {"Authorization": f"Bearer {found['admin_key']}"}
        self.worker = {"Authorization": f"Bearer {found['worker_key']}"}

    def _spawn(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "vibehq_server.cli", "serve"]
        with (self.data.parent / "serve.log").open("ab") as log:
            return subprocess.Popen(
                [
                    *(*command, "--data", str(self.data), "--port", str(self.port)),
                    *self.options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _endpoint(self):
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            found = json.loads((self.data / "endpoint.json").read_text())
        except FileNotFoundError:
            return None
        return found if found["pid"] == self._process.pid else None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it as a power switch would."""
        self.is_ready = False
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        """Ask it to stop, and do not wait."""
        os.kill(self.pid, signal.SIGTERM)

    async def ended(self, seconds: float) -> int:
        """Return the exit code of a server that was told to stop."""
        process = self._process
        assert process is not None
        await until(lambda: process.poll() is not None, seconds)
        self._process = None
        return process.returncode

    async def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        await self.start()

    def log(self) -> str:
        """Return the end of what it logged."""
        return (self.data.parent / "serve.log").read_text(errors="replace")[-4000:]


@asynccontextmanager
async def served(folder: Path, *options: str) -> AsyncIterator[ServerProcess]:
    """Run a server in *folder* until the block ends."""
    server = ServerProcess(folder / "data", *options)
    try:
        await server.start()
        yield server
    finally:
        server.kill()


async def read_log(data: Path, room: str = "ops/main") -> tuple[str, list[Entry]]:
    """Return epoch and every entry of a room; the server has to be gone."""
    log = SqliteRoomLog(data / "rooms.sqlite3")
    key = RoomKey(*room.split("/"))
    try:
        entries: list[Entry] = []
        opened = await log.open(key)
        while page := await log.read(key, len(entries), 1000):
            entries += page
        return opened.epoch, entries
    finally:
        await log.close()


def bodies(entries: Iterable[Entry]) -> dict[int, dict]:
    """Return what readers are sent of *entries*, by offset."""
    return {e.offset: json.loads(e.body) for e in entries if not e.is_internal}
