"""
What a terminal bounds, beside its peers: memory, loss, the wait after ^C, a late join.

Prints one line of JSON per figure; see :mod:`tests.benchmarks.test_terminals`.
"""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.benchmarks.terminal_peers import Attached, Kind, all_kinds
from tests.benchmarks.test_terminals import (
    BIG_BYTES,
    big,
    drain,
    median,
    tell,
    terminal,
)
from tests.trust.server_process import ServerProcess, served
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.core.stream import RING_BYTES

__all__ = ["big"]  # a fixture

STALL_SECONDS = 10
SLOW_BYTES = 2_000_000
PATIENCE_SECONDS = 60
JOINS = 20


@asynccontextmanager
async def draining(attached: Attached) -> AsyncIterator[None]:
    """Let *attached* read on meanwhile."""
    reading = asyncio.create_task(drain(attached))
    try:
        yield
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_p4_memory_with_a_stalled_viewer(
    tmp_path: Path, big: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with all_kinds(tmp_path) as kinds:
        for name, kind in kinds.items():
            async with terminal(kind) as reader:
                await reader.run(f"cat {big}")  # buffers that are kept are full now
                stalled = reader
                if not kind.is_shared:
                    grown, others = await stall(kind, reader, reader), 0.0
                else:
                    async with kind.attach("t") as stalled:
                        await stalled.receive()
                        grown = await stall(kind, reader, stalled)
                        others = await rate(reader)
                await reader.send("\x03exit\r")
            shown = {"peer": name, "value": round(grown / 1e6, 1)}
            if kind.is_shared:
                shown["others_mb_per_s"] = round(others / 1e6, 1)
            figure = "P4 MB grown while one viewer stalls for 10 s"
            tell(capsys, figure=figure, **shown, target="<= 8")


async def stall(kind: Kind, reader: Attached, stalled: Attached) -> int:
    """Let one stall during ``yes``; return by how many bytes its server grew."""
    stalled.socket.transport.pause_reading()
    before, most = kind.rss(), 0
    await reader.send("yes\r")
    end = time.monotonic() + STALL_SECONDS
    async with draining(reader):
        while time.monotonic() < end:
            most = max(most, kind.rss())
            await asyncio.sleep(0.05)
    return most - before


async def rate(reader: Attached) -> float:
    """Return the bytes a second that somebody who reads has."""
    before, began = reader.received, time.monotonic()
    async with draining(reader):
        await asyncio.sleep(3)
    return (reader.received - before) / (time.monotonic() - began)


AWAY = """
import os, sys, time
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
for n in range(3000): os.write(1, b"s%06d\\r\\n" % n)
for n in range(100_000): os.write(1, b"L%06d%s\\r\\n" % (n, b"." * 41))
open(sys.argv[1] + ".done", "w").close()
"""


async def test_p5_lost_on_a_reconnect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "away.py").write_text(AWAY)
    with all_kinds(tmp_path) as kinds:
        for name, kind in kinds.items():
            go = tmp_path / f"go-{name}"
            async with terminal(kind) as before:
                await before.send(f"stty -opost; python3 {tmp_path}/away.py {go}\r")
                async with draining(before):
                    await asyncio.sleep(1)
                position = before.position if name == "ours" else {}
            go.touch()
            await done(Path(f"{go}.done"), 20)
            async with kind.attach("t", **position) as after:
                seen = await everything(after)
            for what, count in (("s", 3000), ("L", 100_000)):
                found = re.findall(rb"%s(\d{6})" % what.encode(), seen)
                lost = 100 * (1 - len(set(found)) / count)
                twice = len(found) - len(set(found))
                shown = {"peer": name, "lost_percent": round(lost, 2), "twice": twice}
                size = "3,000 small writes" if what == "s" else "5 MB"
                tell(capsys, figure=f"P5 lost after {size}", **shown, target="0, 0")


async def done(path: Path, seconds: float) -> None:
    """Wait for a file; a shell that died with its socket never writes it."""
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(path.exists) and time.monotonic() < end:
        await asyncio.sleep(0.05)


async def everything(attached: Attached) -> bytes:
    """Return what comes until nothing has come for two seconds."""
    seen = bytearray()
    try:
        while True:
            async with asyncio.timeout(2):
                seen += await attached.receive()
    except TimeoutError:
        return bytes(seen)


async def test_p6_the_wait_after_an_interrupt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with all_kinds(tmp_path) as kinds:
        for name, kind in kinds.items():
            async with terminal(kind) as slow:
                await slow.send("PS1='at-the-''prompt '; yes\r")
                await slowly(slow, b"", 3)
                pressed = time.monotonic()
                await slow.send("\x03")
                is_seen = await slowly(slow, b"at-the-prompt", PATIENCE_SECONDS)
                seconds = time.monotonic() - pressed
            value = f"{'' if is_seen else '> '}{seconds:.2f}"
            figure = "P6 seconds from ^C to the prompt at 2 MB/s"
            tell(capsys, figure=figure, peer=name, value=value, target="< 1")


async def slowly(attached: Attached, text: bytes, seconds: float) -> bool:
    """Read 2 MB/s until *text* has come or the time is up; tell whether it came."""
    end = time.monotonic() + seconds
    free_at, tail = time.monotonic(), b""
    while time.monotonic() < end:
        output = await attached.receive()
        free_at = max(free_at, time.monotonic() - 0.01) + len(output) / SLOW_BYTES
        await asyncio.sleep(max(free_at - time.monotonic(), 0))
        tail = (tail + output)[-65536:]
        if text and text in tail:
            return True
    return False


async def test_p7_a_late_join(
    tmp_path: Path, big: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with all_kinds(tmp_path) as kinds:
        for name, kind in kinds.items():
            if not kind.is_shared:
                continue
            async with terminal(kind) as attached:
                for _ in range(100_000_000 // BIG_BYTES + 1):
                    await attached.run(f"cat {big}")
            spent, sizes = [], []
            for _ in range(JOINS):
                await asyncio.sleep(0.1)
                before = kind.cpu_seconds()
                async with kind.attach("t") as late:
                    late.is_acking = name == "ours"
                    await painted(late)
                    sizes.append(late.received)
                spent.append(1000 * (kind.cpu_seconds() - before))
            shown = {"peer": name, "cpu_ms": median(spent), "bytes": median(sizes, 0)}
            figure = "P7 a late join after 100 MB"
            tell(capsys, figure=figure, **shown, target="<= 5 ms, <= 262144 bytes")


async def painted(late: Attached) -> None:
    """Read until the screen is there: for the peers, until nothing more comes."""
    await late.ready()
    if late.is_acking:
        while late.is_painting:
            await late.receive()
        return
    try:
        while True:
            async with asyncio.timeout(0.3):
                await late.receive()
    except TimeoutError:
        return


async def test_p7_a_join_after_the_server_was_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty terminals, each with a full ring at the worker."""
    terminals = 20
    async with served(tmp_path) as server:
        worker = start_worker(server)
        try:
            await fill(as_admin(server), terminals)
            server.kill()
            await server.start()
            ready = time.monotonic()
            waits = await asyncio.gather(
                *(join(server, f"w:{number}", ready) for number in range(terminals))
            )
        finally:
            worker.kill()
            worker.wait()
    waits.sort()
    shown = {"p50": round(waits[len(waits) // 2], 2), "max": round(waits[-1], 2)}
    tell(capsys, figure="P7 seconds to a painted screen after kill -9", **shown)


def start_worker(server: ServerProcess) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "vibehq_nb.worker", "--data", str(server.data)]
    return subprocess.Popen(
        [*command, "--id", "w"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(server.data.parent)},
    )


def as_admin(server: ServerProcess) -> HttpApi:
    token = server.admin["Authorization"].removeprefix("Bearer ")
    return HttpApi(Server(f"http://127.0.0.1:{server.port}", token))


async def fill(api: HttpApi, count: int) -> None:
    """Open terminals that print 9 MB each, and wait until they have."""
    while not await asyncio.to_thread(online, api):
        await asyncio.sleep(0.1)
    script = f"head -c {RING_BYTES + 1_000_000} /dev/zero | tr '\\0' x; sleep 1000"
    for number in range(count):
        asked = {"name": str(number), "command": ["bash", "-c", script]}
        await asyncio.to_thread(api.request, "POST", "/api/terminals", asked)
    for number in range(count):
        while await asyncio.to_thread(printed, api, number) < RING_BYTES:
            await asyncio.sleep(0.1)


def printed(api: HttpApi, number: int) -> int:
    """Return how much a terminal has printed, as far as its room knows."""
    return int(api.request("GET", f"/api/rooms/terminal/w:{number}")["offset"])


def online(api: HttpApi) -> bool:
    return any(one["online"] for one in api.request("GET", "/api/workers")["workers"])


async def join(server: ServerProcess, room: str, ready: float) -> float:
    """Return seconds from *ready* until a viewer of *room* is painted."""
    from websockets.asyncio.client import connect

    url = f"ws://127.0.0.1:{server.port}/parties/terminal/{room}"
    async with connect(
        url, additional_headers=server.admin, compression=None
    ) as socket:
        due = -1
        while due:
            frame = await socket.recv()
            if isinstance(frame, bytes):
                due -= len(frame)
            elif '"type":"snapshot"' in frame:
                due = int(re.findall(r'"bytes":(\d+)', frame)[0])
        return time.monotonic() - ready
