"""
Handshakes nobody should send, and what each is answered (B21 to B31).

All are refused before the upgrade: a refused one has no socket, hence no close code.
B27 and B28 are no cases: there is no socket without a credential.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.integration.app_server import UPGRADE, Answer, App, serving
from vibehq_nb.core.rates import Rate
from vibehq_server.auth.limits import FailureLimit
from vibehq_server.auth.tickets import Tickets
from vibehq_server.rates import Door

ROOM = "/parties/lobby/main"
CANARY = b"c4n4ry"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with serving(tmp_path / "data") as running:
        yield running


async def dial(app: App, path: str = ROOM, **changed: str | None) -> Answer:
    """Send a handshake with a valid credential, some headers changed or left out."""
    headers: dict[str, str] = UPGRADE | app.admin
    for name, value in changed.items():
        header = name.replace("_", "-")
        headers.pop(header, None)
        if value is not None:
            headers[header] = value
    return await app.send("GET", path, headers)


async def assert_still_serving(app: App) -> None:
    assert (await dial(app)).status == 101


CASES = [
    pytest.param(
        [
            (ROOM, {"Upgrade": None}, 426),
            (ROOM, {"Upgrade": "h2c"}, 426),
            (ROOM, {"Upgrade": "websocket, c4n4ry"}, 426),
            (ROOM, {"Connection": None}, 400),
            (ROOM, {"Connection": "keep-alive"}, 400),
            (ROOM, {"Sec_WebSocket_Version": None}, 426),
            (ROOM, {"Sec_WebSocket_Version": "8"}, 426),
            (ROOM, {"Sec_WebSocket_Version": "13, c4n4ry"}, 426),
        ],
        id="B21-upgrade-or-version",
    ),
    pytest.param(
        [
            (ROOM, {"Sec_WebSocket_Key": key}, 400)
            for key in (
                None,
                "",
                "c4n4ry",
                "AAAA",
                "dGhlIHNhbXBsZSBub25jZQ",
                "dGhlIHNhbXBsZSBub25jZSE=AAAA",
                "x" * 4000,
            )
        ],
        id="B22-key-not-16-bytes",
    ),
    pytest.param(
        [
            (ROOM, {"Origin": origin}, 403)
            for origin in (
                "null",
                "file://",
                "http://127.0.0.1:1",
                "http://127.0.0.1.c4n4ry.example",
                "http://c4n4ry127.0.0.1",
                "",
            )
        ],
        id="B24-foreign-origin",
    ),
    pytest.param(
        [
            (ROOM, {"Sec_WebSocket_Protocol": ", ".join(["c4n4ry"] * 500)}, 400),
            (ROOM, {"Sec_WebSocket_Protocol": "p," * 16}, 400),
            (ROOM, {"Sec_WebSocket_Protocol": "p" * 8192}, 400),
        ],
        id="B29-subprotocols-out-of-proportion",
    ),
    pytest.param(
        [
            ("/parties/terminal/" + name, {}, 404)
            for name in ("a%00b", "a%0ab", "a%7Fb", "x" * 257, "%2e%2e%2f%01", "")
        ],
        id="B31-room-names-that-are-none",
    ),
]


@pytest.mark.parametrize("variants", CASES)
async def test_a_bad_handshake_is_refused_in_a_sentence_and_nothing_is_echoed(
    app: App, variants: list[tuple[str, dict[str, str | None], int]]
) -> None:
    for path, changed, status in variants:
        answer = await dial(app, path, **changed)

        assert answer.status == status, (path[:40], changed)
        assert set(answer.json()) == {"code", "message", "request_id"}
        assert CANARY not in answer.body
        await assert_still_serving(app)


async def test_b23_a_cookie_opens_no_socket_without_an_origin(app: App) -> None:
    page = await app.sign_in()
    cookie = {"Cookie": page["Cookie"]}

    assert (await app.send("GET", ROOM, UPGRADE | cookie)).status == 403
    assert (await app.send("GET", ROOM, UPGRADE | page)).status == 101


async def test_b25_sockets_of_one_address_over_its_share_are_put_off(
    app: App,
) -> None:
    # Of other addresses 200 are served; this one is loopback, where all meet.
    app.server.context.hub.door = door = Door(per_address=1, per_loopback=3)
    url = f"ws://127.0.0.1:{app.port}{ROOM}"
    async with AsyncExitStack() as held:
        sockets = [
            await held.enter_async_context(connect(url, additional_headers=app.admin))
            for _ in range(3)
        ]
        refused = await dial(app)
        assert refused.status == 429
        assert refused.headers["retry-after"] == "60"

        await sockets[0].close()
        async with asyncio.timeout(5):
            while door.open["127.0.0.1"] > 2:
                await asyncio.sleep(0.01)
        await assert_still_serving(app)
    async with asyncio.timeout(5):
        while door.open:
            await asyncio.sleep(0.01)


async def test_a_storm_of_handshakes_is_told_different_times_to_come_back(
    app: App,
) -> None:
    app.server.context.hub.door = Door(rate=Rate(per_second=0.001, burst=5))
    answers = [await dial(app) for _ in range(45)]

    assert [a.status for a in answers] == [101] * 5 + [503] * 40
    waits = {int(a.headers["retry-after"]) for a in answers[5:]}
    assert waits <= set(range(1, 11))
    assert len(waits) > 1
    assert (await app.send("GET", "/api/me", app.admin)).status == 200


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_b26_every_ticket_that_opens_nothing_gets_the_same_answer(
    app: App,
) -> None:
    # 401 before the upgrade in place of a close with 4501. A ticket is bound to its
    # room and to whom it stands for, not to who shows it.
    clock = Clock()
    auth = app.server.context.auth
    auth.tickets = Tickets(clock)
    auth.failures = FailureLimit(clock)
    page = await app.sign_in()

    async def show(ticket: str, path: str = ROOM, **headers: str) -> Answer:
        given = UPGRADE | {"Origin": app.origin} | headers
        return await app.send("GET", f"{path}?ticket={ticket}", given)

    used = await app.ticket(page, "lobby/main")
    assert (await show(used)).status == 101
    for_another_room = await app.ticket(page, "terminal/web-1")
    for_another_page = await app.ticket(page, "lobby/main")
    late = await app.ticket(page, "lobby/main")
    foreign = await show(for_another_page, Origin="https://c4n4ry.example")
    assert foreign.status == 403  # the Origin is judged first
    clock.now += 29.9
    answers = [await show(used), await show(for_another_room)]
    clock.now += 1.1
    answers += [await show(late), await show("vhq_t_" + "x" * 43), await show("")]

    assert [a.status for a in answers] == [401] * 5
    assert len({(a.json()["code"], a.json()["message"]) for a in answers}) == 1
    await assert_still_serving(app)


async def test_refused_tickets_are_told_apart_by_no_time_either(app: App) -> None:
    tickets = app.server.context.auth.tickets
    page = await app.sign_in()
    key = app.server.context.hub.key("lobby", "main")

    async def quickest(make: str) -> float:
        times = []
        for _ in range(20):
            ticket = make or await app.ticket(page, "terminal/web-1")
            started = time.perf_counter()
            assert tickets.burn(ticket, key) is None
            times.append(time.perf_counter() - started)
        return min(times)

    spread = await quickest("") - await quickest("vhq_t_" + "x" * 43)
    assert abs(spread) < 0.001


async def test_b30_compression_is_offered_in_vain(app: App) -> None:
    for offered in (
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; c4n4ry=1",
        "x-webkit-deflate-frame, permessage-deflate",
        ";;;,,,===",
    ):
        answer = await dial(app, Sec_WebSocket_Extensions=offered)
        assert answer.status == 101
        assert "sec-websocket-extensions" not in answer.headers
