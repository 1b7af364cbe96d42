"""Every request is judged before any handler runs: Host, Origin, credentials."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.integration.app_server import UPGRADE, Answer, App, serving
from vibehq_server.auth.limits import FailureLimit
from vibehq_server.auth.sweep import close_expired
from vibehq_server.auth.tickets import Tickets

PUBLIC = {"/healthz", "/readyz", "/login", "/static/login.js"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ROOM = "/parties/lobby/main"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with serving(tmp_path / "data") as running:
        yield running


def paths(app: App) -> list[str]:
    """One address for each row of the live routing table."""
    found = []
    for pattern in app.patterns():
        plain = pattern.removesuffix("$").replace("(.*)", "lobby/main")
        plain = plain.replace("/static/([^/]+)", "/static/login.js")
        plain = plain.replace("(signal|writer|freeze|thaw)", "signal")
        plain = plain.replace(".*", "no-such-thing")
        found.append(re.sub(r"\(\[\^/\]\+\)", "x", plain))
    return found


async def test_an_anonymous_request_opens_no_route_but_the_public_ones(
    app: App,
) -> None:
    opened = set()
    for path in paths(app):
        for method in METHODS:
            answer = await app.send(method, path, {"Content-Type": "application/json"})
            if answer.status < 300:
                opened.add(path)
        upgraded = await app.send("GET", path, UPGRADE | {"Origin": app.origin})
        assert upgraded.status != 101, path
    assert len(paths(app)) >= 30
    assert opened == PUBLIC


async def test_a_foreign_host_is_refused_on_every_route(app: App) -> None:
    for path in paths(app):
        for host in ("evil.example:80", f"evil.example:{app.port}", "127.0.0.1:1"):
            headers = app.admin | {"Host": host, "Origin": f"http://{host}"}
            assert (await app.send("GET", path, headers)).status == 403, path


async def test_a_token_in_the_url_is_refused_even_if_it_is_valid(app: App) -> None:
    for path in paths(app):
        url = f"{path}?token={app.server.keys.admin}"
        answer = await app.send("GET", url, app.admin)
        assert answer.status == 400, path
        assert answer.json()["code"] == "credential-in-url"
        assert app.server.keys.admin.encode() not in answer.body


def wrong_origins(port: int) -> list[str]:
    own = f"127.0.0.1:{port}"
    return [
        "null",
        "file://",
        "",
        "*",
        f"https://{own}",
        f"ws://{own}",
        f"http://127.0.0.1:{port + 1}",
        "http://127.0.0.1",
        f"http://127.0.0.1:{port}.evil.example",
        f"http://{own}@evil.example",
        f"http://evil.example@{own}",
        f"http://{own}/path",
        f"http://{own}/",
        f"http://{own} http://evil.example",
        f"http://evil{own}",
        f"http://evil.example:{port}",
        f"http://localhost.evil.example:{port}",
        f"http://127.0.0.1.evil.example:{port}",
        f"//{own}",
        own,
        f"http:{own}",
        f"http://127.1:{port}",
        f"http://[::ffff:127.0.0.1]:{port}",
        f"http://127.0.0.1:0{port}0",
    ]


async def test_only_the_exact_origin_opens_a_socket_with_any_credential(
    app: App,
) -> None:
    page = await app.sign_in()

    async def dial(kind: str, origin: str | None) -> int:
        headers = dict(UPGRADE)
        url = ROOM
        match kind:
            case "cookie":
                headers["Cookie"] = page["Cookie"]
            case "bearer":
                headers |= app.admin
            case _:
                url += f"?ticket={await app.ticket(page, 'lobby/main')}"
        if origin is not None:
            headers["Origin"] = origin
        return (await app.send("GET", url, headers)).status

    origins = wrong_origins(app.port)
    assert len(origins) == 24
    for kind in ("cookie", "bearer", "ticket"):
        assert await dial(kind, app.origin) == 101
        for origin in origins:
            assert await dial(kind, origin) == 403, (kind, origin)
    assert await dial("cookie", None) == 403
    assert await dial("bearer", None) == 101
    assert await dial("ticket", None) == 101


async def test_a_session_changes_nothing_without_its_origin_or_as_a_form(
    app: App,
) -> None:
    page = await app.sign_in()
    asked = {"party": "lobby", "room": "main"}
    alone = {"Cookie": page["Cookie"]}

    assert (await app.send("GET", "/api/me", alone)).status == 200
    assert (await app.send("POST", "/api/tickets", alone, asked)).status == 403
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ):
        headers = page | {"Content-Type": kind}
        answer = await app.send("POST", "/api/tickets", headers, asked)
        assert answer.status == 415, kind
    zipped = page | {"Content-Encoding": "gzip"}
    assert (await app.send("POST", "/api/tickets", zipped, asked)).status == 415
    assert (await app.send("POST", "/api/tickets", page, asked)).status == 200


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_every_ticket_that_does_not_open_gets_the_same_answer(app: App) -> None:
    clock = Clock()
    auth = app.server.context.auth
    auth.tickets = Tickets(clock)
    auth.failures = FailureLimit(Clock())
    page = await app.sign_in()

    async def dial(ticket: str, path: str = ROOM) -> Answer:
        headers = UPGRADE | {"Origin": app.origin}
        return await app.send("GET", f"{path}?ticket={ticket}", headers)

    used = await app.ticket(page, "lobby/main")
    assert (await dial(used)).status == 101
    other_room = await app.ticket(page, "terminal/web-1")
    late = await app.ticket(page, "lobby/main")
    answers = [await dial(used), await dial(other_room)]
    clock.now += 30
    answers += [await dial(late), await dial("vhq_t_never-minted"), await dial("")]

    assert {answer.status for answer in answers} == {401}
    texts = {(a.json()["code"], a.json()["message"]) for a in answers}
    assert len(texts) == 1
    # Shown for the wrong room, it is used up for the right one, too.
    assert (await dial(other_room, "/parties/terminal/web-1")).status == 401
    assert (await app.send("GET", f"/api/me?ticket={late}")).status == 401


async def test_a_ticket_never_gives_more_than_its_minter_has(app: App) -> None:
    granted = await app.grant("eve", "viewer", rooms=["terminal/web-*"])
    eve = {"Authorization": f"Bearer {granted['token']}"}

    async def ask(**asked: str) -> int:
        return (await app.send("POST", "/api/tickets", eve, asked)).status

    assert await ask(party="terminal", room="web-1", role="viewer") == 200
    assert await ask(party="terminal", room="web-1", role="operator") == 403
    assert await ask(party="terminal", room="db-1") == 404
    assert await ask(party="worker", room="web-1") == 404
    assert await ask(party="nope", room="web-1") == 400


async def test_the_eleventh_bad_credential_within_a_minute_is_put_off(
    app: App,
) -> None:
    bad = {"Authorization": "Bearer vhq_g_" + "x" * 43}
    statuses = [(await app.send("GET", "/api/me", bad)).status for _ in range(11)]

    assert statuses == [401] * 10 + [429]
    assert (await app.send("GET", "/api/me", app.admin)).status == 200
    last = await app.send("GET", "/api/me", bad)
    assert last.headers["retry-after"] == "60"


async def test_a_bad_bearer_is_not_excused_by_a_good_cookie(app: App) -> None:
    page = await app.sign_in()
    for bad in ("Bearer vhq_a_wrong", "token wrong", "Basic eHg6eHg="):
        headers = page | {"Authorization": bad}
        assert (await app.send("GET", "/api/me", headers)).status == 401, bad


async def test_a_login_link_works_once_and_its_cookie_is_out_of_scripts_reach(
    app: App,
) -> None:
    code = app.server.make_login_link().partition("#")[2]
    shown = await app.send("GET", "/login")
    first = await app.send("POST", "/login", body={"code": code, "next": "/t/web-1"})
    second = await app.send("POST", "/login", body={"code": code})

    assert shown.status == 200
    assert first.status == 200
    assert first.json() == {"next": "/t/web-1"}
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "SameSite=Strict" in first.headers["set-cookie"]
    assert second.status == 401
    me = await app.send("GET", "/api/me", {"Cookie": first.cookie})
    assert me.json()["kind"] == "person"
    assert me.json()["roles"] == ["approver", "operator", "viewer"]


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "/\\evil.example", "https:evil", "/t/../api", "/t/%2e%2e", "x"],
)
async def test_signing_in_leads_nowhere_but_to_our_pages(app: App, path: str) -> None:
    code = app.server.make_login_link().partition("#")[2]
    answer = await app.send("POST", "/login", body={"code": code, "next": path})
    assert answer.json()["next"] == "/"


async def test_a_session_survives_a_restart_and_only_its_hash_is_stored(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "data") as first:
        page = await first.sign_in()
        granted = await first.grant("bob", "viewer")
        keys = first.server.keys
        port = first.port
    async with serving(tmp_path / "data", port=port) as second:
        assert (await second.send("GET", "/api/me", page)).status == 200
        bob = {"Authorization": f"Bearer {granted['token']}"}
        assert (await second.send("GET", "/api/me", bob)).status == 200
        assert second.server.keys == keys
    secret = page["Cookie"].partition("=")[2]
    for path in (tmp_path / "data").iterdir():
        content = path.read_bytes()
        assert secret.encode() not in content, path
        assert granted["token"].encode() not in content, path


async def test_logging_out_ends_the_session_and_its_sockets(app: App) -> None:
    page = await app.sign_in()
    url = f"ws://127.0.0.1:{app.port}{ROOM}"
    async with connect(url, additional_headers=page, origin=None) as socket:
        answer = await app.send("POST", "/logout", page, {})
        assert answer.status == 200
        await socket.wait_closed()
        assert socket.close_code == 4501
    assert (await app.send("GET", "/api/me", page)).status == 401


async def test_a_revoked_grant_closes_its_sockets_and_those_of_its_tickets(
    app: App,
) -> None:
    granted = await app.grant("bob", "viewer", "operator")
    bob = {"Authorization": f"Bearer {granted['token']}"}
    signed = await app.send("POST", "/login", body={"code": granted["token"]})
    page = {"Cookie": signed.cookie, "Origin": app.origin}
    ticket = await app.ticket(page, "lobby/main")
    unused = await app.ticket(bob, "lobby/main")
    url = f"ws://127.0.0.1:{app.port}{ROOM}"
    async with (
        connect(url, additional_headers=bob) as first,
        connect(f"{url}?ticket={ticket}") as second,
    ):
        path = f"/api/grants/{granted['id']}"
        assert (await app.send("DELETE", path, bob)).status == 403
        assert (await app.send("DELETE", path, app.admin)).status == 200
        await first.wait_closed()
        await second.wait_closed()
        assert (first.close_code, second.close_code) == (4501, 4501)
    assert (await app.send("GET", "/api/me", bob)).status == 401
    assert (await app.send("GET", "/api/me", page)).status == 401
    again = await app.send("GET", f"{ROOM}?ticket={unused}", UPGRADE)
    assert again.status == 401
    assert (await app.send("DELETE", path, app.admin)).status == 404


async def test_a_workers_grant_opens_its_own_rooms_only(app: App) -> None:
    granted = await app.grant("web-1", "worker")
    worker = {"Authorization": f"Bearer {granted['token']}"} | UPGRADE

    async def dial(room: str) -> int:
        return (await app.send("GET", f"/parties/{room}", worker)).status

    for room in ("worker/web-1", "terminal/web-1", "terminal/web-1:logs"):
        assert await dial(room) == 101, room
    for room in ("worker/web-2", "terminal/web-2", "terminal/web-10", "lobby/main"):
        assert await dial(room) == 403, room


async def test_a_socket_is_closed_when_its_grant_has_run_out(app: App) -> None:
    granted = await app.grant("bob", "viewer", ttl_seconds=1)
    bob = {"Authorization": f"Bearer {granted['token']}"}
    context = app.server.context
    url = f"ws://127.0.0.1:{app.port}{ROOM}"
    async with (
        connect(url, additional_headers=bob) as theirs,
        connect(url, additional_headers=app.admin) as ours,
    ):
        await theirs.recv()
        await ours.recv()
        assert close_expired(context.hub) == 0
        context.hub.clock = lambda: granted["expires_at"]
        assert close_expired(context.hub) == 1
        await theirs.wait_closed()
        assert theirs.close_code == 4501
        assert ours.close_code is None


async def test_approvers_are_the_owner_and_those_with_a_live_grant(app: App) -> None:
    auth = app.server.context.auth
    assert auth.approvers() == {auth.owner}
    granted = await app.grant("bob", "approver")
    await app.grant("eve", "viewer")
    assert auth.approvers() == {auth.owner, "bob"}
    await app.send("DELETE", f"/api/grants/{granted['id']}", app.admin)
    assert auth.approvers() == {auth.owner}


async def test_refusals_hold_a_code_and_a_sentence_and_nothing_that_was_sent(
    app: App,
) -> None:
    canary = "c4n4ry"
    bodies = [
        b"{",
        b"[" * 100_000,
        b'{"party": NaN}',
        b'{"party":"a","party":"b"}',
        b'{"party":"\\ud800","room":"x"}',
        b"\xff\xfe",
        f'{{"{canary}": "{canary}"}}'.encode(),
        b'"text"',
        b"",
    ]
    for body in bodies:
        headers = app.admin | {"Content-Type": "application/json"}
        answer = await app.send("POST", "/api/tickets", headers, body)
        assert answer.status == 400, body[:40]
        assert set(answer.json()) == {"code", "message", "request_id"}
        assert b"Traceback" not in answer.body
        assert canary.encode() not in answer.body.replace(b"`$`", b"")


@pytest.mark.parametrize(
    ("request_head", "statuses"),
    [
        ("GET /healthz HTTP/1.1\r\n\r\n", {400, 403}),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", {400, 403}),
        ("TRACE /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {405, 403}),
        ("FOO /api/me HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {405}),
    ],
)
async def test_malformed_requests_are_refused_without_a_trace(
    app: App, request_head: str, statuses: set[int]
) -> None:
    import asyncio

    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        writer.write(request_head.encode())
        line = await reader.readline()
        writer.close()
    assert int(line.split()[1]) in statuses


async def test_a_body_over_256_kib_is_refused_before_it_is_read(app: App) -> None:
    import asyncio

    head = (
        f"POST /api/tickets HTTP/1.1\r\nHost: 127.0.0.1:{app.port}\r\n"
        "Content-Type: application/json\r\nContent-Length: 300000\r\n\r\n"
    )
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        writer.write(head.encode())
        answer = await reader.read()
        writer.close()
    assert b" 101 " not in answer
    assert b" 200 " not in answer
