"""
What a terminal costs through worker and room, beside JupyterLab's own terminal.

Prints one line of JSON per figure. Nothing is asserted of a time: the machine is
shared, and only figures of one run may be compared.
"""

import asyncio
import json
import os
import pty
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import connect

from tests.browser.lab import free_port
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.testing import ThrowAwayServer

LINES = 200_000
FLOOD = f"seq {LINES} | tail -n {LINES}; echo flood-'done'\r"
LAST = b"flood-done"
KEYS = 300

Send = Callable[[str], Awaitable[None]]
Receive = Callable[[], Awaitable[bytes]]


def tell(capsys: pytest.CaptureFixture[str], **figure: object) -> None:
    with capsys.disabled():
        sys.stdout.write(json.dumps(figure) + "\n")


@asynccontextmanager
async def ours(server: ThrowAwayServer) -> AsyncIterator[tuple[Send, Receive]]:
    """A raw viewer of one of our terminals."""
    api = HttpApi(Server(server.url, server.token))
    room = api.request("POST", "/api/terminals", {"target": "local"})["id"]
    url = server.url.replace("http", "ws", 1)
    headers = {"Authorization": f"Bearer {server.token}"}
    async with connect(
        f"{url}/parties/terminal/{room}?mode=raw",
        additional_headers=headers,
        compression=None,
        max_size=None,
    ) as socket:

        async def receive() -> bytes:
            frame = await socket.recv()
            return frame if isinstance(frame, bytes) else frame.encode()

        await receive()  # the screen: before it, the worker may not be linked yet
        yield lambda text: socket.send(text.encode()), receive


@asynccontextmanager
async def jupyters(folder: Path) -> AsyncIterator[tuple[Send, Receive]]:
    """A viewer of a terminal of jupyter_server_terminals."""
    port = free_port()
    env = {**os.environ, "HOME": str(folder), "SHELL": "/bin/bash"}
    command = [sys.executable, "-m", "jupyter", "server", "--allow-root"]
    options = [f"--ServerApp.port={port}", "--IdentityProvider.token=t", "--no-browser"]
    off = ["--ServerApp.jpserver_extensions={'vibehq_server': False}"]
    with (folder / "jupyter.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - before anything is timed
            [*command, *options, *off], env=env, stdout=log, stderr=log, cwd=folder
        )
    try:
        api = HttpApi(Server(f"http://127.0.0.1:{port}", "t", "token"))
        name = await _when_ready(lambda: api.request("POST", "/api/terminals", {}))
        async with connect(
            f"ws://127.0.0.1:{port}/terminals/websocket/{name['name']}",
            additional_headers={"Authorization": "token t"},
            compression=None,
            max_size=None,
        ) as socket:

            async def receive() -> bytes:
                kind, *rest = json.loads(await socket.recv())
                return rest[0].encode() if kind == "stdout" else b""

            yield lambda text: socket.send(json.dumps(["stdin", text])), receive
    finally:
        process.terminate()
        process.wait(15)


async def _when_ready(ask: Callable[[], dict[str, str]]) -> dict[str, str]:
    async with asyncio.timeout(30):
        while True:
            try:
                return await asyncio.to_thread(ask)
            except Exception:
                await asyncio.sleep(0.1)


async def flood(send: Send, receive: Receive) -> float:
    """Return seconds until the last of about 1.3 MB of short lines has come."""
    await _prompt(send, receive)
    began = time.perf_counter()
    await send(FLOOD)
    tail = b""
    while LAST not in tail:
        tail = (tail + await receive())[-4096:]
    return time.perf_counter() - began


async def echo(send: Send, receive: Receive) -> list[float]:
    """Return milliseconds from a key to its echo, one per key."""
    await _prompt(send, receive)
    await send("cat > /dev/null\r")
    await asyncio.sleep(0.3)
    times = []
    for number in range(KEYS):
        key = "abcdefghij"[number % 10]
        began = time.perf_counter()
        await send(key)
        while key.encode() not in await receive():
            pass
        times.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(0.01)  # nobody types faster
    await send("\x03")
    return times


async def _prompt(send: Send, receive: Receive) -> None:
    await send("echo rea'dy'\r")
    seen = b""
    while b"ready" not in seen:
        seen = (seen + await receive())[-4096:]


def raw_flood() -> float:
    """Return seconds for the same lines from a PTY that is only read."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "-c", FLOOD.rstrip("\r")])
    began, tail = time.perf_counter(), b""
    while LAST not in tail:
        tail = (tail + os.read(master, 65536))[-4096:]
    seconds = time.perf_counter() - began
    os.close(master)
    os.waitpid(pid, 0)
    return seconds


@pytest.mark.parametrize("peer", ["ours", "jupyter"])
async def test_flood_and_echo(
    peer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = statistics.median(raw_flood() for _ in range(3))
    with ThrowAwayServer() as server:
        terminal = ours(server) if peer == "ours" else jupyters(tmp_path)
        async with terminal as (send, receive):
            async with asyncio.timeout(200):
                floods = [await flood(send, receive) for _ in range(3)]
                keys = sorted(await echo(send, receive))
        grown = max(
            psutil.Process(one.pid).memory_info().rss for one in server._processes
        )

    ratio = round(raw / statistics.median(floods), 2)
    tell(capsys, figure="P1 lines, against the raw PTY", peer=peer, ratio=ratio)
    p50, p99 = statistics.median(keys), keys[int(len(keys) * 0.99)]
    tell(
        capsys,
        figure="P3 echo, idle, ms",
        peer=peer,
        p50=round(p50, 2),
        p99=round(p99, 2),
    )
    if peer == "ours":
        tell(capsys, figure="RSS of the larger process, MiB", value=grown >> 20)
    assert len(keys) == KEYS
