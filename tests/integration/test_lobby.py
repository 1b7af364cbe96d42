"""The lobby tells who is where, at once, bounded, and only what one may know."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.integration.app_server import App, serving
from vibehq_server.rooms.lobby import PACE_SECONDS


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with serving(tmp_path / "data") as running:
        yield running


class Member:
    """A connection and what it was sent."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.sent: list[dict[str, Any]] = []

    async def until(self, holds: Any) -> dict[str, Any]:
        """Return the first message for which *holds*; within a second."""
        async with asyncio.timeout(1):
            while True:
                message = json.loads(await self.socket.recv())
                self.sent.append(message)
                if holds(message):
                    return message

    async def state(self, holds: Any = lambda _state: True) -> dict[str, Any]:
        """Return the first snapshot's state for which *holds*; within a second."""
        found = await self.until(
            lambda m: m["type"] == "snapshot" and holds(m["state"])
        )
        state: dict[str, Any] = found["state"]
        return state

    def presence(self) -> list[tuple[str, str, str]]:
        """Who came and went, as told so far."""
        return [
            (m["event"], m["who"], m["room"])
            for m in self.sent
            if m["type"] == "presence"
        ]


def enter(app: App, room: str, token: str, **query: str) -> Any:
    pairs = "&".join(f"{name}={value}" for name, value in query.items())
    return connect(
        f"ws://127.0.0.1:{app.port}/parties/{room}?{pairs}",
        additional_headers={"Authorization": f"Bearer {token}"},
        compression=None,
    )


def users(state: dict[str, Any], room: str) -> list[str] | None:
    for row in state["rooms"]:
        if f"{row['party']}/{row['room']}" == room:
            return [member["user"] for member in row["watching"]]
    return None


async def test_joining_and_leaving_reach_everybody_within_a_second(app: App) -> None:
    ana = (await app.grant("ana", "viewer", "operator"))["token"]
    bob = (await app.grant("bob", "viewer"))["token"]
    async with enter(app, "lobby/main", ana) as first:
        here = Member(first)
        async with enter(app, "lobby/main", bob) as second:
            there = Member(second)
            joined = await here.until(
                lambda m: m["type"] == "presence" and m["who"] == "bob"
            )
            assert (joined["event"], joined["room"]) == ("joined", "lobby/main")
            assert joined["roles"] == ["viewer"]
            state = await there.state(lambda s: len(s["members"]) == 2)
            assert state["members"] == [
                {"user": "ana", "roles": ["operator", "viewer"]},
                {"user": "bob", "roles": ["viewer"]},
            ]
        left = await here.until(
            lambda m: m["type"] == "presence" and m["event"] == "left"
        )
        assert (left["who"], left["room"]) == ("bob", "lobby/main")


async def test_the_lobby_tells_which_rooms_there_are_and_who_watches(app: App) -> None:
    ana = (await app.grant("ana", "viewer"))["token"]
    async with enter(app, "lobby/main", ana) as first:
        here = Member(first)
        async with enter(app, "terminal/web-1", ana):
            state = await here.state(lambda s: users(s, "terminal/web-1"))
            row = next(r for r in state["rooms"] if r["party"] == "terminal")
            assert row == {
                "party": "terminal",
                "room": "web-1",
                "connections": 1,
                "watching": [{"user": "ana", "roles": ["viewer"]}],
            }
            assert ("joined", "ana", "terminal/web-1") in here.presence()
        await here.state(lambda s: users(s, "terminal/web-1") is None)
        assert ("left", "ana", "terminal/web-1") in here.presence()


async def test_a_user_leaves_once_when_the_last_of_several_connections_goes(
    app: App,
) -> None:
    ana = (await app.grant("ana", "viewer"))["token"]
    bob = (await app.grant("bob", "viewer"))["token"]
    async with enter(app, "lobby/main", ana) as first:
        here = Member(first)
        tabs = [await enter(app, "terminal/web-1", bob) for _ in range(3)]

        def counts(wanted: int) -> Any:
            return lambda s: any(
                r["connections"] == wanted for r in s["rooms"] if r["room"] == "web-1"
            )

        await here.state(counts(3))
        await tabs[0].close()
        await here.state(counts(2))
        await tabs[1].close()
        await here.state(counts(1))
        assert here.presence().count(("joined", "bob", "terminal/web-1")) == 1
        assert ("left", "bob", "terminal/web-1") not in here.presence()
        await tabs[2].close()
        await here.state(lambda s: users(s, "terminal/web-1") is None)
        assert here.presence().count(("left", "bob", "terminal/web-1")) == 1


async def test_a_limited_grant_learns_of_no_other_room(app: App) -> None:
    all_of_it = (await app.grant("ana", "viewer"))["token"]
    rooms = ["lobby/main", "terminal/web-*"]
    some = (await app.grant("eve", "viewer", rooms=rooms))["token"]
    directory = app.server.context.hub.directory
    for worker in ("web-1", "db-1"):
        directory.update_terminal(f"{worker}:sh", worker)
    async with enter(app, "lobby/main", some) as socket:
        eve = Member(socket)
        async with (
            enter(app, "terminal/db-1", all_of_it),
            enter(app, "terminal/web-1", all_of_it),
        ):
            state = await eve.state(lambda s: users(s, "terminal/web-1"))
        await eve.state(lambda s: users(s, "terminal/web-1") is None)

    assert [t["id"] for t in state["terminals"]] == ["web-1:sh"]
    assert {room for _, _, room in eve.presence()} <= {"lobby/main", "terminal/web-1"}
    assert "db-1" not in json.dumps(eve.sent)


async def test_workers_out_of_reach_are_not_told_of(app: App) -> None:
    rooms = ["lobby/main", "terminal/web-*"]
    some = (await app.grant("eve", "viewer", rooms=rooms))["token"]
    hello = {
        "type": "worker-hello",
        "protocol": 1,
        "version": "0",
        "host": "h",
        "generation": 1,
        "providers": [],
        "terminals": [],
    }
    async with enter(app, "lobby/main", some) as socket:
        eve = Member(socket)
        for worker in ("db-1", "web-1"):
            link = await enter(app, f"worker/{worker}", app.server.keys.worker)
            await link.send(json.dumps(hello | {"worker": worker}))
        state = await eve.state(lambda s: s["workers"])
        headers = {"Authorization": f"Bearer {some}"}
        listed = (await app.send("GET", "/api/workers", headers)).json()["workers"]

    assert [w["id"] for w in state["workers"]] == ["web-1"]
    assert [w["id"] for w in listed] == ["web-1"]
    assert "db-1" not in json.dumps(eve.sent)


async def test_a_storm_of_changes_is_told_a_few_times_and_its_end_is_told(
    app: App,
) -> None:
    ana = (await app.grant("ana", "viewer"))["token"]
    directory = app.server.context.hub.directory
    loop = asyncio.get_running_loop()
    async with enter(app, "lobby/main", ana) as socket:
        here = Member(socket)
        await here.state(lambda s: s["members"])
        start, changes = loop.time(), 0
        while loop.time() - start < 3 * PACE_SECONDS:
            changes += 1
            directory.update_terminal("web-1", "web-1", viewers=changes)
            await asyncio.sleep(0)
        await here.state(lambda s: [t["viewers"] for t in s["terminals"]] == [changes])
        passed = loop.time() - start
    snapshots = [m for m in here.sent if m["type"] == "snapshot"]
    assert changes > 100
    # One for the arrival, one for its own entry, and then one a pace.
    assert len(snapshots) <= 3 + passed / PACE_SECONDS


async def test_whoever_comes_back_with_a_position_gets_the_state_anew(
    app: App,
) -> None:
    ana = (await app.grant("ana", "viewer"))["token"]
    async with enter(app, "lobby/main", ana) as socket:
        epoch = (await Member(socket).until(lambda _: True))["epoch"]
    async with enter(app, "lobby/main", ana, epoch=epoch, offset="0") as socket:
        again = Member(socket)
        connected = await again.until(lambda m: m["type"] == "connected")
        assert (connected["resume"], connected["reason"]) == ("reset", "not-kept")
        assert (await again.state())["members"]
