"""``/api/rooms``: who is in a room, how far each was served, what its log holds."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.integration.app_server import SOME_PARTIES, Answer, App, serving
from vibehq_nb.core.ids import RoomKey
from vibehq_server.room_logs.memory import MemoryRoomLog
from vibehq_server.room_logs.pages import last_entries, read_page
from vibehq_server.rooms.ops import OpsRoom
from vibehq_server.rooms.worker import WorkerRoom

PARTIES = SOME_PARTIES | {"ops": OpsRoom, "worker": WorkerRoom}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with serving(tmp_path / "data", PARTIES) as running:
        yield running


async def emit(app: App, *names: str, size: int = 0) -> None:
    for name in names:
        sent = {"name": name, "data": {"text": "x" * size}}
        answer = await app.send("POST", "/api/ops/broadcast", app.admin, sent)
        assert answer.status == 202


async def log(app: App, query: str = "", room: str = "ops/main") -> Answer:
    return await app.send("GET", f"/api/rooms/{room}/log?{query}", app.admin)


def enter(app: App, room: str, token: str, **query: str) -> Any:
    pairs = "&".join(f"{name}={value}" for name, value in query.items())
    return connect(
        f"ws://127.0.0.1:{app.port}/parties/{room}?{pairs}",
        additional_headers={"Authorization": f"Bearer {token}"},
        compression=None,
    )


async def test_a_room_is_shown_with_its_connections_and_its_log(app: App) -> None:
    ana = (await app.grant("ana", "viewer", "operator"))["token"]
    await emit(app, *"abcdefg")
    async with enter(app, "ops/main", ana, _pk="tab-1") as socket:
        await socket.recv()
        shown = (await app.send("GET", "/api/rooms/ops/main", app.admin)).json()
    (opened,) = shown["open"]
    since = opened.pop("since")
    assert opened == {
        "id": "tab-1",
        "user": "ana",
        "kind": "service",
        "roles": ["operator", "viewer"],
        "path": "",
        "mode": "messages",
        "served": 7,
        "pending_bytes": 0,
    }
    assert since.startswith("20")
    assert since.endswith("Z")
    assert (shown["offset"], shown["oldest"], shown["connections"]) == (7, 0, 1)
    assert shown["members"] == {"ana": ["operator", "viewer"]}
    assert [entry["offset"] for entry in shown["last"]] == [3, 4, 5, 6, 7]
    assert {entry["type"] for entry in shown["last"]} == {"event"}
    entries = (await log(app)).json()["entries"]
    assert shown["bytes"] == sum(entry["bytes"] for entry in entries)


async def test_a_terminal_is_shown_by_its_bytes(app: App) -> None:
    async with enter(app, "terminal/web-1", app.server.keys.admin) as socket:
        await socket.recv()
        path = "/api/rooms/terminal/web-1"
        shown = (await app.send("GET", path, app.admin)).json()
    assert (shown["offset"], shown["oldest"], shown["bytes"]) == (0, 0, 0)
    assert shown["open"][0]["served"] == 0
    assert shown["last"] == []


async def test_the_log_is_read_in_pages_without_its_internal_entries(app: App) -> None:
    await emit(app, "a")
    admin = app.server.keys.admin
    async with enter(app, "ops/main", admin, _pk="tab") as socket:
        sent = {"type": "event", "name": "b", "id": "1"}  # its answer is an entry
        await socket.send(json.dumps(sent))
        while json.loads(await socket.recv())["type"] != "accepted":
            pass
    await emit(app, "c")

    first = (await log(app, "limit=2")).json()
    rest = (await log(app, f"after={first['next']}")).json()
    end = (await log(app, f"after={rest['next']}")).json()
    last = (await log(app, "last=2")).json()

    assert [e["body"]["name"] for e in first["entries"]] == ["a", "b"]
    assert not first["is_end"]
    assert [(e["offset"], e["body"]["name"]) for e in rest["entries"]] == [(4, "c")]
    assert (rest["next"], rest["is_end"], end["entries"]) == (4, True, [])
    assert [e["body"]["name"] for e in last["entries"]] == ["b", "c"]
    assert rest["epoch"] == first["epoch"]


async def test_a_page_is_bounded_in_bytes(app: App) -> None:
    await emit(app, *(f"e{number}" for number in range(40)), size=40_000)
    page = (await log(app, "limit=1000")).json()
    assert 25 <= len(page["entries"]) <= 27
    seen = len(page["entries"])
    while not page["is_end"]:
        page = (await log(app, f"limit=1000&after={page['next']}")).json()
        seen += len(page["entries"])
    assert seen == 40


async def test_what_is_no_longer_kept_is_answered_with_the_oldest_offset(
    app: App,
) -> None:
    hub = app.server.context.hub
    await emit(app, *"abcd")
    kept = MemoryRoomLog()
    key = RoomKey("ops", "main")
    term = await kept.claim(key)
    await kept.append(key, term, await hub.log.read(key, 0, 10))
    await kept.trim(key, 2)
    stored, hub.log = hub.log, kept
    gone = await log(app)
    there = (await log(app, "after=2")).json()
    shown = (await app.send("GET", "/api/rooms/ops/main", app.admin)).json()
    hub.log = stored

    assert (gone.status, gone.json()["code"], gone.json()["oldest"]) == (410, "gone", 2)
    assert [entry["offset"] for entry in there["entries"]] == [3, 4]
    assert shown["oldest"] == 2


async def test_reading_follows_the_same_rules_as_joining(app: App) -> None:
    await emit(app, "a")
    await app.grant("eve", "viewer")
    asked: dict[str, list[int]] = {}
    for who, roles, rooms in (
        ("in reach", ["viewer"], ["ops/*"]),
        ("out of reach", ["viewer"], ["hil/*"]),
    ):
        token = (await app.grant(who.replace(" ", "-"), *roles, rooms=rooms))["token"]
        headers = {"Authorization": f"Bearer {token}"}
        asked[who] = [
            (await app.send("GET", f"/api/rooms/{path}", headers)).status
            for path in ("ops/main", "ops/main/log", "grants/main", "grants/main/log")
        ]
    anonymous = await app.send("GET", "/api/rooms/ops/main/log")
    assert asked == {"in reach": [200, 200, 404, 404], "out of reach": [404] * 4}
    viewer = (await app.grant("all", "viewer"))["token"]
    headers = {"Authorization": f"Bearer {viewer}"}
    assert (await app.send("GET", "/api/rooms/grants/main/log", headers)).status == 403
    assert anonymous.status == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("ops/mian/log", 404),
        ("nope/main/log", 400),
        ("terminal/web-1/log", 409),
        ("lobby/main/log", 409),
        ("ops/main/log?after=-1", 400),
        ("ops/main/log?limit=x", 400),
        ("ops/main/log?after=99999", 200),
        ("ops/main/log?limit=0", 200),
    ],
)
async def test_wrong_addresses_and_numbers_have_an_answer(
    app: App, path: str, status: int
) -> None:
    await emit(app, "a")
    answer = await app.send("GET", f"/api/rooms/{path}", app.admin)
    assert answer.status == status, answer.body


async def test_reading_makes_no_room(app: App) -> None:
    assert (await log(app)).status == 404
    assert app.server.context.hub.find("ops", "main") is None


async def test_a_log_is_read_after_a_restart_before_anybody_came(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "data", PARTIES) as first:
        await emit(first, "a", "b")
    async with serving(tmp_path / "data", PARTIES) as second:
        page = (await log(second)).json()
    assert [entry["body"]["name"] for entry in page["entries"]] == ["a", "b"]


async def test_the_last_entries_are_found_behind_many_internal_ones() -> None:
    from vibehq_nb.core.log import EventLog

    key, kept = RoomKey("ops", "main"), MemoryRoomLog()
    tail = EventLog(str(key), "e")
    for number in range(300):
        tail.append(b'{"type":"event"}' if number < 3 else b'{"type":"_note"}', 0)
    await kept.append(key, await kept.claim(key), tail.since(0))

    last = await last_entries(kept, key, 300, 2)
    page = await read_page(kept, key, 3, 10)

    assert [entry["offset"] for entry in last] == [2, 3]
    assert (page["entries"], page["next"], page["is_end"]) == ([], 300, True)
