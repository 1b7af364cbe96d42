"""Alarms and scheduled work: durable, at their time, and none stops another."""

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.house import running
from vibehq_nb.core.errors import NotStoredError, UsageError
from vibehq_nb.core.ids import RoomKey
from vibehq_server import Room
from vibehq_server.room_logs.memory import MemoryRoomLog


class Clock:
    """A clock that is set; the timers look at it when they are told to."""

    def __init__(self):
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self):
        return self.now.timestamp()

    async def go(self, house, **by):
        """Move on and let the alarms of that time ring."""
        self.now += timedelta(**by)
        for room in tuple(house.hub.alarms._due):
            house.hub.alarms._look(room)
        async with asyncio.timeout(5):
            while house.hub.alarms._ringing:
                await asyncio.sleep(0)


class Worker(Room):
    """Notes what it is woken for."""

    async def on_start(self, props):
        self.seen = []
        self.fails = 0

    async def on_alarm(self):
        self.seen.append(("alarm", await self.get_alarm()))
        if self.fails:
            self.fails -= 1
            raise RuntimeError("on purpose")

    async def work(self, task):
        self.seen.append((task.id, task.payload))

    async def fail(self, task):
        self.seen.append((task.id, "failed"))
        raise RuntimeError("on purpose")

    async def again(self, task):
        self.seen.append(task.id)
        await self.schedule(self.work, delay=10, id=task.id)


async def room_of(house, name="r"):
    return await house.hub.room("main", name)


def a_house(clock, log=None):
    return running({"main": Worker}, log, clock=clock)


async def test_an_alarm_rings_once_at_its_time_and_is_gone_while_it_rings():
    clock = Clock()
    async with a_house(clock) as house:
        room = await room_of(house)
        due = room.now + timedelta(hours=2)
        await room.set_alarm(due)
        assert await room.get_alarm() == due

        await clock.go(house, hours=1)
        assert room.seen == []
        await clock.go(house, hours=1)
        await clock.go(house, hours=1)

        assert room.seen == [("alarm", None)]
        assert await room.get_alarm() is None


async def test_an_alarm_that_is_moved_or_removed_does_not_ring_at_its_old_time():
    clock = Clock()
    async with a_house(clock) as house:
        one, two = await room_of(house, "one"), await room_of(house, "two")
        for room in (one, two):
            await room.set_alarm(room.now + timedelta(hours=1))
        await one.set_alarm(one.now + timedelta(hours=5))
        await two.delete_alarm()

        await clock.go(house, hours=2)
        assert (one.seen, two.seen) == ([], [])
        await clock.go(house, hours=4)

        assert (len(one.seen), two.seen) == (1, [])


async def test_an_alarm_that_fails_is_tried_again_and_given_up_after_six_times():
    clock = Clock()
    async with a_house(clock) as house:
        room = await room_of(house)
        room.fails = 100
        await room.set_alarm(room.now)
        for _ in range(20):
            await clock.go(house, minutes=10)

        assert len(room.seen) == 6
        assert await room.get_alarm() is None


async def test_an_alarm_set_by_the_alarm_itself_stands():
    class Ticking(Worker):
        async def on_alarm(self):
            await super().on_alarm()
            if len(self.seen) < 3:
                await self.set_alarm(self.now + timedelta(minutes=1))

    clock = Clock()
    async with running({"main": Ticking}, clock=clock) as house:
        room = await room_of(house)
        await room.set_alarm(room.now)
        for _ in range(5):
            await clock.go(house, minutes=1)

        assert len(room.seen) == 3


async def test_alarms_missed_while_the_server_was_away_ring_at_its_start():
    log, clock = MemoryRoomLog(), Clock()
    async with a_house(clock, log) as house:
        room = await room_of(house)
        await room.set_alarm(room.now + timedelta(hours=1))
        await room.schedule(room.work, when=room.now + timedelta(hours=2), id="t")
        await room.schedule(room.work, when=room.now + timedelta(hours=9), id="later")
    log.reopen()
    clock.now += timedelta(hours=3)
    async with a_house(clock, log) as house:
        async with asyncio.timeout(5):
            while house.hub.find("main", "r") is None:
                await asyncio.sleep(0)
        await clock.go(house)
        room = await room_of(house)

        assert [name for name, _ in room.seen] == ["t", "alarm"]
        assert [task.id for task in await room.scheduled()] == ["later"]


async def test_every_kind_of_task_runs_at_its_time_and_is_found_before():
    clock = Clock()
    async with a_house(clock) as house:
        room = await room_of(house)
        await room.schedule(room.work, cron="0 2 * * *", id="cron", payload=[1])
        await room.schedule(room.work, when=room.now + timedelta(hours=3), id="at")
        await room.schedule("work", delay=60.0, id="delay", description="soon")
        await room.schedule(room.work, id="none")
        found = [(task.id, task.kind) for task in await room.scheduled()]

        await clock.go(house, hours=1)
        await clock.go(house, hours=2)
        await clock.go(house, days=3)
        left = await room.scheduled()

    assert found == [(k, k) for k in ("delay", "at", "cron", "none")]
    assert room.seen == [("delay", None), ("at", None), ("cron", [1])]
    assert [task.id for task in left] == ["cron", "none"]
    assert left[0].when == datetime(2026, 3, 5, 2, tzinfo=UTC)


async def test_the_same_id_replaces_and_cancel_stops():
    clock = Clock()
    async with a_house(clock) as house:
        room = await room_of(house)
        await room.schedule(room.work, delay=10, id="a", payload="old")
        await room.schedule(room.work, delay=20, id="a", payload="new")
        await room.schedule(room.work, delay=20, id="b")

        assert await room.cancel_scheduled("b") is True
        assert await room.cancel_scheduled("b") is False
        await clock.go(house, hours=1)

    assert room.seen == [("a", "new")]


async def test_a_failing_task_stops_no_other_and_is_tried_five_times():
    clock = Clock()
    async with a_house(clock) as house:
        room = await room_of(house)
        await room.schedule(room.fail, delay=1, id="bad")
        await room.schedule(room.work, delay=2, id="good")
        await room.set_alarm(room.now + timedelta(seconds=3))
        await clock.go(house, minutes=1)
        first = list(room.seen)
        for _ in range(10):
            await clock.go(house, minutes=1)

        assert first == [("bad", "failed"), ("good", None), ("alarm", None)]
        assert room.seen.count(("bad", "failed")) == 5
        assert await room.scheduled() == []


async def test_a_task_may_call_another_room_and_may_schedule_itself_anew():
    clock = Clock()
    async with a_house(clock) as house:
        one, two = await room_of(house, "one"), await room_of(house, "two")
        await one.schedule("work", delay=1, id="x", payload=7, room="main/two")
        await one.schedule(one.again, delay=1, id="y")
        await clock.go(house, seconds=5)
        await clock.go(house, seconds=20)

    assert two.seen == [("x", 7)]
    assert one.seen == ["y", ("y", None)]


@pytest.mark.parametrize(
    "how",
    [
        {"cron": "never"},
        {"cron": "* * * * *", "delay": 1},
        {"when": datetime(2026, 1, 1)},  # noqa: DTZ001 - what is refused
        {"delay": 1, "id": ""},
        {"delay": 1, "payload": float("nan")},
        {"delay": 1, "room": "nosuch/r"},
        {"cron": "0 0 30 2 *"},
    ],
)
async def test_what_is_no_schedule_is_refused_and_nothing_is_stored(how):
    async with a_house(Clock()) as house:
        room = await room_of(house)
        with pytest.raises(UsageError):
            await room.schedule(room.work, **how)
        with pytest.raises(UsageError, match="no method"):
            await room.schedule("nothing", delay=1)

        assert await room.scheduled() == []


async def test_a_kill_between_index_and_room_costs_a_look_and_no_alarm():
    log, clock = MemoryRoomLog(), Clock()
    async with a_house(clock, log) as house:
        await house.hub.alarms.open()
        house.hub.alarms.note(RoomKey("main", "r"), clock() + 60)
        await house.hub.alarms.committed()
        await clock.go(house, minutes=5)
        room = await room_of(house)

        assert room.seen == []
        assert house.hub.alarms.due(room.key) is None


async def test_the_index_is_stored_before_the_rooms_own_entry():
    order = []

    class Noting(MemoryRoomLog):
        async def append(self, room, term, entries):
            order.append(room.party)
            return await super().append(room, term, entries)

    async with a_house(Clock(), Noting()) as house:
        room = await room_of(house)
        await room.set_alarm(room.now + timedelta(hours=1))

    assert order[:2] == ["_alarms", "main"]


async def test_an_alarm_that_was_refused_can_be_set_again_and_outlives_a_restart():
    log, clock = MemoryRoomLog(), Clock()
    async with a_house(clock, log) as house:
        room = await room_of(house)
        due = room.now + timedelta(hours=1)
        log.is_full = True
        with pytest.raises(NotStoredError):
            await room.set_alarm(due)
        log.is_full = False
        async with asyncio.timeout(5):
            while True:
                with suppress(NotStoredError):
                    await room.set_alarm(due)
                    break
                await asyncio.sleep(0.01)
    log.reopen()
    async with a_house(clock, log) as house:
        assert house.hub.alarms.due(RoomKey("main", "r")) == due.timestamp()


async def test_a_house_that_is_full_keeps_an_alarm_waiting_and_does_not_lose_it(
    monkeypatch,
):
    clock = Clock()
    async with a_house(clock) as house:
        room = await room_of(house)
        await room.set_alarm(room.now + timedelta(hours=1))
        house.hub.let_go(room)
        await house.connect("main/other")
        monkeypatch.setattr("vibehq_server.hub.MAX_ROOMS", 1)
        monkeypatch.setattr("vibehq_server.alarm_clock.FIRST_RETRY_SECONDS", 0.01)
        clock.now += timedelta(hours=2)
        house.hub.alarms._look(room.key)
        await asyncio.sleep(0.05)
        monkeypatch.setattr("vibehq_server.hub.MAX_ROOMS", 10)
        async with asyncio.timeout(5):
            while house.hub.alarms._ringing:
                await asyncio.sleep(0.01)

        assert (await room_of(house)).seen == [("alarm", None)]


async def test_an_alarm_that_sets_no_time_but_nonsense_is_not_rung_without_end():
    class Careless(Worker):
        async def on_alarm(self):
            await super().on_alarm()
            await self.set_alarm(datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake

    clock = Clock()
    async with running({"main": Careless}, clock=clock) as house:
        room = await room_of(house)
        await room.set_alarm(room.now)
        for _ in range(20):
            await clock.go(house, minutes=10)

        assert len(room.seen) == 6


SERVER = """
from datetime import timedelta
from pathlib import Path
from vibehq_server import Room, Response

class Ringing(Room):
    access = "open"
    async def on_start(self, props):
        self.started = True
    async def on_request(self, request):
        await self.storage.put("asked", True)
        await self.set_alarm(self.now + timedelta(milliseconds=float(request.body)))
        return Response("set")
    async def on_alarm(self):
        assert self.started and await self.storage.get("asked")
        with Path("rang").open("a") as file:
            file.write(f"{self.name}\\n")

ROOMS = [Ringing]
"""


async def test_an_alarm_survives_kill_9_and_rings_once(tmp_path: Path) -> None:
    (tmp_path / "ringing.py").write_text(SERVER)
    first, url = await serve(tmp_path)
    answers = [await post(f"{url}/parties/ringing/r%20{n}", b"400") for n in range(3)]
    first.send_signal(signal.SIGKILL)
    await first.wait()
    assert answers == [b"set"] * 3

    second, _ = await serve(tmp_path)
    rang = tmp_path / "rang"
    try:
        async with asyncio.timeout(10):
            while not rang.exists() or rang.read_text().count("\n") < 3:
                await asyncio.sleep(0.02)
    finally:
        second.send_signal(signal.SIGTERM)
        await second.wait()

    assert sorted(rang.read_text().split()) == ["r%200", "r%201", "r%202"]


async def serve(folder: Path) -> tuple[asyncio.subprocess.Process, str]:
    data = folder / "data"
    (data / "endpoint.json").unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "vibehq_server.cli", "serve", "--port", "0"),
        *("--data", str(data), "--rooms", "ringing:ROOMS"),
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 15
    while not (data / "endpoint.json").exists():
        assert process.returncode is None
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    return process, json.loads((data / "endpoint.json").read_text())["url"]


async def post(url: str, body: bytes) -> bytes:
    from tornado.httpclient import AsyncHTTPClient

    answer = await AsyncHTTPClient().fetch(url, method="POST", body=body)
    return bytes(answer.body)
