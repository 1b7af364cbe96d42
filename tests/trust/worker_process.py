"""A real ``vibehq worker`` in a process of its own, which tests kill."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.integration.app_server import send
from tests.trust.server_process import ServerProcess

WORKER = "vm"


class WorkerProcess:
    """The worker ``vm`` of *server*, linked by way of the port *via*."""

    def __init__(self, server: ServerProcess, folder: Path, via: int = 0) -> None:
        self._server = server
        self._folder = folder
        self._via = via or server.port
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it; return once the server knows it."""
        self._process = self._spawn()
        async with asyncio.timeout(20):
            while not await self._is_known():
                await asyncio.sleep(0.02)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        key = self._server.worker["Authorization"].partition(" ")[2]
        home = self._folder / "home"
        home.mkdir(exist_ok=True)
        env = os.environ | {"VIBEHQ_WORKER_KEY": key, "HOME": str(home)}
        command = [sys.executable, "-m", "vibehq_nb.worker", "--id", WORKER]
        with (self._folder / "worker.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "--url", f"http://127.0.0.1:{self._via}"],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _is_known(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        found = await self.ask("GET", "/api/workers")
        return any(one["online"] for one in found["workers"])

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the server's API as an administrator; returns what it answers."""
        answer = await send(self._server.port, method, path, self._server.admin, body)
        assert answer.status in (200, 201), answer.body
        return answer.json()

    async def open(self, *command: str, name: str = "") -> str:
        """Open a terminal that runs *command*; returns its id."""
        asked: dict[str, Any] = {"worker": WORKER, "command": list(command) or None}
        if name:
            asked["name"] = name
        opened = await self.ask("POST", "/api/terminals", asked)
        return str(opened["id"])

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it as a power switch would; its shells are hung up on."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """Ask it to end, and wait for that: no shell is left."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self) -> str:
        """Return the end of what it logged."""
        return (self._folder / "worker.log").read_text(errors="replace")[-4000:]


@asynccontextmanager
async def working(
    server: ServerProcess, folder: Path, via: int = 0
) -> AsyncIterator[WorkerProcess]:
    """Run a worker of *server* until the block ends."""
    worker = WorkerProcess(server, folder, via)
    try:
        await worker.start()
        yield worker
    finally:
        worker.stop()
