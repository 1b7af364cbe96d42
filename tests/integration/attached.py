"""``vibehq terminal attach`` in a real terminal, a server that can die, a worker."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.integration.local_terminal import LocalTerminal, running
from tests.trust.server_process import ServerProcess, served
from vibehq_nb.client.errors import ApiError
from vibehq_nb.client.http import HttpApi, Server

VIBEHQ = (sys.executable, "-m", "vibehq_server.cli")


class Place:
    """One server, and the workers started for it."""

    def __init__(self, server: ServerProcess, home: Path) -> None:
        self.server = server
        self.home = home
        self.shell = "/bin/bash"
        self.data = server.data
        self.workers: list[subprocess.Popen[bytes]] = []

    @property
    def api(self) -> HttpApi:
        endpoint = json.loads((self.data / "endpoint.json").read_text())
        return HttpApi(Server(endpoint["url"], endpoint["admin_key"]))

    async def call(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self.api.request, method, path, body)

    def start_worker(self, *options: str) -> "subprocess.Popen[bytes]":
        at = ("--data", str(self.data), "--id", "w")
        process = subprocess.Popen(
            [sys.executable, "-m", "vibehq_nb.worker", *at, *options],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.workers.append(process)
        return process

    def start_worker_at(self, url: str, name: str) -> "subprocess.Popen[bytes]":
        """Start a worker that reaches the server at another address."""
        key = json.loads((self.data / "endpoint.json").read_text())["worker_key"]
        process = subprocess.Popen(
            [sys.executable, "-m", "vibehq_nb.worker", "--url", url, "--id", name],
            env=self.environment(VIBEHQ_WORKER_KEY=key),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.workers.append(process)
        return process

    def environment(self, **more: str) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("VIBEHQ_", "XDG_"))
        }
        return {**kept, "HOME": str(self.home), "SHELL": self.shell, **more}

    async def online(self, name: str = "w") -> None:
        """Wait until a worker is there."""
        async with asyncio.timeout(20):
            while True:
                try:
                    found = await self.call("GET", "/api/workers")
                except ApiError:
                    found = {"workers": []}
                if any(one["id"] == name and one["online"] for one in found["workers"]):
                    return
                await asyncio.sleep(0.02)

    async def open(self, name: str = "", **fields: Any) -> str:
        """Open a terminal on a worker once that is there."""
        fields.setdefault("worker", "w")
        await self.online(fields["worker"])
        body = {"name": name, **fields} if name else fields
        return str((await self.call("POST", "/api/terminals", body))["id"])

    async def grant(self, user: str, *roles: str) -> str:
        body = {"user": user, "roles": list(roles)}
        return str((await self.call("POST", "/api/grants", body))["token"])

    def attach(
        self, *words: str, token: str = "", **options: Any
    ) -> AbstractAsyncContextManager[LocalTerminal]:
        """Run ``vibehq terminal attach`` in a terminal."""
        return self.cli("terminal", "attach", *words, token=token, **options)

    def cli(
        self, *words: str, token: str = "", **options: Any
    ) -> AbstractAsyncContextManager[LocalTerminal]:
        """Run a command of ours in a terminal."""
        env: dict[str, str] = {"HOME": str(self.home)}
        if token:
            env |= {"VIBEHQ_URL": self.api.server.url, "VIBEHQ_TOKEN": token}
        else:
            words = (*words, "--data", str(self.data))
        return running([*VIBEHQ, *words], **options, **env)


@asynccontextmanager
async def place(
    folder: Path, *further_hosts: str, shell: str = "/bin/bash"
) -> AsyncIterator[Place]:
    """Run a server and a worker called ``w`` until the block ends."""
    options = [f"--allowed-host={host}" for host in further_hosts]
    home = folder / "home"
    home.mkdir()
    for rcfile in (".bashrc", ".zshrc"):
        (home / rcfile).write_text("PS1='$ '\n")
    async with served(folder, *options) as server:
        here = Place(server, home)
        here.shell = shell
        here.start_worker()
        try:
            await here.online()
            yield here
        finally:
            for worker in here.workers:
                worker.terminate()
                worker.wait()
                if worker.stderr is not None:
                    worker.stderr.close()
