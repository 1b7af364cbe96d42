"""
T2: a terminal outlives viewer, notebook server and room server, each killed with -9.

A kill of the worker itself ends its local shells, and is said.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from tests.browser.lab import Lab
from tests.integration.attached import Place, place
from tests.integration.worker_rooms import until
from vibehq_nb.client.errors import ApiError
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.client.terminals import AsyncTerminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

COUNT = "i=0; while :; do i=$((i+1)); echo n-$i; echo $i > {file}; sleep 0.02; done"


class Job:
    """A shell that counts, on its terminal and into a file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "count"
        self.command = ["bash", "-c", f"echo pid=$$; {COUNT.format(file=self.file)}"]

    @property
    def count(self) -> int:
        text = self.file.read_text() if self.file.exists() else ""
        return int(text or 0)

    async def goes_on(self) -> None:
        before = self.count
        await until(lambda: self.count > before + 5, 30)


def numbers(lines: list[str]) -> list[int]:
    return [int(line[2:]) for line in lines if line.startswith("n-")]


def whole(lines: list[str]) -> bool:
    found = numbers(lines)
    return found == list(range(found[0], found[0] + len(found)))


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Place]:
    async with place(tmp_path) as running_place:
        yield running_place


async def test_t2_a_job_outlives_its_viewer_and_the_room_server(
    here: Place, tmp_path: Path
) -> None:
    job = Job(tmp_path)
    name = await here.open("job", command=job.command)
    async with here.attach(name) as first:
        await first.until(lambda: b"n-20" in first.output)
        first.process.kill()
        await asyncio.to_thread(first.process.wait)
        await job.goes_on()
    async with here.attach(name) as second:
        await second.until(lambda: b"n-60" in second.output, 30)
        here.server.kill()
        await job.goes_on()
        await second.says("the connection is lost")
        await here.server.start()
        await second.says("connected again", 40)
        reached = job.count
        await second.shows(f"n-{reached + 20}", 30)

        second.type(b"\x1d")
        await second.ended()

        assert numbers(second.lines)[0] == 1
        assert whole(second.lines)


async def test_t2_a_second_worker_on_the_folder_leaves_and_touches_nothing(
    here: Place, tmp_path: Path
) -> None:
    job = Job(tmp_path)
    name = await here.open("job", command=job.command)
    second = here.start_worker()
    code = await asyncio.to_thread(second.wait, 20)
    await job.goes_on()
    found = await here.call("GET", f"/api/terminals/{name}")

    assert code == 0
    assert found["state"] == "running"
    assert here.workers[0].poll() is None


async def test_t2_of_two_workers_of_one_name_the_newer_one_stays(
    here: Place, tmp_path: Path
) -> None:
    job = Job(tmp_path)
    name = await here.open("job", command=job.command)
    await job.goes_on()
    newer = here.start_worker_at(here.api.server.url, "w")
    code = await asyncio.to_thread(here.workers[0].wait, 30)
    opened = await here.open("new", command=["cat"])
    async with asyncio.timeout(20):
        while (await here.call("GET", f"/api/terminals/{name}"))["state"] != "exited":
            await asyncio.sleep(0.05)

    assert code == 4  # fenced: it is not to be started again
    assert newer.poll() is None
    found = await here.call("GET", f"/api/terminals/{opened}")
    assert found["state"] == "running"


async def test_t2_a_killed_worker_ends_its_shells_and_that_is_said(
    here: Place, tmp_path: Path
) -> None:
    job = Job(tmp_path)
    name = await here.open("job", command=job.command)
    async with here.attach(name) as mine, here.attach(name) as other:
        for one in (mine, other):
            await one.until(lambda shown=one: b"n-5" in shown.output)
        pid = int(mine.output.split(b"pid=")[1].split()[0])
        here.workers[0].kill()
        await mine.says("worker w is away")
        await until(lambda: not psutil.pid_exists(pid), 20)
        here.start_worker()
        assert await mine.ended(30) == 1
        await mine.shows("w:job ended with its worker; how is not known")
        assert await other.ended() == 1
        found = await here.call("GET", f"/api/terminals/{name}")
        assert found["state"] == "exited"

    await here.open("job", command=["sh", "-c", "echo another; cat"])
    async with here.attach(name) as again:
        await again.shows("another")
        assert "n-5" not in "\n".join(again.lines)
    await here.call("DELETE", f"/api/terminals/{name}")
    assert (await here.call("GET", "/api/terminals"))["terminals"] == []


@asynccontextmanager
async def jupyterlab(folder: Path) -> AsyncIterator[Lab]:
    pytest.importorskip("jupyterlab", reason="needs a package: jupyterlab")
    lab = Lab(folder)
    try:
        await asyncio.to_thread(lab.start)
        yield lab
    finally:
        await asyncio.to_thread(lab.stop)


async def test_t2_a_job_outlives_a_real_jupyterlab(tmp_path: Path) -> None:
    job = Job(tmp_path)
    async with jupyterlab(tmp_path / "lab") as lab:
        api = HttpApi(Server(f"{lab.url}vibehq", lab.token, "token"))
        await until(lambda: api.request("GET", "/api/workers")["workers"], 30)
        asked = {"name": "job", "command": job.command}
        opened = await asyncio.to_thread(api.request, "POST", "/api/terminals", asked)
        term = AsyncTerminal(api, opened["id"])
        session = await term.attach()
        await session.until(lambda: "n-20" in session.screen.text(), 20)
        worker = await asyncio.to_thread(lab.worker_pid)
        lab.kill()
        await job.goes_on()
        await asyncio.to_thread(lab.start)
        reached = job.count
        shown = await session.until(
            lambda: f"n-{reached}" in session.screen.text(2000), 40
        )
        lines = [line.rstrip() for line in session.screen.text(2000).splitlines()]
        await term.detach()

        assert shown
        assert await asyncio.to_thread(lab.worker_pid) == worker
        assert numbers(lines)[0] == 1
        assert whole(lines)
        await until(lambda: is_closed(api, opened["id"]), 20)


def is_closed(api: HttpApi, terminal: str) -> bool:
    """Close the terminal, once its worker is there."""
    try:
        api.request("DELETE", f"/api/terminals/{terminal}")
    except ApiError as error:
        if error.code != "no-worker":
            raise
        return False
    return True
