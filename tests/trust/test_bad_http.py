"""
Requests nobody should send, and what each is answered (B1 to B20).

Where Tornado answers before any handler of ours exists it says 400 without a body, or
hangs up on headers it has no room for: it offers no hook there. What the catalogue
would call it stands beside the case.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.app_server import App, serving
from vibehq_server.app import SERVER_LIMITS

CANARY = b"c4n4ry"
CLOSED = 0
"""Stands for a connection that is closed without an answer."""


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with serving(tmp_path / "data") as running:
        yield running


async def answer_of(app: App, request: bytes) -> tuple[int, bytes]:
    """Send bytes; return the status, CLOSED without one, and all that came."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            size = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            return int(head.split()[1]), head + await reader.read(int(size or 0))
        except (ConnectionError, asyncio.IncompleteReadError):
            return CLOSED, b""
        finally:
            writer.close()


async def assert_still_serving(app: App) -> None:
    assert (await app.send("GET", "/api/me", app.admin)).status == 200


def request(
    app: App, line: str, *headers: str, host: bool = True, key: bool = True
) -> bytes:
    """The head of a request with our Host and a valid credential."""
    lines = [f"{line} HTTP/1.1"]
    lines += [f"Host: 127.0.0.1:{app.port}"] * host
    lines += [f"Authorization: {app.admin['Authorization']}"] * key
    return "\r\n".join([*lines, *headers, "", ""]).encode()


TICKET = "POST /api/tickets"
JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
ASKED = b'{"party":"lobby","room":"main"}'
SIZED = f"Content-Length: {len(ASKED)}"

# (request line, headers, body, with our Host, answers that are right)
CASES = [
    pytest.param(
        [
            ("GET /healthz", [], b"", False, {400}),
            ("GET /healthz", ["Host: c4n4ry"], b"", True, {400}),
            ("GET /healthz", ["Host: a", "Host: a"], b"", False, {400}),
        ],
        id="B1-no-host-and-two-hosts",
    ),
    pytest.param(
        [
            ("GET /api/me", ["Host: c4n4ry.example"], b"", False, {403}),
            ("GET /api/me", ["Host: 127.0.0.1:1"], b"", False, {403}),
            ("GET /healthz", ["Host: a@b"], b"", False, {400, 403}),
        ],
        id="B2-foreign-host",
    ),
    pytest.param(
        # Closed: Tornado gives up a head that is over 16 KiB without an answer.
        [("GET /api/me", ["X-Long: " + "x" * 70_000], b"", True, {CLOSED, 431})],
        id="B3-a-header-of-70-kb",
    ),
    pytest.param(
        [
            ("GET /api/me", ["a:b"] * 2000, b"", True, {431}),
            ("GET /healthz", [f"{n:x}:" for n in range(2000)], b"", True, {431}),
            ("GET /api/me", ["a:b"] * 5000, b"", True, {CLOSED, 431}),
        ],
        id="B4-2000-headers",
    ),
    pytest.param(
        [
            (TICKET, [JSON, f"Content-Length: {size}"], ASKED, True, {400})
            for size in ("+31", "3_1", "-1", "0x1f", "31, 32", "1e1", "")
        ]
        + [
            (TICKET, [JSON, *more], b"0\r\n\r\n", True, {400})
            for more in (
                ["Content-Length: 5", "Transfer-Encoding: chunked"],
                ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
                ["Transfer-Encoding: xchunked"],
                ["Transfer-Encoding: identity, chunked"],
                ["Content-Length: 5", "Content-Length: 6"],
            )
        ],
        id="B7-two-lengths-of-one-body",
    ),
    pytest.param(
        # 400: Tornado knows no 413; what matters is that nothing of it is read.
        [
            (TICKET, [JSON, "Content-Length: 300000"], b"", True, {400, 413}),
            (
                TICKET,
                [JSON, "Transfer-Encoding: chunked"],
                b"493e0\r\n" + b"x" * 1000,
                True,
                {400, 413},
            ),
        ],
        id="B8-a-body-of-300-kb",
    ),
    pytest.param(
        [
            (TICKET, [kind, "Content-Length: 5"], b"--x--", True, {415})
            for kind in (
                "Content-Type: multipart/form-data; boundary=x",
                "Content-Type: multipart/form-data",
            )
        ],
        id="B9-multipart",
    ),
    pytest.param(
        # A form is refused by its type, which comes before its size.
        [
            (TICKET, [FORM, "Content-Length: 8000"], b"a=1&" * 2000, True, {415}),
            ("GET /api/me?" + "a=1&" * 2000, [], b"", True, {400}),
        ],
        id="B10-a-form-of-2000-arguments",
    ),
    pytest.param(
        [
            (TICKET, [SIZED, *kind], ASKED, True, {415})
            for kind in (
                [],
                ["Content-Type: text/plain"],
                ["Content-Type: text/plain;application/json"],
                ["Content-Type: application/json-c4n4ry"],
            )
        ],
        id="B11-json-that-does-not-say-so",
    ),
    pytest.param(
        [
            ("TRACE /api/me", [], b"", True, {405}),
            ("FOO /api/me", [], b"", True, {405}),
            ("CONNECT /api/me", [], b"", True, {405}),
            ("get /api/me", [], b"", True, {405}),
            (
                "POST /api/me",
                [JSON, "Content-Length: 2", "X-HTTP-Method-Override: GET"],
                b"{}",
                True,
                {405},
            ),
        ],
        id="B13-methods-that-are-none",
    ),
    pytest.param(
        # Closed: as for any head over 16 KiB.
        [
            (
                "GET /api/me",
                [f"Cookie: c{n}={'x' * 4096}" for n in range(50)],
                b"",
                True,
                {CLOSED, 431},
            )
        ],
        id="B14-50-cookies-of-4-kb",
    ),
    pytest.param(
        [
            (TICKET, [JSON, SIZED, f"Content-Encoding: {how}"], ASKED, True, {415})
            for how in ("gzip", "deflate", "identity")
        ],
        id="B17-a-compressed-body",
    ),
]


@pytest.mark.parametrize("variants", CASES)
async def test_a_bad_request_is_refused_in_a_sentence_and_nothing_is_echoed(
    app: App, variants: list[tuple[str, list[str], bytes, bool, set[int]]]
) -> None:
    for line, headers, body, with_host, statuses in variants:
        sent = request(app, line, *headers, host=with_host) + body

        status, answer = await answer_of(app, sent)

        assert status in statuses, (line, headers[:3])
        assert b"Traceback" not in answer
        assert CANARY not in answer
        await assert_still_serving(app)


async def test_b5_headers_that_trickle_are_cut_off_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In service 30 s for the whole head, however often a byte comes.
    monkeypatch.setitem(SERVER_LIMITS, "idle_connection_timeout", 0.5)
    async with serving(tmp_path / "data") as app:
        await assert_trickle_ends(app, request(app, "GET /api/me"))


async def test_b6_a_body_that_trickles_is_cut_off_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In service 10 s for the whole body.
    monkeypatch.setitem(SERVER_LIMITS, "body_timeout", 0.5)
    async with serving(tmp_path / "data") as app:
        head = request(app, TICKET, JSON, "Content-Length: 100000")
        await assert_trickle_ends(app, b" " * 100_000, head)


async def assert_trickle_ends(app: App, slowly: bytes, at_once: bytes = b"") -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    writer.write(at_once)

    async def trickle() -> None:
        for number in slowly:
            writer.write(bytes([number]))
            await asyncio.sleep(0.05)

    trickling = asyncio.create_task(trickle())
    try:
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        assert not trickling.done()
    except ConnectionError:
        assert not trickling.done()
    finally:
        trickling.cancel()
        writer.close()
    await assert_still_serving(app)


async def test_b12_a_sessions_post_needs_the_origin_of_its_page(app: App) -> None:
    page = await app.sign_in()
    asked = {"party": "lobby", "room": "main"}
    without = {"Cookie": page["Cookie"]}
    foreign = page | {"Origin": "https://c4n4ry.example"}
    for headers in (without, foreign, without | {"Sec-Fetch-Site": "same-origin"}):
        answer = await app.send("POST", "/api/tickets", headers, asked)
        assert answer.status == 403
        assert CANARY not in answer.body
    assert (await app.send("POST", "/api/tickets", page, asked)).status == 200


async def test_b15_a_token_in_the_url_is_refused_and_noted_without_it(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    key = app.server.keys.admin
    with caplog.at_level(logging.DEBUG):
        for path in ("/api/me", "/parties/lobby/main", "/healthz"):
            answer = await app.send("GET", f"{path}?token={key}", app.admin)
            assert answer.status == 400
            assert answer.json()["code"] == "credential-in-url"
            assert key.encode() not in answer.body
    assert "credential in url" in caplog.text
    assert key not in caplog.text


async def test_b16_signing_in_leads_to_our_own_pages_only(app: App) -> None:
    for wanted in ("//c4n4ry.example", "/\\c4n4ry.example", "https:c4n4ry"):
        code = app.server.make_login_link().partition("#")[2]
        answer = await app.send("POST", "/login", body={"code": code, "next": wanted})
        assert answer.json() == {"next": "/"}


async def test_b18_forwarded_headers_of_a_client_are_not_believed(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {
        "X-Forwarded-For": "198.51.100.7",
        "X-Real-Ip": "198.51.100.7",
        "X-Forwarded-Proto": "https",
        "X-Scheme": "https",
        "X-Forwarded-Host": "c4n4ry.example",
        "Forwarded": "for=198.51.100.7;host=c4n4ry.example",
    }
    with caplog.at_level(logging.DEBUG):
        answer = await app.send("GET", "/t/web-1", headers)
    assert answer.status == 302
    assert answer.headers["location"] == "/login?next=/t/web-1"
    assert "127.0.0.1" in caplog.text
    assert "198.51.100.7" not in caplog.text
    # Nor do they make this server's own page one of another scheme.
    as_https = app.admin | headers | {"Origin": f"https://127.0.0.1:{app.port}"}
    assert (await app.send("GET", "/api/me", as_https)).status == 403


async def test_b19_line_ends_in_what_is_reflected_make_no_header(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    # Not 400: a path may hold them encoded, and encoded they stay.
    for sent in ("a%0d%0aSet-Cookie:%20c4n4ry=1", "a%0aX:%20c4n4ry", "a%E5%98%8A"):
        for credential in (True, False):
            with caplog.at_level(logging.DEBUG):
                _, answer = await answer_of(
                    app, request(app, f"GET /t/{sent}", key=credential)
                )
            head = answer.partition(b"\r\n\r\n")[0]
            assert not any(
                line.startswith((b"Set-Cookie", b"X:")) for line in head.splitlines()
            )
    for header in ("X-A: a\rSet-Cookie: b", "X-A: a\n b", "X-A: a\0b", "X A: b"):
        status, _ = await answer_of(app, request(app, "GET /api/me", header))
        assert status == 400, header
    assert all(len(r.getMessage().splitlines()) <= 1 for r in caplog.records)
    await assert_still_serving(app)


async def test_b20_figures_need_a_credential(app: App) -> None:
    for path in ("/metrics", "/debug", "/debug/pprof", "/api/rooms"):
        answer = await app.send("GET", path)
        assert answer.status == 401, path
        assert set(answer.json()) == {"code", "message", "request_id"}
    assert (await app.send("GET", "/metrics", app.admin)).status == 200
