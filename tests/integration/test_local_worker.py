"""The worker beside a server: adopted, started again, left behind on purpose."""

import asyncio
import errno
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.app_server import App, serving
from vibehq_server.local_worker import LocalWorker
from vibehq_server.parties import BUILT_IN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def pid_in(data: Path) -> int:
    try:
        return int((data / "worker.lock").read_text() or 0)
    except (OSError, ValueError):
        return 0


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return b"\nState:\tZ" not in Path(f"/proc/{pid}/status").read_bytes()


async def gone(pid: int, seconds: float) -> None:
    """Wait until the process is gone, or *seconds*."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                if not is_alive(pid):
                    return
                await asyncio.sleep(0.05)


@pytest.fixture
async def data(tmp_path: Path) -> AsyncIterator[Path]:
    """A data folder; the worker in it is ended by its process id."""
    folder = tmp_path / "data"
    yield folder
    pid = pid_in(folder)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if pid and is_alive(pid):
            os.kill(pid, number)
            await gone(pid, 5)


async def worker_of(app: App, other_than: int = 0) -> int:
    """Wait until a worker is linked, and return its process id."""
    async with asyncio.timeout(25):
        while True:
            found: Any = (await app.send("GET", "/api/workers", app.admin)).json()
            pid = pid_in(app.server.context.settings.data)
            is_linked = any(one["online"] for one in found["workers"])
            if is_linked and pid != other_than and is_alive(pid):
                return pid
            await asyncio.sleep(0.05)


async def test_a_worker_outlives_its_server_and_is_adopted_by_the_next(
    data: Path,
) -> None:
    async with serving(data, BUILT_IN, with_worker=True) as first:
        pid = await worker_of(first)
        opened = await first.send("POST", "/api/terminals", first.admin, {})
        assert opened.status == 201
        terminal = opened.json()["id"]
        port = first.port
    assert is_alive(pid)
    async with serving(data, BUILT_IN, port=port, with_worker=True) as second:
        assert await worker_of(second) == pid
        async with asyncio.timeout(10):
            while True:
                answer = await second.send("GET", "/api/terminals", second.admin)
                if [t["id"] for t in answer.json()["terminals"]] == [terminal]:
                    break
                await asyncio.sleep(0.05)


async def test_a_worker_that_dies_is_started_again(data: Path) -> None:
    async with serving(data, BUILT_IN, with_worker=True) as app:
        first = await worker_of(app)
        os.kill(first, signal.SIGKILL)
        second = await worker_of(app, other_than=first)
        assert second != first


async def test_a_fork_that_is_refused_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = [errno.EAGAIN] * 12
    popen = subprocess.Popen

    def fork(*args: Any, **kwargs: Any) -> Any:
        if refusals:
            raise OSError(refusals.pop(), "Resource temporarily unavailable")
        return popen(*args, **kwargs)

    monkeypatch.setattr("sys.executable", "/bin/false")
    monkeypatch.setattr("subprocess.Popen", fork)
    monkeypatch.setattr("vibehq_server.local_worker.CHECK_SECONDS", 0.02)
    monkeypatch.setattr(
        "vibehq_server.local_worker.reconnect_delay", lambda *_, **__: 0.0
    )
    async with asyncio.timeout(20):
        await LocalWorker(tmp_path).keep()
    assert caplog.text.count("Resource temporarily unavailable") == 12
    assert caplog.text.count("ended with code 1") == 9


async def test_the_keeper_and_the_sweeper_fail_aloud_and_end_with_the_server(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> None:
        raise ValueError("a keeper's mistake")

    async with serving(data, BUILT_IN, with_worker=True) as app:
        names = {task.get_name() for task in asyncio.all_tasks()}
        await worker_of(app)
    assert {"keeper of the local worker", "sweeper"} <= names
    assert not {"keeper of the local worker", "sweeper"} & {
        task.get_name() for task in asyncio.all_tasks()
    }
    monkeypatch.setattr("vibehq_server.app.LocalWorker.keep", fail)
    async with serving(data, BUILT_IN, with_worker=True):
        async with asyncio.timeout(10):
            while "a keeper's mistake" not in caplog.text:
                await asyncio.sleep(0.01)
    assert "keeper of the local worker failed" in caplog.text


async def test_a_worker_that_cannot_run_is_not_started_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    monkeypatch.setattr("vibehq_server.local_worker.CHECK_SECONDS", 0.02)
    monkeypatch.setattr(
        "vibehq_server.local_worker.reconnect_delay", lambda *_, **__: 0.0
    )
    async with asyncio.timeout(20):
        await LocalWorker(tmp_path).keep()
    assert caplog.text.count("ended with code 1") == 9
    assert "fails again and again" in caplog.text
