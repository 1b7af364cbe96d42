"""A terminal as PartyServer deployments have it: stock partysocket, its names."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.attached import Place, place
from tests.integration.cutting_proxy import proxying

MODULES = Path(__file__).parents[2] / "vibehq_nb" / "js" / "node_modules"
SCRIPT = Path(__file__).with_name("seed_terminal.mjs")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


class Client:
    """One Node process with a stock partysocket in it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.text = ""

    async def next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            line = await self.process.stdout.readline()
        assert line, "the client ended"
        told: dict[str, Any] = json.loads(line)
        if told["type"] == "bytes":
            self.text += told["text"]
        return told

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Return the next message of this type with these fields."""
        while True:
            told = await self.next()
            if told["type"] == kind and told.items() >= fields.items():
                return told

    async def shows(self, text: str) -> None:
        while text not in self.text:
            await self.next()

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"type {text}\n".encode())


@asynccontextmanager
async def client(
    here: Place, folder: Path, room: str, where: str
) -> AsyncIterator[Client]:
    node = shutil.which("node")
    if node is None or not (MODULES / "partysocket").is_dir():
        pytest.skip("needs a package: node with npm's partysocket")
    # Node looks for packages beside the script.
    script = folder / SCRIPT.name
    script.write_text(SCRIPT.read_text())
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(MODULES)
    token = await here.grant("ana", "viewer", "operator")
    url = here.api.server.url
    process = await asyncio.create_subprocess_exec(
        *(node, str(script), url, token, room, where),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**22,
    )
    try:
        yield Client(process)
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize("where", ["party", "path"])
async def test_a_worker_that_goes_and_comes_is_told_in_the_seeds_words(
    tmp_path: Path, where: str
) -> None:
    async with proxying() as proxy, place(tmp_path, f"127.0.0.1:{proxy.port}") as here:
        proxy.upstream_port = here.server.port
        worker = here.start_worker_at(f"http://127.0.0.1:{proxy.port}", "far")
        room = await here.open("logs", worker="far")
        async with client(here, tmp_path, room, where) as seed:
            first = await seed.until("connected")
            seed.type("echo one-$((1+1))")
            await seed.shows("one-2")
            proxy.cut()
            gone = await seed.until("container-disconnected")
            back = await seed.until("container-connected")
            seed.type("echo two-$((1+1))")
            await seed.shows("two-2")

            worker.kill()
            await seed.until("container-disconnected")
            worker.wait()
            here.start_worker_at(f"http://127.0.0.1:{proxy.port}", "far")
            await here.open("logs", worker="far")
            again = await seed.until("connected", resume="reset")

    assert gone["worker"] == back["worker"] == "far"
    assert again["epoch"] != first["epoch"]
    assert seed.text.count("one-2") == 1
    assert room == "far:logs"
