"""SIGTERM: everybody is told to come back, and nothing that was accepted is lost."""

import asyncio
import json
import time
from pathlib import Path

from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.app_server import send
from tests.integration.house import running
from tests.trust.fault_proxy import FaultProxy
from tests.trust.followers import Door, dial
from tests.trust.senders import Sender, judge_senders
from tests.trust.server_process import bodies, read_log, served, until
from vibehq_server.replicated import ReplicatedRoom
from vibehq_server.room_logs.sqlite import SqliteRoomLog
from vibehq_server.rooms.ops import OpsRoom

READERS = 20
WRITERS = 5


async def read_to_the_end(door: Door, room: str, ready: asyncio.Event) -> int | None:
    """Read until the server hangs up; return its close code."""
    link = await dial(door, room)
    try:
        while True:
            await link.recv()
            ready.set()
    except ConnectionClosed:
        return link.close_code


async def test_sigterm_tells_all_to_come_back_and_keeps_every_accepted_message(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as server:
        door = Door(server.port, server.admin)
        rooms = ["ops/main", "hil/main", "lobby/main", "terminal/vm"] * (READERS // 4)
        events = [asyncio.Event() for _ in rooms]
        writers = [Sender(door, f"w{number}", 10_000) for number in range(WRITERS)]
        async with asyncio.TaskGroup() as group:
            reading = [
                group.create_task(read_to_the_end(door, room, event))
                for room, event in zip(rooms, events, strict=True)
            ]
            writing = [group.create_task(writer.run()) for writer in writers]
            await asyncio.gather(*(event.wait() for event in events))
            await until(lambda: all(len(writer.accepted) > 10 for writer in writers))

            server.terminate()  # with messages under way

            code = await server.ended(10)
            closes = [await task for task in reading]
            await until(lambda: all(writer.closes for writer in writers))
            for task in writing:
                task.cancel()
    _, entries = await read_log(server.data)

    assert code == 0
    assert closes == [1012] * len(rooms)
    assert [writer.closes[0] for writer in writers] == [1012] * WRITERS
    judge_senders(writers, bodies(entries))


async def test_a_peer_that_is_stuck_holds_no_restart_up_and_others_get_503(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as server, FaultProxy(server.port) as proxy:
        door = Door(server.port, server.admin)
        stuck = await dial(Door(server.port, server.admin, proxy.port), "ops/main")
        await stuck.recv()
        proxy.links[0].stall()
        begun = time.monotonic()

        server.terminate()

        async def refused() -> int:
            try:
                late = await dial(door, "ops/main")
            except InvalidStatus as refusal:
                return refusal.response.status_code
            late.transport.abort()
            return 101

        async with asyncio.timeout(5):
            while await refused() == 101:
                pass
            assert await refused() == 503
        ready = await send(server.port, "GET", "/readyz")
        assert (ready.status, json.loads(ready.body)["status"]) == (503, "stopping")
        assert await server.ended(10) == 0
        assert time.monotonic() - begun < 10
        stuck.transport.abort()


class Porch(ReplicatedRoom):
    """Lets nobody in before it may, and notes who has left."""

    may_enter = asyncio.Event()
    left: list[int]

    async def on_start(self, props):
        await super().on_start(props)
        self.left = []

    async def on_connect(self, connection, request):
        await Porch.may_enter.wait()
        await super().on_connect(connection, request)

    async def on_close(self, connection, code, reason, was_clean):
        self.left.append(code)


async def test_a_stop_is_over_when_all_have_gone_also_who_was_just_coming() -> None:
    Porch.may_enter = asyncio.Event()
    async with running({"ops": Porch}) as house:
        peers = [await house.connect("ops/main") for _ in range(3)]
        await until(lambda: len(house.hub.connections()) == 3)
        room = house.hub.find("ops", "main")

        stopping = asyncio.create_task(house.hub.stop())
        await until(lambda: house.hub.is_stopping)
        Porch.may_enter.set()
        await stopping

        assert isinstance(room, Porch)
        assert room.left == [1012] * 3
        assert house.hub.connections() == []
        assert [await peer.close_code() for peer in peers] == [1012] * 3


async def test_a_room_that_cannot_stop_costs_the_others_nothing(tmp_path: Path) -> None:
    class Broken(ReplicatedRoom):
        async def on_stop(self):
            raise RuntimeError("a bug of its author")

    log = SqliteRoomLog(tmp_path / "rooms.sqlite3")
    async with running({"hil": Broken, "ops": OpsRoom}, log) as house:
        await (await house.connect("hil/main")).until("tick")
        peer = await house.connect("ops/main")
        await peer.until("tick")
        await peer.send({"type": "event", "name": "kept", "id": "1"})
        room = await house.hub.room("ops", "main")
        await until(lambda: room.log.head > 0)
        await house.hub.stop()
    _, entries = await read_log(tmp_path)

    assert [body["name"] for body in bodies(entries).values()] == ["kept"]
