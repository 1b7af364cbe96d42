"""Who may do what, until when; and no credential where it does not belong."""

import ast
import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.integration.app_server import SOME_PARTIES, App, serving
from tests.integration.house import running
from tests.rounds import rounds
from tests.trust.stubborn import RefusedOpenError, StubbornClient
from vibehq_nb.core.errors import NotStoredError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.roles import BINARY, MAY_SEND, Role, may_join, may_send
from vibehq_server.connection import Connection
from vibehq_server.parties import BUILT_IN
from vibehq_server.room import Room
from vibehq_server.rooms.hil import HilRoom

ROOT = Path(__file__).parents[2]
WIRE = ROOT / "tests/data/wire"
ROOMS = {"terminal": "web-1", "worker": "web-1"}
LOG = RoomKey("grants", "main")


# The role matrix

MAY = {
    "viewer": {"terminal ack", "ops subscribe"},
    "operator": {
        *("terminal (binary)", "terminal ack", "terminal resize", "terminal writer"),
        *("terminal size-policy", "terminal input-at"),
        *("ops subscribe", "ops event", "hil hil-request", "hil hil-cancel"),
    },
    "approver": {
        *("terminal ack", "ops subscribe"),
        *("hil hil-request", "hil hil-decision", "hil hil-cancel"),
    },
    "admin": set(),
}
"""What people may send, written down a second time; a worker sends all the rest."""


def examples() -> dict[str, list[dict[str, Any]]]:
    """The golden messages by type; several messages may share one."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(WIRE.glob("*.json")):
        golden = json.loads(path.read_text())
        if golden["parties"]["up"]:
            found.setdefault(golden["type"], []).append(golden)
    return found


def example(party: str, kind: str, role: Role) -> str | bytes:
    if kind == BINARY:
        return b"ls\r"
    fitting = [g for g in examples()[kind] if party in g["parties"]["up"]]
    of_workers = [g for g in fitting if "Worker" in g["name"]]
    chosen = of_workers if role is Role.WORKER and of_workers else fitting
    return json.dumps(chosen[0]["message"])


CASES = [(party, kind) for party, kinds in MAY_SEND.items() for kind in kinds]


@pytest.mark.parametrize("role", Role)
def test_the_table_gives_each_role_what_is_written_down_and_no_more(role: Role) -> None:
    allowed = {f"{p} {k}" for p, k in CASES if may_send(p, k, {role})}
    if role is Role.WORKER:
        people = {"terminal resize", "terminal writer", "terminal size-policy"}
        people |= {"terminal input-at", "hil hil-decision"}
        assert allowed == {f"{party} {kind}" for party, kind in CASES} - people
    else:
        assert allowed == MAY[role]


@pytest.mark.parametrize("role", Role)
async def test_the_server_takes_what_the_table_allows_and_refuses_the_rest(
    role: Role,
) -> None:
    """A frame that is no message follows each one: its answer marks the end."""
    seen: dict[str, bool] = {}
    async with running(BUILT_IN) as house:
        for party, kind in CASES:
            room = f"{party}/{ROOMS.get(party, 'main')}"
            user = "web-1" if role is Role.WORKER else "ana"
            if not may_join(party, {role}):
                assert not may_send(party, kind, {role})
                with pytest.raises(InvalidStatus, match="403"):
                    await house.connect(room, user, role)
                continue
            peer = await house.connect(room, user, role)
            await peer.send(example(party, kind, role))
            await peer.send("{")
            codes: list[str] = []
            while "bad-message" not in codes:
                codes.append((await peer.until("error"))["code"])
            refusals = {"forbidden", "unknown-type"}
            seen[f"{party} {kind}"] = refusals.isdisjoint(codes)
            await peer.socket.close()
    wanted = {
        f"{p} {k}": may_send(p, k, {role}) for p, k in CASES if may_join(p, {role})
    }
    assert seen == wanted


# The end of a grant


class Keeper(Room):
    """Keeps what it is sent."""

    kept: list[str]

    async def on_message(self, connection: Connection, message: str | bytes) -> None:
        self.kept.append(str(message))


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    Keeper.kept = []
    parties = SOME_PARTIES | {"ops": Keeper, "hil": HilRoom}
    async with serving(tmp_path / "data", parties) as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def dial(app: App, grant: dict[str, Any], how: str) -> StubbornClient:
    """Open a socket with the grant, a session made of it, or a ticket of either."""
    headers, path = bearer(grant["token"]), "/parties/ops/main"
    if "session" in how:
        body = {"code": grant["token"]}
        signed = await app.send("POST", "/login", body=body)
        headers = {"Cookie": signed.cookie, "Origin": app.origin}
    if "ticket" in how:
        path += f"?ticket={await app.ticket(headers, 'ops/main')}"
        headers = {"Origin": app.origin}
    return await StubbornClient.open(app.port, path, headers)


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


WAYS = ("bearer", "session", "ticket", "ticket of a session")


@pytest.mark.timeout(180)
async def test_what_is_sent_after_a_revocation_reaches_nobody(app: App) -> None:
    """100 of 100 sockets, from clients that ignore the close and go on sending."""
    loop = asyncio.get_running_loop()
    for number in range(rounds(100)):
        grant = await app.grant("bob", "viewer", "operator")
        client = await dial(app, grant, WAYS[number % len(WAYS)])
        client.send(f"before {number}")
        await until(lambda: f"before {number}" in Keeper.kept)  # noqa: B023, at once

        revoked = loop.time()
        path = f"/api/grants/{grant['id']}"
        assert (await app.send("DELETE", path, app.admin)).status == 200
        for _ in range(5):
            client.send(f"after {number}")
        async with asyncio.timeout(5):
            assert await client.close_code() == 4501
        assert loop.time() - revoked < 1
        client.hang_up()
    assert not [text for text in Keeper.kept if text.startswith("after")]


@pytest.mark.parametrize("how", WAYS)
async def test_what_is_sent_after_a_grant_has_run_out_reaches_nobody(
    app: App, how: str
) -> None:
    grant = await app.grant("bob", "viewer")
    sending, silent = await dial(app, grant, how), await dial(app, grant, how)
    sending.send("before")
    await until(lambda: Keeper.kept)

    app.server.context.hub.clock = lambda: grant["expires_at"]
    sending.send("after")
    async with asyncio.timeout(1):
        assert await sending.close_code() == 4501
    async with asyncio.timeout(5):
        assert await silent.close_code() == 4501
    assert Keeper.kept == ["before"]
    sending.hang_up()
    silent.hang_up()


async def test_signing_out_ends_the_sockets_of_that_session_alone(app: App) -> None:
    page, other = await app.sign_in(), await app.sign_in()
    path = "/parties/ops/main"
    ended = await StubbornClient.open(app.port, path, page)
    stays = await StubbornClient.open(app.port, path, other)
    ticket = await app.ticket(page, "ops/main")
    assert (await app.send("POST", "/logout", page, {})).status == 200
    ended.send("ended")
    stays.send("stays")
    await until(lambda: Keeper.kept)
    async with asyncio.timeout(5):
        assert await ended.close_code() == 4501
    assert Keeper.kept == ["stays"]
    shown = {"Origin": app.origin}
    with pytest.raises(RefusedOpenError, match="401"):
        await StubbornClient.open(app.port, f"{path}?ticket={ticket}", shown)
    ended.hang_up()
    stays.hang_up()


# The audited log of grants


async def noted(app: App) -> list[dict[str, Any]]:
    entries = await app.server.context.hub.log.read(LOG, 0, 1000)
    return [json.loads(entry.body) for entry in entries]


async def test_every_grant_made_used_and_revoked_is_in_the_audited_log(
    app: App,
) -> None:
    grant = await app.grant("bob", "approver", rooms=["hil/*"])
    signed = await app.send("POST", "/login", body={"code": grant["token"]})
    await app.send("DELETE", f"/api/grants/{grant['id']}", app.admin)

    entries = await noted(app)
    owner = app.server.context.auth.owner
    assert [(e["name"], e["by"]) for e in entries] == [
        ("grant-created", owner),
        ("grant-used", "bob"),
        ("grant-revoked", owner),
    ]
    for entry in entries:
        assert entry["data"]["grant"] == grant["id"]
        assert entry["data"]["user"] == "bob"
        assert entry["data"]["roles"] == ["approver"]
        assert entry["data"]["rooms"] == ["hil/*"]
        assert entry["at"].endswith("Z")
    text = json.dumps(entries)
    assert grant["token"] not in text
    assert signed.cookie.partition("=")[2] not in text


class _Full:
    """A room log that takes nothing while it is full."""

    def __init__(self, log: Any) -> None:
        self._append, self.is_full = log.append, True
        log.append = self.append

    async def append(self, *args: Any) -> int:
        if self.is_full:
            raise NotStoredError("the disk is full")
        stored: int = await self._append(*args)
        return stored


async def test_what_is_not_in_the_log_is_not_given(app: App) -> None:
    given = await app.grant("ana", "viewer")
    log = _Full(app.server.context.hub.log)
    store = app.server.context.auth.store
    asked = {"user": "bob", "roles": ["viewer"]}
    before = {grant.id for grant in store.grants(with_ended=True)}

    refused = await app.send("POST", "/api/grants", app.admin, asked)
    no_session = await app.send("POST", "/login", body={"code": given["token"]})

    assert (refused.status, refused.json()["code"]) == (503, "not-stored")
    assert "token" not in refused.json()
    assert {grant.id for grant in store.grants(with_ended=True)} == before
    assert no_session.status == 503
    assert "set-cookie" not in no_session.headers
    log.is_full = False
    async with asyncio.timeout(10):
        while (await app.send("POST", "/api/grants", app.admin, asked)).status != 201:
            await asyncio.sleep(0.05)


async def test_a_revocation_holds_though_the_log_does_not_take_it(app: App) -> None:
    grant = await app.grant("bob", "viewer")
    client = await dial(app, grant, "bearer")
    log = _Full(app.server.context.hub.log)
    path = f"/api/grants/{grant['id']}"

    answer = await app.send("DELETE", path, app.admin)

    assert (answer.status, answer.json()["code"]) == (503, "not-stored")
    async with asyncio.timeout(5):
        assert await client.close_code() == 4501
    client.hang_up()
    assert (await app.send("GET", "/api/me", bearer(grant["token"]))).status == 401
    log.is_full = False
    async with asyncio.timeout(10):
        while (await app.send("DELETE", path, app.admin)).status != 200:
            await asyncio.sleep(0.05)
    assert [entry["name"] for entry in await noted(app)][-1] == "grant-revoked"
    assert (await app.send("DELETE", path, app.admin)).status == 404


async def test_ended_grants_are_listed_when_they_are_asked_for(app: App) -> None:
    gone = await app.grant("bob", "viewer")
    live = await app.grant("eve", "viewer")
    await app.send("DELETE", f"/api/grants/{gone['id']}", app.admin)

    async def listed(query: str) -> list[tuple[str, str]]:
        answer = await app.send("GET", f"/api/grants{query}", app.admin)
        return [(grant["id"], grant["status"]) for grant in answer.json()["grants"]]

    assert await listed("") == [(live["id"], "live")]
    assert await listed("?all=1") == [(gone["id"], "revoked"), (live["id"], "live")]


# Nobody approves what he asked for


async def test_no_way_in_lets_the_requester_approve(app: App) -> None:
    await app.grant("bob", "approver")
    roles = ("viewer", "operator", "approver")
    mine, again = await app.grant("ana", *roles), await app.grant("ana", *roles)
    asked = {"question": "Go?", "action": {"command": "x"}, "kind": "review"}
    headers = bearer(mine["token"])
    request = (await app.send("POST", "/api/hil/requests", headers, asked)).json()
    approval = request["approval_id"]
    vote = {
        "version": request["version"],
        "verdict": "approve",
        "action_digest": request["action_digest"],
        "reason": "mine",
    }
    signed = await app.send("POST", "/login", body={"code": mine["token"]})
    page = {"Cookie": signed.cookie, "Origin": app.origin}

    async def over_http(number: int, shown: dict[str, str]) -> int:
        path = f"/api/hil/requests/{approval}/response"
        body = vote | {"key": f"key-{number}"}
        return (await app.send("POST", path, shown, body)).status

    async def over_socket(number: int, shown: dict[str, str], query: str) -> str:
        url = f"ws://127.0.0.1:{app.port}/parties/hil/main?{query}"
        async with connect(url, additional_headers=shown) as socket:
            sent = vote | {"approval_id": approval, "key": f"key-{number}", "id": "1"}
            await socket.send(json.dumps({"type": "hil-decision", **sent}))
            async with asyncio.timeout(5):
                while (told := json.loads(await socket.recv()))["type"] != "error":
                    pass
        code: str = told["code"]
        return code

    ticket = await app.ticket(headers, "hil/main")
    role_ticket = await app.ticket(page, "hil/main", role="approver")
    refused = [
        await over_http(1, headers),
        await over_http(2, bearer(again["token"])),
        await over_http(3, page),
        await over_http(4, app.admin),
        await over_socket(5, headers, "_pk=first"),
        await over_socket(6, headers, "_pk=after-a-reconnect"),
        await over_socket(7, {}, f"ticket={ticket}"),
        await over_socket(8, {}, f"ticket={role_ticket}"),
    ]
    assert refused == [403] * 4 + ["forbidden"] * 4
    path = f"/api/hil/requests/{approval}"
    assert (await app.send("GET", path, headers)).json()["status"] == "pending"


# Guessing


async def test_the_eleventh_wrong_sign_in_of_a_minute_is_put_off(app: App) -> None:
    codes = [{"code": f"vhq_{'cg'[number % 2]}_wrong{number}"} for number in range(11)]
    answers = [await app.send("POST", "/login", body=code) for code in codes]
    assert [answer.status for answer in answers] == [401] * 10 + [429]
    assert answers[-1].headers["retry-after"] == "60"
    grant = await app.grant("bob", "viewer")
    good = await app.send("POST", "/login", body={"code": grant["token"]})
    assert good.status == 200


_SECRET = re.compile(r"token|secret|passw|cookie|credential|bearer|ticket$|_key$")


def compared() -> Iterator[str]:
    """Every comparison in the server with a name that sounds secret, as code."""
    for path in (ROOT / "server/vibehq_server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Compare):
                continue
            equals = [isinstance(op, ast.Eq | ast.NotEq) for op in node.ops]
            names = [ast.unparse(side) for side in (node.left, *node.comparators)]
            if any(equals) and any(_SECRET.search(name.lower()) for name in names):
                yield f"{path.name}: {ast.unparse(node)}"


HARMLESS = {
    "handlers.py: self.credential.how == 'cookie'",
    "room_handler.py: found.how != 'cookie'",
}


def test_no_secret_is_compared_in_a_time_that_tells_where_it_differs() -> None:
    assert set(compared()) <= HARMLESS


# Leaks


async def test_no_credential_is_in_a_log_an_answer_an_address_or_a_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One little story with every kind of credential, and then the search."""
    caplog.set_level(logging.DEBUG)
    data = tmp_path / "data"
    shown: list[bytes] = []
    async with serving(data, BUILT_IN) as app:
        canaries = [app.server.keys.admin, app.server.keys.worker]
        code = app.server.make_login_link().partition("#")[2]
        signed = await app.send("POST", "/login", body={"code": code})
        page = {"Cookie": signed.cookie, "Origin": app.origin}
        grant = await app.grant("bob", "viewer", "operator")
        token = grant["token"]
        ticket = await app.ticket(page, "ops/main")
        canaries += [code, signed.cookie.partition("=")[2], token, ticket]

        url = f"ws://127.0.0.1:{app.port}/parties"
        async with connect(f"{url}/ops/main?ticket={ticket}&_pk=a") as socket:
            shown.append(str(await socket.recv()).encode())
            (seen,) = app.server.context.hub.connections()
            shown.append(f"{seen.uri} {seen.request.query}".encode())
        async with connect(
            f"{url}/ops/main", additional_headers=bearer(token)
        ) as socket:
            await socket.send(json.dumps({"type": "event", "name": "n", "id": "1"}))
            while b"accepted" not in (frame := str(await socket.recv()).encode()):
                shown.append(frame)
        for who in (page, bearer(token), app.admin, bearer(app.server.keys.worker)):
            for method, path, body in (
                *(("GET", path, None) for path in READ),
                *((m, p, b) for p in WRITTEN for m, b in (("POST", {}), ("GET", None))),
            ):
                answer = await app.send(method, path, who, body)
                shown.append(f"{answer.headers}".encode() + answer.body)
        for canary in canaries:
            for path in (f"/api/me?token={canary}", f"/?token={canary}", f"/{canary}"):
                await app.send("GET", path)
            wrong = {"code": canary[:-1] + "-"}
            shown.append((await app.send("POST", "/login", body=wrong)).body)
        path = f"/api/grants/{grant['id']}"
        shown.append((await app.send("DELETE", path, app.admin)).body)
    # This very test's client tells its own headers at DEBUG.
    told = [r for r in caplog.records if not r.name.startswith("websockets")]
    logged = "\n".join(f"{record.getMessage()} {record.exc_text}" for record in told)
    assert "credential in url" in logged
    for number, canary in enumerate(canaries):
        secret = canary.encode()
        assert not [text for text in shown if secret in text], number
        kept = [
            path.name
            for path in data.rglob("*")
            if path.is_file() and path.name != "endpoint.json"
            if secret in path.read_bytes()
        ]
        assert kept == [], number
        assert canary not in logged, number


READ = (
    *("/", "/metrics", "/api/me", "/api/grants?all=1", "/api/rooms", "/api/workers"),
    *("/api/rooms/ops/main", "/api/rooms/ops/main/log", "/api/rooms/grants/main/log"),
    *("/api/terminals", "/api/hil/requests", "/api/ops/issues", "/t/web-1", "/login"),
)
WRITTEN = ("/api/hil/requests", "/api/ops/scan", "/api/terminals", "/api/nothing")
