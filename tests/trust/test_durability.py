"""What was acknowledged is on disk: kills, syncs, copies, and one server a folder."""

import asyncio
import contextlib
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.rounds import rounds, seeded
from tests.trust.followers import GONE, Door, dial
from tests.trust.server_process import ServerProcess, read_log, served, until
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import Entry
from vibehq_server.room_logs.sqlite import SqliteRoomLog

OPS = RoomKey("ops", "main")
WRITERS = 6
BURST = 190  # of messages that the server takes from a connection at once
WINDOW = 16
NOTHING = {"type": "subscribe", "filters": {"types": ["scan-failed"]}}


@dataclass
class Writer:
    """Sends events over one connection; keeps what was accepted, in that order."""

    name: str
    accepted: list[tuple[str, int]] = field(default_factory=list)
    sent: int = 0

    async def run(self, server: ServerProcess) -> None:
        """Send until the link breaks, or the burst is used up."""
        door = Door(server.port, server.admin)
        with contextlib.suppress(*GONE):
            async with await dial(door, "ops/main", _pk=self.name) as socket:
                await socket.send(json.dumps(NOTHING))
                while len(self.accepted) < BURST:
                    while self.sent < min(BURST, len(self.accepted) + WINDOW):
                        await socket.send(json.dumps(self._event()))
                        self.sent += 1
                    frame = json.loads(await socket.recv())
                    if frame["type"] == "accepted":
                        self.accepted.append((frame["id"], frame["offset"]))
                    assert frame["type"] != "error", frame

    def _event(self) -> dict[str, object]:
        name = f"{self.name}-{self.sent}"
        return {"type": "event", "id": name, "name": name, "data": {"x": "y" * 200}}


def judge(writers: list[Writer], entries: list[Entry]) -> None:
    """Check that what was accepted is stored, once, where the answer said it is."""
    stored: dict[str, list[int]] = {}
    for entry in entries:
        body = json.loads(entry.body)
        if body["type"] == "event":
            stored.setdefault(body["name"], []).append(body["offset"])
    doubled = {name for name, offsets in stored.items() if len(offsets) > 1}
    assert not doubled, f"stored twice: {sorted(doubled)[:5]}"
    for writer in writers:
        lost = [one for one in writer.accepted if stored.get(one[0]) != [one[1]]]
        assert not lost, f"accepted and not stored: {lost[:5]}"
        offsets = [offset for _, offset in writer.accepted]
        assert offsets == sorted(offsets), f"{writer.name}: not in order"


async def chain_is_whole(path: Path) -> bool:
    log = SqliteRoomLog(path)
    try:
        return await log.verify(OPS) is None
    finally:
        await log.close()


@pytest.mark.timeout(1800)
async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    chance = seeded("durability")
    writers: list[Writer] = []
    async with served(tmp_path) as server:
        for round_ in range(rounds(200)):
            if round_:
                await server.start()
            now = [Writer(f"r{round_}w{n}") for n in range(WRITERS)]
            tasks = [asyncio.create_task(writer.run(server)) for writer in now]
            enough = chance.randrange(1, WRITERS * BURST)
            await until(
                lambda now=now, enough=enough: sum(map(_accepted, now)) >= enough, 30
            )
            server.kill()
            await asyncio.gather(*tasks)
            writers += now
        _, entries = await read_log(server.data)
        assert await chain_is_whole(server.data / "rooms.sqlite3")

    judge(writers, entries)
    acknowledged = sum(map(_accepted, writers))
    assert acknowledged > rounds(200) * 20, "the kills came before anything happened"
    sys.stdout.write(f"{acknowledged} acknowledged, 0 lost\n")


def _accepted(writer: Writer) -> int:
    return len(writer.accepted)


# In which order things reach the disk and the client


@contextlib.asynccontextmanager
async def traced(server: ServerProcess, output: Path) -> AsyncIterator[None]:
    """Write the server's writes, syncs and sends to *output* within the block."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs a package: strace")
    calls = "trace=pwrite64,fdatasync,sendto,sendmsg,write,writev"
    options = ["-f", "-s", "70000", "-e", calls, "-o", str(output)]
    tracer = await asyncio.create_subprocess_exec(
        strace, *options, "-p", str(server.pid), stderr=subprocess.PIPE
    )
    assert tracer.stderr is not None
    if b"attached" not in await tracer.stderr.readline():
        pytest.skip("needs root that may trace")
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        await tracer.communicate()


LOGGED = re.compile(r'\\"message_id\\":\\"([^"\\]+)\\"')
ANSWERED = re.compile(r'\\"type\\":\\"accepted\\",\\"id\\":\\"([^"\\]+)\\"')
FIRST_PART = re.compile(r"^(\d+)\s+(\w+)\(")
LAST_PART = re.compile(r"^(\d+)\s+<\.\.\. (\w+) resumed>")


@dataclass
class Order:
    """
    What a trace shows, each place a line number.

    Attributes:
        written: By message id, where its entry was first written.
        answered: By message id, where the answer began to be sent.
        syncs: Begin and end of each sync that worked.
    """

    written: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    syncs: list[tuple[int, int]] = field(default_factory=list)

    def is_synced(self, message_id: str) -> bool:
        """Whether a sync began after the write and ended before the answer."""
        written, answered = self.written[message_id], self.answered[message_id]
        return any(written < begin and end <= answered for begin, end in self.syncs)


def read_trace(lines: list[str]) -> Order:
    order = Order()
    begun: dict[str, int] = {}
    for number, line in enumerate(lines):
        if found := FIRST_PART.match(line):
            thread, call = found.groups()
            if call == "fdatasync":
                begun[thread] = number
            elif call == "pwrite64":
                for message_id in LOGGED.findall(line):
                    order.written.setdefault(message_id, number)
            else:
                for message_id in ANSWERED.findall(line):
                    order.answered.setdefault(message_id, number)
        last = LAST_PART.match(line) or (FIRST_PART.match(line))
        if last and last.group(2) == "fdatasync" and line.rstrip().endswith("= 0"):
            order.syncs.append((begun[last.group(1)], number))
    return order


def test_the_reader_of_traces_tells_a_late_sync_from_one_in_time() -> None:
    head = r'7 pwrite64(9, "{\"message_id\":\"a\"}", 4096, 0) = 4096'
    answer = r'6 sendto(5, "{\"type\":\"accepted\",\"id\":\"a\"}", 9, 0) = 9'
    whole = "7 fdatasync(9) = 0"
    begun, ended = "7 fdatasync(9 <unfinished ...>", "7 <... fdatasync resumed>) = 0"

    assert read_trace([head, whole, answer]).is_synced("a")
    assert read_trace([head, begun, ended, answer]).is_synced("a")
    assert not read_trace([head, begun, answer, ended]).is_synced("a")
    assert not read_trace([whole, head, answer]).is_synced("a")
    assert not read_trace([begun, head, ended, answer]).is_synced("a")
    failed = "7 fdatasync(9) = -1 EIO (Input/output error)"
    assert not read_trace([head, failed, answer]).is_synced("a")


async def test_every_acknowledgement_follows_a_sync_of_what_it_acknowledges(
    tmp_path: Path,
) -> None:
    trace = tmp_path / "trace"
    writers = [Writer(f"w{n}") for n in range(WRITERS)]
    async with served(tmp_path) as server, traced(server, trace):
        async with asyncio.timeout(25):
            await asyncio.gather(*[writer.run(server) for writer in writers])

    order = read_trace(trace.read_text(errors="replace").splitlines())
    acknowledged = [name for writer in writers for name, _ in writer.accepted]

    assert len(acknowledged) == WRITERS * BURST
    assert set(order.answered) == set(acknowledged)
    assert [name for name in acknowledged if not order.is_synced(name)] == []


# Copies


async def test_a_copy_taken_under_load_opens_verifies_and_has_what_was_acknowledged(
    tmp_path: Path,
) -> None:
    writers = [Writer(f"w{n}") for n in range(WRITERS)]
    restored = tmp_path / "restored" / "data"
    restored.mkdir(parents=True)
    async with served(tmp_path) as server:
        source = server.data / "rooms.sqlite3"
        tasks = [asyncio.create_task(writer.run(server)) for writer in writers]
        await until(lambda: sum(map(_accepted, writers)) > 100)
        before = [Writer(w.name, list(w.accepted)) for w in writers]
        await asyncio.to_thread(vacuum_into, source, restored / source.name)
        await asyncio.gather(*tasks)

    assert await chain_is_whole(restored / "rooms.sqlite3")
    _, entries = await read_log(restored)
    judge(before, entries)
    async with served(restored.parent) as server:
        again = Writer("again")
        await again.run(server)
        assert len(again.accepted) == BURST


def vacuum_into(source: Path, copy: Path) -> None:
    with contextlib.closing(sqlite3.connect(source)) as db:
        db.execute("VACUUM INTO ?", (str(copy),))


# One server a folder


@pytest.mark.timeout(600)
async def test_of_servers_started_at_once_on_a_folder_one_runs_and_the_others_exit_3(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    command = [sys.executable, "-m", "vibehq_server.cli", "serve", "--port", "0"]
    refusals = 0
    while refusals < rounds(100):
        servers = [
            await asyncio.create_subprocess_exec(
                *(*command, "--data", str(data)),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(6)
        ]
        ends = [asyncio.create_task(server.wait()) for server in servers]
        try:
            await until(lambda ends=ends: sum(end.done() for end in ends) == 5, 60)
            assert [end.result() for end in ends if end.done()] == [3] * 5
            refusals += 5
            [living] = [s.pid for s in servers if s.returncode is None]
            await until(lambda living=living: owner_of(data) == living, 20)
        finally:
            for server in servers:
                with contextlib.suppress(ProcessLookupError):
                    server.kill()
            await asyncio.gather(*ends)


def owner_of(data: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return int(json.loads((data / "endpoint.json").read_text())["pid"])
    return None
