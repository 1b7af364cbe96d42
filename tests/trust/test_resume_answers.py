"""Every answer to a resume with its reason, for entries and for bytes."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.integration.house import OPERATOR, House, running
from tests.trust.byte_source import ByteSource
from tests.trust.fault_proxy import FaultProxy
from tests.trust.followers import Door, Follower, judge_bytes, judge_entries
from tests.trust.senders import Sender
from tests.trust.server_process import bodies, read_log, served, until
from vibehq_nb.client.replica import EventReplica, TerminalReplica
from vibehq_nb.core.ids import Position
from vibehq_nb.core.stream import RING_BYTES
from vibehq_server.room_logs.sqlite import SqliteRoomLog
from vibehq_server.room_logs.sqlite_store import Retention
from vibehq_server.rooms.lobby import LobbyRoom
from vibehq_server.rooms.ops import OpsRoom
from vibehq_server.rooms.terminal import TerminalRoom

OPS = {"ops": OpsRoom}
TERMINAL = {"terminal": TerminalRoom, "lobby": LobbyRoom}


def door_of(house: House, who: str = f"ana {OPERATOR}", via: int | None = None) -> Door:
    return Door(int(house.url.rpartition(":")[2]), {"X-As": who}, via)


@asynccontextmanager
async def beside(*clients: Follower | ByteSource | Sender) -> AsyncIterator[None]:
    """Let clients run beside the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.run()) for client in clients]
        yield
        for task in tasks:
            task.cancel()


# Entries


async def follow(follower: Follower, to: int) -> tuple[str, str]:
    """Let *follower* come back and reach *to*; return how it was answered."""
    known = len(follower.answers)
    async with beside(follower):
        await until(lambda: len(follower.answers) > known)
        await until(lambda: follower.replica.position and follower.offset >= to)
    return follower.answers[-1]


async def send(door: Door, name: str, count: int) -> int:
    """Send events and return the offset of the last."""
    sender = Sender(door, name, count)
    await sender.run()
    return max(sender.accepted.values())


async def test_entries_fresh_then_resumed_then_reset_after_a_backup_is_restored(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as server:
        door = Door(server.port, server.admin)
        follower = Follower(door, "ops/main", EventReplica())
        assert await follow(follower, await send(door, "a", 5)) == ("fresh", "")
        server.kill()
        shutil.copytree(server.data, tmp_path / "backup")
        await server.start()
        assert await follow(follower, await send(door, "b", 5)) == ("resumed", "")
        server.kill()
        epoch, entries = await read_log(server.data)
        judge_entries(follower.history, epoch, bodies(entries))

        shutil.rmtree(server.data)
        shutil.copytree(tmp_path / "backup", server.data)
        await server.start()
        assert await follow(follower, 1) == ("reset", "ahead")

        server.kill()
        (server.data / "rooms.sqlite3").unlink()
        await server.start()
        assert await follow(follower, await send(door, "c", 1)) == ("reset", "epoch")


async def test_entries_that_are_trimmed_are_told_as_a_gap_and_a_snapshot(
    tmp_path: Path,
) -> None:
    def log() -> SqliteRoomLog:
        path = tmp_path / "rooms.sqlite3"
        return SqliteRoomLog(path, retention=Retention(max_entries=100))

    replica = EventReplica()
    first = log()
    async with running(OPS, first) as house:
        assert await follow(Follower(door_of(house), "ops/main", replica), 0)
        peer = await house.connect("ops/main")
        await peer.until("tick")
        [connection] = house.hub.connections()
        room = await house.hub.room("ops", "main")
        assert isinstance(room, OpsRoom)
        for number in range(1200):
            await room.run(room.emit, connection.identity, f"n{number}", {})
        await first.trim()
        head = room.log.head
    async with running(OPS, log()) as house:
        follower = Follower(door_of(house), "ops/main", replica)
        assert await follow(follower, head) == ("snapshot", "trimmed")

    kinds = [kind for kind, _ in follower.history]
    assert kinds[:4] == ["dial", "connected", "gap", "snapshot"]
    gap = follower.history[2][1]
    assert (gap["from"], gap["to"], gap["reason"]) == (0, head, "trimmed")


# Bytes


async def test_bytes_waiting_then_fresh_then_resumed() -> None:
    async with running(TERMINAL) as house:
        viewer = Follower(door_of(house), "terminal/vm", TerminalReplica())
        source = ByteSource(door_of(house, "vm worker"))
        source.data += b"before"
        async with beside(viewer):
            await until(lambda: viewer.answers == [("waiting", "worker-away")])
            async with beside(source):
                await until(lambda: viewer.offset == 6)
                source.data += b", after"
                await until(lambda: viewer.offset == 13)
        async with beside(source, viewer):
            source.data += b", again"
            await until(lambda: viewer.offset == 20)

    assert viewer.answers[:2] == [("waiting", "worker-away"), ("fresh", "")]
    assert ("resumed", "") in viewer.answers[2:]
    assert judge_bytes(viewer.history, "e1", source.part) == (20, 0)


async def test_bytes_that_are_no_longer_kept_are_told_as_a_gap_and_a_keyframe() -> None:
    noise = random.Random(1).randbytes(RING_BYTES + 1000)
    async with running(TERMINAL) as house:
        viewer = Follower(door_of(house), "terminal/vm", TerminalReplica())
        source = ByteSource(door_of(house, "vm worker"))
        source.data += b"seen"
        async with beside(source):
            async with beside(viewer):
                await until(lambda: viewer.offset == 4)
            source.data += noise
            await until(lambda: _held(house) == len(source.data))
            async with beside(viewer):
                source.data += b"live"
                await until(lambda: viewer.offset == len(source.data))

    assert viewer.answers[-1] == ("snapshot", "trimmed")
    gap = next(frame for kind, frame in viewer.history if kind == "gap")
    reached, missing = judge_bytes(viewer.history, "e1", source.part)
    assert reached == len(source.data)
    assert missing == gap["to"] - 4 >= 1000


def _held(house: House) -> int:
    room = house.hub.find("terminal", "vm")
    assert isinstance(room, TerminalRoom)
    return room.uplink.stream.head


async def test_a_viewer_that_stops_reading_is_told_the_gap_and_caught_up() -> None:
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(running(TERMINAL))
        port = door_of(house).port
        proxy = await stack.enter_async_context(FaultProxy(port))
        viewer = Follower(
            door_of(house, via=proxy.port), "terminal/vm", TerminalReplica()
        )
        source = ByteSource(door_of(house, "vm worker"))
        noise = random.Random(2)
        async with beside(source, viewer):
            await until(lambda: viewer.replica.position)
            proxy.links[0].stall()
            for _ in range(30):
                source.data += noise.randbytes(1024 * 1024)
                await until(lambda: _held(house) == len(source.data))
            proxy.links[0].resume()
            await until(lambda: viewer.offset == len(source.data))

    assert viewer.answers[-1] == ("fresh", "")
    reasons = [frame["reason"] for kind, frame in viewer.history if kind == "gap"]
    assert set(reasons) == {"slow"}
    reached, missing = judge_bytes(viewer.history, "e1", source.part)
    assert reached == len(source.data)
    assert missing > 0


async def test_a_keyframe_from_before_what_a_slow_viewer_has_is_no_gap() -> None:
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(running(TERMINAL))
        proxy = await stack.enter_async_context(FaultProxy(door_of(house).port))
        door = door_of(house, via=proxy.port)
        viewer = Follower(door, "terminal/vm", TerminalReplica())
        source = ByteSource(door_of(house, "vm worker"))
        noise = random.Random(3)
        async with beside(source, viewer):
            await until(lambda: viewer.replica.position)
            proxy.links[0].stall()
            room = house.hub.find("terminal", "vm")
            assert isinstance(room, TerminalRoom)
            [served] = room.viewers
            while served.phase == "live":
                source.data += noise.randbytes(64 * 1024)
                await until(lambda: _held(house) == len(source.data))
            source.keyframe_at = served.cursor - 1000
            proxy.links[0].resume()
            await until(lambda: viewer.offset == len(source.data))

    kinds = [kind for kind, _ in viewer.history]
    assert "gap" not in kinds
    assert kinds.count("snapshot") == 2
    assert judge_bytes(viewer.history, "e1", source.part) == (len(source.data), 0)


async def test_bytes_of_another_life_or_from_ahead_are_a_reset() -> None:
    async with running(TERMINAL) as house:
        source = ByteSource(door_of(house, "vm worker"))
        source.data += b"hello"
        async with beside(source):
            for position, reason in (
                (Position("e0", 3), "epoch"),
                (Position("e1", 6), "ahead"),
            ):
                viewer = Follower(
                    door_of(house), "terminal/vm", TerminalReplica(position)
                )
                async with beside(viewer):
                    await until(lambda: viewer.offset == 5)  # noqa: B023
                assert viewer.answers[-1] == ("reset", reason)
