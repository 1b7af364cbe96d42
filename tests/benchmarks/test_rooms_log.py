"""
What a durable event costs, beside SQLite with a commit for each, and a restart.

Prints one line of JSON per figure. Nothing is asserted of a time: the machine is
shared, and only figures of one run may be compared.
"""

import asyncio
import contextlib
import json
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import EventLog
from vibehq_nb.core.messages import Event
from vibehq_server.hub import Hub
from vibehq_server.room_logs.sqlite import SqliteRoomLog
from vibehq_server.rooms.ops import OpsRoom

OPS = RoomKey("ops", "main")
PRODUCERS = 64
EVENTS = 40_000
PEER_EVENTS = 8_000
PER_SECOND = 2_000
OFFERED_SECONDS = 5
RUNS = 3
RESTART_EVENTS = 100_000
DATA = {"text": "x" * 200}  # about 300 bytes an entry

Append = Callable[[int], Awaitable[None]]


def tell(capsys: pytest.CaptureFixture[str], **figure: object) -> None:
    with capsys.disabled():
        sys.stdout.write(json.dumps(figure) + "\n")


def event(number: int) -> Event:
    at = "2026-11-25T00:00:00.000Z"
    return Event(name=f"n{number}", data=DATA, by="ana", at=at, offset=0)


@asynccontextmanager
async def a_room(folder: Path) -> AsyncIterator[Append]:
    """Append to one room, as its hooks do: folded, gated, hashed, told."""
    hub = Hub({"ops": OpsRoom}, SqliteRoomLog(folder / "room.sqlite3"))
    room = await hub.room(*OPS)
    assert isinstance(room, OpsRoom)

    async def append(number: int) -> None:
        room.append(event(number))
        await room.committed()

    yield append
    await hub.stop()


@asynccontextmanager
async def rooms_of_one_log(folder: Path) -> AsyncIterator[Append]:
    """Append straight to the log, each producer to a room of its own."""
    log = SqliteRoomLog(folder / "log.sqlite3")
    keys = [RoomKey("ops", f"r{n}") for n in range(PRODUCERS)]
    tails = [EventLog(str(key), "") for key in keys]
    terms = [await log.claim(key) for key in keys]
    body = json.dumps({"type": "event", "data": DATA, "more": "y" * 60}).encode()

    async def append(number: int) -> None:
        n = number % PRODUCERS
        await log.append(keys[n], terms[n], [tails[n].append(body, 1)])

    yield append
    await log.close()


@asynccontextmanager
async def a_commit_each(folder: Path) -> AsyncIterator[Append]:
    """Insert into SQLite with WAL and FULL, a transaction for each event."""
    db = sqlite3.connect(
        folder / "peer.sqlite3", isolation_level=None, check_same_thread=False
    )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE log (n INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    body = json.dumps({"type": "event", "data": DATA, "more": "y" * 60}).encode()
    loop = asyncio.get_running_loop()

    with ThreadPoolExecutor(1) as writer, contextlib.closing(db):

        def insert() -> None:
            db.execute("INSERT INTO log (body) VALUES (?)", (body,))

        async def append(number: int) -> None:
            await loop.run_in_executor(writer, insert)

        yield append


async def rate(append: Append, events: int) -> tuple[float, float]:
    """
    Let 64 producers each wait for the disk before they go on.

    Returns events a second, and the CPU microseconds of all threads for each.
    """
    numbers = iter(range(events))

    async def produce() -> None:
        for number in numbers:
            await append(number)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*[produce() for _ in range(PRODUCERS)])
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    return events / seconds, cpu_seconds / events * 1e6


async def latencies(append: Append) -> list[float]:
    """Return milliseconds from when each of 2,000 events a second was due."""
    loop = asyncio.get_running_loop()
    took: list[float] = []
    pending: set[asyncio.Task[None]] = set()

    async def one(number: int, due: float) -> None:
        await append(number)
        took.append((loop.time() - due) * 1000)

    began = loop.time()
    for number in range(PER_SECOND * OFFERED_SECONDS):
        due = began + number / PER_SECOND
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(number, due))
        pending.add(task)
        task.add_done_callback(pending.discard)
    await asyncio.gather(*pending)
    return sorted(took)


SUBJECTS = {
    "a room": (a_room, EVENTS),
    "64 rooms of one log": (rooms_of_one_log, EVENTS),
    "SQLite, a commit for each": (a_commit_each, PEER_EVENTS),
}


async def test_durable_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in SUBJECTS}
    waits: dict[str, list[list[float]]] = {name: [] for name in SUBJECTS}
    for run in range(RUNS):
        for name, (subject, events) in SUBJECTS.items():
            folder = tmp_path / f"{run}-{events}-{name.replace(' ', '-')}"
            folder.mkdir()
            async with subject(folder) as append:
                rates[name].append(await rate(append, events))
                waits[name].append(await latencies(append))
    for name, found in rates.items():
        tell(
            capsys,
            figure="P10 durable events per second, 64 producers",
            of=name,
            median=round(statistics.median(value for value, _ in found)),
            runs=[round(value) for value, _ in found],
            cpu_us=round(statistics.median(cpu for _, cpu in found), 1),
        )
    for name, runs in waits.items():
        tell(
            capsys,
            figure="P10 ms until stored, 2,000 events per second offered",
            of=name,
            p50=round(statistics.median(at(took, 0.5) for took in runs), 2),
            p99=round(statistics.median(at(took, 0.99) for took in runs), 2),
            p99_runs=[round(at(took, 0.99), 2) for took in runs],
        )


def at(ordered: list[float], share: float) -> float:
    return ordered[int(len(ordered) * share)]


async def test_restart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, events in (("empty", 0), ("100,000 events", RESTART_EVENTS)):
        data = tmp_path / str(events) / "data"
        data.mkdir(parents=True)
        await fill(data, events)
        times = [await start_seconds(data) for _ in range(RUNS)]
        tell(
            capsys,
            figure="P12 seconds from start to a room's first frame",
            of=name,
            median=round(statistics.median(times), 2),
            runs=[round(value, 2) for value in times],
        )
    seconds = await open_audited(tmp_path / "audited.sqlite3")
    tell(
        capsys,
        figure="P12 seconds to open and verify an audited room of 100,000 entries",
        median=round(seconds, 2),
    )


async def fill(data: Path, events: int) -> None:
    hub = Hub({"ops": OpsRoom}, SqliteRoomLog(data / "rooms.sqlite3"))
    room = await hub.room(*OPS)
    assert isinstance(room, OpsRoom)
    for first in range(0, events, 1000):
        for number in range(first, first + 1000):
            room.append(event(number))
        await room.committed()
    await hub.stop()


async def start_seconds(data: Path) -> float:
    """Return how long a new server needs until a client has its first frame."""
    command = [sys.executable, "-m", "vibehq_server.cli", "serve", "--port", "0"]
    (data / "endpoint.json").unlink(missing_ok=True)
    began = time.perf_counter()
    server = await asyncio.create_subprocess_exec(
        *(*command, "--data", str(data)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            while not (data / "endpoint.json").exists():
                await asyncio.sleep(0.01)
            endpoint = json.loads((data / "endpoint.json").read_text())
            url = endpoint["url"].replace("http", "ws", 1)
            headers = {"Authorization": f"Bearer {endpoint['admin_key']}"}
            async with connect(
                f"{url}/parties/ops/main", additional_headers=headers, max_size=None
            ) as socket:
                assert json.loads(await socket.recv())["type"] == "connected"
        return time.perf_counter() - began
    finally:
        server.kill()
        await server.wait()


async def open_audited(path: Path) -> float:
    room = RoomKey("hil", "main")
    log = SqliteRoomLog(path)
    tail, term = EventLog(str(room), ""), await log.claim(room)
    body = json.dumps({"type": "event", "data": DATA, "more": "y" * 60}).encode()
    for _ in range(RESTART_EVENTS // 1000):
        await log.append(room, term, [tail.append(body, 1) for _ in range(1000)])
    began = time.perf_counter()
    assert (await log.open(room)).head == RESTART_EVENTS
    seconds = time.perf_counter() - began
    await log.close()
    return seconds
