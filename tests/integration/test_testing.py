"""The tool with which users test their rooms keeps its own promises."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from tornado.httpclient import AsyncHTTPClient

from vibehq_nb import PartySocket
from vibehq_nb.client.errors import RefusedError
from vibehq_nb.core.errors import UsageError
from vibehq_server import Response, Room, Rooms
from vibehq_server.room_logs.folder_lock import FolderInUseError
from vibehq_server.testing import Clock, as_user, serve_rooms

START = datetime(2026, 1, 1, tzinfo=UTC)


class Diary(Room):
    """Keeps what happens to it, with the time."""

    async def note(self, what):
        noted = await self.storage.get("noted", [])
        at = self.now.strftime("%H:%M")
        await self.storage.put("noted", [*noted, f"{at} {what}"])
        self.broadcast(what)

    async def on_connect(self, connection, request):
        who = connection.identity
        connection.send(f"{who.user} {','.join(sorted(who.roles))}")

    async def on_message(self, connection, message):
        await self.set_alarm(self.now + timedelta(minutes=float(message)))
        connection.send("set")

    async def on_request(self, request):
        if request.path == "hourly":
            await self.schedule(self.on_hour, cron="0 * * * *", id="hourly")
        return Response(json.dumps(await self.storage.get("noted", [])))

    async def on_hour(self, task):
        await self.note("hour")

    async def on_alarm(self):
        await self.note("alarm")


async def noted(url, path=""):
    response = await AsyncHTTPClient().fetch(
        f"{url}/parties/diary/d/{path}", headers=as_user("ana")
    )
    return json.loads(response.body)


def diary(url, **options):
    options = {"headers": as_user("ana")} | options
    return PartySocket(host=url, party="diary", room="d", **options)


async def ask_alarm(url, minutes):
    async with asyncio.timeout(10), diary(url) as socket:
        await anext(socket)
        socket.send(str(minutes))
        assert await anext(socket) == "set"


@pytest.mark.parametrize("rooms", [[Diary], {"diary": Diary}, Rooms([Diary])])
async def test_rooms_are_served_however_they_are_named(rooms):
    async with serve_rooms(rooms) as url:
        assert await noted(url) == []


@pytest.mark.parametrize(
    ("who", "seen"),
    [
        (("ana",), "ana operator,viewer"),
        (("bob", "approver"), "bob approver"),
        (("Zoë: 100 %",), "Zoë: 100 % operator,viewer"),
    ],
)
async def test_a_client_is_who_it_says_it_is(who, seen):
    async with (
        asyncio.timeout(10),
        serve_rooms([Diary]) as url,
        diary(url, headers=as_user(*who)) as socket,
    ):
        assert await anext(socket) == seen


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer ana"}])
async def test_whoever_says_nothing_is_refused(headers):
    async with (
        asyncio.timeout(10),
        serve_rooms([Diary]) as url,
        diary(url, headers=headers) as socket,
    ):
        with pytest.raises(RefusedError):
            await anext(socket)


async def test_an_alarm_rings_when_the_clock_is_moved_to_it_and_not_before():
    clock = Clock()
    async with serve_rooms([Diary], clock=clock) as url:
        await ask_alarm(url, minutes=30)
        await clock.move(minutes=29)
        assert await noted(url) == []

        await clock.move(minutes=1)

        assert await noted(url) == ["00:30 alarm"]


async def test_what_is_due_on_the_way_runs_in_order_each_at_its_own_time():
    clock = Clock(START)
    async with serve_rooms([Diary], clock=clock) as url:
        await noted(url, "hourly")
        await ask_alarm(url, minutes=90)

        await clock.move(hours=2.5)

        assert await noted(url) == ["01:00 hour", "01:30 alarm", "02:00 hour"]
        assert clock.now == START + timedelta(hours=2.5)


async def test_a_second_block_is_a_restart_and_what_was_missed_rings_at_once(tmp_path):
    clock = Clock()
    async with serve_rooms([Diary], data=tmp_path, clock=clock) as url:
        await ask_alarm(url, minutes=30)
    await clock.move(hours=2)

    async with serve_rooms([Diary], data=tmp_path, clock=clock) as url:
        assert await noted(url) == ["02:00 alarm"]


async def test_without_a_clock_time_is_real():
    async with serve_rooms([Diary]) as url, asyncio.timeout(10), diary(url) as socket:
        await anext(socket)
        socket.send("0.001")

        assert [await anext(socket), await anext(socket)] == ["set", "alarm"]


async def test_a_folder_serves_one_block_at_a_time_and_is_free_after_a_failed_one(
    tmp_path,
):
    async with serve_rooms([Diary], data=tmp_path):
        with pytest.raises(FolderInUseError):
            await fails_in_a_block(tmp_path)
    with pytest.raises(RuntimeError, match="on purpose"):
        await fails_in_a_block(tmp_path)

    async with serve_rooms([Diary], data=tmp_path) as url:
        assert await noted(url) == []


async def fails_in_a_block(folder):
    async with serve_rooms([Diary], data=folder):
        raise RuntimeError("on purpose")


async def test_a_clock_neither_goes_back_nor_stands_at_a_time_of_nowhere():
    with pytest.raises(UsageError):
        await Clock().move(minutes=-1)
    with pytest.raises(UsageError):
        Clock(datetime(2026, 1, 1))  # noqa: DTZ001  # what is refused
