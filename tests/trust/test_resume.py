"""Links are cut anywhere and servers killed: nothing is skipped in silence."""

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.house import OPERATOR
from tests.integration.house import running as rooms
from tests.rounds import rounds, seeded
from tests.trust.byte_source import ByteSource
from tests.trust.fault_proxy import Fault, FaultProxy
from tests.trust.followers import Broken, Door, Follower, judge_bytes, judge_entries
from tests.trust.senders import Sender, judge_senders
from tests.trust.server_process import ServerProcess, bodies, read_log, served, until
from vibehq_nb.client.replica import EventReplica, TerminalReplica
from vibehq_nb.core.messages import Event, Message, ScanFailed, ScanStart
from vibehq_server.room_logs.sqlite import SqliteRoomLog
from vibehq_server.rooms.ops import OpsRoom

CUTS_PER_KILL = 15
NO_EVENTS = {"types": ["scan-start", "scan-failed"]}


class Cutter:
    """Gives each link of *proxy* a random end, until *cuts* links met theirs."""

    def __init__(
        self, proxy: FaultProxy, randomness: random.Random, cuts: int, most_bytes: int
    ) -> None:
        self._proxy, self._random = proxy, randomness
        self._wanted, self._most_bytes = cuts, most_bytes
        proxy.plan = self._plan

    @property
    def is_done(self) -> bool:
        return self._proxy.cuts >= self._wanted

    def _plan(self) -> Fault:
        if self.is_done:
            return Fault()
        most = self._most_bytes
        if self._random.random() < 0.2:  # while the client is being answered
            most = 2000
        return Fault(self._random.randrange(most), self._random.randrange(most))

    async def kill_at_times(self, server: ServerProcess) -> None:
        """Kill and restart *server* after each so many cuts, until all are done."""
        due = CUTS_PER_KILL
        while not self.is_done:
            if self._proxy.cuts >= due:
                due += CUTS_PER_KILL
                await server.restart()
            await asyncio.sleep(0.01)


def subscribing(filters: dict):
    async def subscribe(socket) -> None:
        await socket.send(json.dumps({"type": "subscribe", "filters": filters}))

    return subscribe


@asynccontextmanager
async def running(
    clients: Iterable[Follower | Sender | ByteSource],
) -> AsyncIterator[None]:
    """Let clients run beside the block; a failure of one fails the block."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.run()) for client in clients]
            yield
            for task in tasks:
                task.cancel()
    except* Broken as broken:
        raise broken.exceptions[0] from None


@pytest.mark.timeout(1200)
async def test_entries_are_one_contiguous_run_however_often_links_and_server_die(
    tmp_path: Path,
) -> None:
    randomness = seeded("resume entries")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(served(tmp_path))
        proxy = await stack.enter_async_context(FaultProxy(server.port))
        cutter = Cutter(proxy, randomness, rounds(500), 40_000)
        door = Door(server.port, server.admin, proxy.port)
        followers = [Follower(door, "ops/main", EventReplica()) for _ in range(4)]
        filtered = Follower(door, "ops/main", EventReplica(), subscribing(NO_EVENTS))
        senders = [Sender(door, f"sender-{n}", 100_000) for n in range(3)]
        async with running([*followers, filtered, *senders]):
            await cutter.kill_at_times(server)
            for sender in senders:
                sender.finish()
            await until(lambda: all(sender.is_finished for sender in senders))
            head = max(max(sender.accepted.values()) for sender in senders)
            await until(lambda: min(one.offset for one in followers) >= head)
            proxy.cut()  # who filters is told where it is when it comes back
            await until(lambda: filtered.offset >= head)
    epoch, entries = await read_log(server.data)
    log = bodies(entries)
    judge_senders(senders, log)
    for follower in followers:
        judge_entries(follower.history, epoch, log)
    judge_entries(filtered.history, epoch, log, lambda entry: entry["type"] != "event")
    answers = {answer for one in (*followers, filtered) for answer in one.answers}
    assert answers == {("fresh", ""), ("resumed", "")}
    assert server.starts > 1


@pytest.mark.timeout(1200)
async def test_a_terminals_bytes_come_once_and_in_order_through_cuts_and_kills(
    tmp_path: Path,
) -> None:
    randomness = seeded("resume bytes")
    cuts = rounds(500)
    total = cuts * 40_000
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(served(tmp_path))
        proxy = await stack.enter_async_context(FaultProxy(server.port))
        cutter = Cutter(proxy, randomness, cuts, 320_000)
        behind = await stack.enter_async_context(FaultProxy(server.port))
        source = ByteSource(Door(server.port, server.worker, behind.port))
        door = Door(server.port, server.admin, proxy.port)
        viewers = [Follower(door, "terminal/vm", TerminalReplica()) for _ in range(4)]
        async with running([source, *viewers]):
            await until(lambda: all(one.replica.position for one in viewers))
            killing = asyncio.create_task(cutter.kill_at_times(server))
            while len(source.data) < total or not killing.done():
                # As fast as it is read: a terminal waits for its room.
                await until(lambda: _lag(source, viewers) < 200_000, 30)
                source.data += randomness.randbytes(randomness.randrange(1, 20_000))
                if randomness.random() < 0.05:
                    behind.cut()
            await killing
            await until(lambda: _lag(source, viewers) == 0, 30)
    for viewer in viewers:
        reached, missing = judge_bytes(viewer.history, source.epoch, source.part)
        assert (reached, missing) == (len(source.data), 0)
        assert viewer.printed.digest() == hashlib.sha256(source.data).digest()
        assert {resume for resume, _ in viewer.answers} >= {"fresh", "resumed"}
    answers = {answer for viewer in viewers for answer in viewer.answers}
    assert ("waiting", "worker-away") in answers
    assert server.starts > 1
    assert len(source.sinces) > server.starts


def _lag(source: ByteSource, viewers: list[Follower]) -> int:
    return len(source.data) - min(viewer.offset for viewer in viewers)


@pytest.mark.timeout(120)
async def test_a_client_with_a_filter_is_sent_all_of_its_kind_and_carried_on_by_ticks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vibehq_server.hub.TICK_SECONDS", 0.05)
    randomness = seeded("resume filters")
    log = SqliteRoomLog(tmp_path / "rooms.sqlite3")
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(rooms({"ops": OpsRoom}, log))
        port = int(house.url.rpartition(":")[2])
        proxy = await stack.enter_async_context(FaultProxy(port))
        cutter = Cutter(proxy, randomness, rounds(500), 8000)
        door = Door(port, {"X-As": f"ana {OPERATOR}"}, proxy.port)
        clients = {
            kind: Follower(
                door, "ops/main", EventReplica(), subscribing({"types": [kind]})
            )
            for kind in ("event", "scan-start", "scan-failed")
        }
        room = await house.hub.room("ops", "main")
        assert isinstance(room, OpsRoom)
        async with running(clients.values()):
            while not cutter.is_done:
                await room.run(room.append, some_entry(randomness))
                await asyncio.sleep(0.002)
            await until(
                lambda: all(c.offset == room.log.head for c in clients.values())
            )
    epoch, entries = await read_log(tmp_path)
    for kind, client in clients.items():

        def wants(entry: dict, kind: str = kind) -> bool:
            return entry["type"] == kind

        reached = judge_entries(client.history, epoch, bodies(entries), wants)
        assert reached == len(entries)
        assert ("resumed", "") in client.answers


def some_entry(randomness: random.Random) -> Message:
    scan_id = f"s{randomness.randrange(20)}"
    match randomness.randrange(3):
        case 0:
            return ScanFailed(scan_id=scan_id, code="x", message="y" * 100)
        case 1:
            return ScanStart(
                scan_id=scan_id, scope="full", on=[], requested_by="", at="", offset=0
            )
    return Event(name="e", data={"x": "y" * 100}, by="", at="", offset=0)
