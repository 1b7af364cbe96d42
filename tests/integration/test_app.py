"""The standalone server as a process: what it refuses to start with, what it keeps."""

import contextlib
import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.app_server import SOME_PARTIES, send, serving
from vibehq_server.app import SERVER_LIMITS, start
from vibehq_server.endpoint import take_free_folder
from vibehq_server.settings import Settings, StartError

SERVE = [sys.executable, "-m", "vibehq_server.cli", "serve"]
LINK = re.compile(r"(http://127\.0\.0\.1:(\d+))/login#(\S+)")


class Process:
    """``vibehq serve`` in a process of its own."""

    def __init__(self, data: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*SERVE, "--data", str(data), "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.printed = ""
        while not (found := LINK.search(self.printed)):
            line = self.process.stdout.readline()
            assert line, self.printed
            self.printed += line
        self.url, self.code = found.group(1), found.group(3)
        self.port = int(found.group(2))

    def end(self, number: int = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        code = self.process.wait(15)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for one in started:
        if one.process.poll() is None:
            one.end()


def refused(*options: str, **environment: str) -> tuple[int, str]:
    """Return the exit code and the error output of a server that does not start."""
    done = subprocess.run(
        [*SERVE, *options],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stderr


async def test_an_open_page_resumes_after_the_server_is_killed(
    tmp_path: Path, processes: list[Process]
) -> None:
    first = Process(tmp_path / "data")
    processes.append(first)
    signed = await send(first.port, "POST", "/login", body={"code": first.code})
    first.end(signal.SIGKILL)
    second = Process(tmp_path / "data", "--port", str(first.port))
    processes.append(second)

    me = await send(second.port, "GET", "/api/me", {"Cookie": signed.cookie})

    assert me.status == 200
    assert me.json()["kind"] == "person"


async def test_sigterm_stops_within_seconds_and_says_so(
    tmp_path: Path, processes: list[Process]
) -> None:
    server = Process(tmp_path / "data")
    processes.append(server)
    started = time.monotonic()
    assert server.end(signal.SIGTERM) == 0
    assert time.monotonic() - started < 5


def test_a_second_server_on_a_folder_exits_3(
    tmp_path: Path, processes: list[Process]
) -> None:
    processes.append(Process(tmp_path / "data"))
    code, text = refused("--data", str(tmp_path / "data"), "--port", "0")
    assert code == 3
    assert "in use" in text
    assert len(text.splitlines()) == 1


def test_a_second_embedded_server_takes_the_next_free_folder(tmp_path: Path) -> None:
    wanted = tmp_path / "embedded"
    with take_free_folder(wanted) as first, take_free_folder(wanted) as second:
        assert first.folder == wanted
        assert second.folder == tmp_path / "embedded-2"


def test_a_port_that_is_taken_exits_2_with_one_line(
    tmp_path: Path, processes: list[Process]
) -> None:
    first = Process(tmp_path / "one")
    processes.append(first)
    code, text = refused("--data", str(tmp_path / "two"), "--port", str(first.port))
    assert code == 2
    assert str(first.port) in text
    assert len(text.splitlines()) == 1


UNSAFE = [
    (["--host", "0.0.0.0"], "without TLS"),
    (["--host", "::"], "without TLS"),
    (["--origin", "*"], "exact origin"),
    (["--origin", "https://.*\\.example.com"], "exact origin"),
    (["--origin", "https://hq.example.com/path"], "exact origin"),
    (["--allowed-host", "*"], "exact host"),
    (["--allowed-host", "*.example.com"], "exact host"),
    (["--port", "70000"], "--port"),
    (["--port", "many"], "--port"),
    (["--prot", "8900"], "Did you mean --port?"),
    (["--tls-cert", "/no/such/file"], "belong together"),
    (["--tls-cert", "/no/such", "--tls-key", "/no/such"], "not a file"),
    (["--rooms", "no_such_module:ROOMS"], "no_such_module"),
    (["--data", "/proc/nowhere"], "cannot be written"),
    (["--keep-days", "0"], "--keep-days is a number of days"),
    (["--keep-days", "1KiB"], "--keep-days is a number of days"),
    (["--keep-bytes", "3GB"], "--keep-bytes is a number of bytes"),
    (["--keep-bytes", "1000"], "at least 1MiB"),
    (["--keep-entries", "-1"], "--keep-entries is a number of entries"),
    (["--keep-byte", "1"], "Did you mean --keep-bytes?"),
    (["--keep-recordings", "0"], "--keep-recordings is a number of days"),
    (["--recordings-bytes", "9"], "--recordings-bytes is a number of bytes"),
    (["--record", "sometimes"], "Known: always,"),
]


@pytest.mark.parametrize(("options", "expected"), UNSAFE)
def test_an_unsafe_start_exits_2_with_one_line(
    tmp_path: Path, options: list[str], expected: str
) -> None:
    data = [] if "--data" in options else ["--data", str(tmp_path / "data")]
    code, text = refused(*data, *options)
    assert code == 2
    assert expected in text
    assert len(text.splitlines()) == 1
    assert "Traceback" not in text


def test_a_mistyped_variable_exits_2_and_names_the_nearest(tmp_path: Path) -> None:
    code, text = refused("--data", str(tmp_path), VIBEHQ_SERVE_PROT="1")
    assert code == 2
    assert "VIBEHQ_SERVE_PORT" in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("KEEP_DAYS", "VIBEHQ_SERVE_KEEP_DAYS is a number of days"),
        ("RECORD", "--record is never or always"),
        ("RECORDINGS_BYTES", "VIBEHQ_SERVE_RECORDINGS_BYTES is a number of bytes"),
        ("KEEP_BYTE", "Did you mean VIBEHQ_SERVE_KEEP_BYTES?"),
    ],
)
def test_a_wrong_retention_in_the_environment_exits_2(
    tmp_path: Path, name: str, expected: str
) -> None:
    code, text = refused(
        "--data", str(tmp_path / "data"), **{f"VIBEHQ_SERVE_{name}": "many"}
    )
    assert code == 2
    assert expected in text
    assert "many" not in text


def test_serve_says_what_it_keeps_and_what_the_log_uses(
    tmp_path: Path, processes: list[Process]
) -> None:
    first = Process(tmp_path / "one")
    processes.append(first)
    second = Process(
        tmp_path / "two", "--keep-days=30", "--keep-bytes=1536MiB", "--keep-entries=9"
    )
    processes.append(second)

    assert "A room keeps 180 days or 2 GiB, whichever is less" in first.printed
    assert "30 days or 1.5 GiB or 9 entries" in second.printed
    assert "stays 30 days unless it is pinned; all take 10 GiB" in first.printed
    assert re.search(r"The log uses [0-9.]+ KiB\.", first.printed)


def test_a_log_of_a_newer_version_exits_4_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "data" / "rooms.sqlite3"
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as newer:
        newer.executescript(
            "CREATE TABLE rooms (x); PRAGMA application_id = 0x56484C47;"
            "PRAGMA user_version = 99;"
        )
    before = path.read_bytes()

    code, text = refused("--data", str(path.parent), "--port", "0")

    assert code == 4
    assert "upgrade vibehq-nb" in text
    assert len(text.splitlines()) == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["folder", "file"])
def test_data_that_cannot_be_written_exits_2_with_one_line(
    tmp_path: Path, what: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "rooms.sqlite3"
    path.touch()
    target = str(folder if what == "folder" else path)
    if subprocess.run(["mount", "--bind", target, target], check=False).returncode:
        pytest.skip("needs root that may mount")
    try:
        remount = ["mount", "-o", "remount,ro,bind", target]
        subprocess.run(remount, check=True)
        code, text = refused("--data", str(folder), "--port", "0")
    finally:
        subprocess.run(["umount", target], check=True)

    assert code == 2
    assert "cannot be written" in text
    assert len(text.splitlines()) == 1


async def test_endpoint_json_is_private_whole_and_keeps_its_keys(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data" / "endpoint.json"
    kept = []
    for _ in range(2):
        async with serving(tmp_path / "data") as app:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            endpoint = json.loads(path.read_text())
            assert endpoint["url"] == app.server.url
            assert endpoint["pid"] == os.getpid()
            kept.append((endpoint["worker_key"], endpoint["admin_key"]))
    assert kept[0] == kept[1]


async def test_a_failed_start_lets_the_folder_go(tmp_path: Path) -> None:
    async with serving(tmp_path / "one") as app:
        with pytest.raises(StartError):
            await start(Settings(tmp_path / "two", port=app.port), SOME_PARTIES)
    async with serving(tmp_path / "two"):
        pass


def test_the_http_limits_are_small() -> None:
    assert SERVER_LIMITS == {
        "idle_connection_timeout": 30.0,
        "body_timeout": 10.0,
        "max_header_size": 16384,
        "max_body_size": 262144,
    }


async def test_headers_over_16_kib_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as app:
        answer = await send(app.port, "GET", "/healthz", {"X-Long": "x" * 8000})
        assert answer.status == 200
        try:
            too_long = await send(app.port, "GET", "/healthz", {"X-Long": "x" * 20000})
        except (ConnectionError, EOFError):
            return
        assert too_long.status in {400, 431}


async def test_pages_carry_a_strict_policy_and_escape_what_they_show(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "data") as app:
        page = await app.sign_in()
        home = await app.send("GET", "/", page)
        policy = home.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy.replace(
            "style-src 'self' 'unsafe-inline'", ""
        )
        assert home.headers["x-content-type-options"] == "nosniff"
        assert home.headers["referrer-policy"] == "no-referrer"
        hostile = await app.send("GET", "/t/%22%3E%3Cscript%3Ealert(1)%3C", page)
        assert b"<script>alert" not in hostile.body
        assert b'data-id="&quot;&gt;&lt;script&gt;' in hostile.body


async def test_a_browser_without_a_session_is_sent_to_sign_in_and_back(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "data") as app:
        answer = await app.send("GET", "/t/web-1")
        assert answer.status == 302
        assert answer.headers["location"] == "/login?next=/t/web-1"


async def test_static_files_come_from_a_list_and_nothing_else(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as app:
        assert (await app.send("GET", "/static/login.js")).status == 200
        for name in (
            "../endpoint.json",
            "..%2fapp.py",
            "%2e%2e/app.py",
            "app.py",
            "login.js%00.png",
            ".login.js",
            "LOGIN.JS",
        ):
            answer = await app.send("GET", f"/static/{name}", app.admin)
            assert answer.status in {400, 404}, name


async def test_behind_a_proxy_the_named_https_page_is_ours(tmp_path: Path) -> None:
    async with serving(
        tmp_path / "data", behind_proxy=True, allowed_hosts=("hq.example.com",)
    ) as app:
        code = app.server.make_login_link().partition("#")[2]
        headers = {
            "Host": "hq.example.com",
            "Origin": "https://hq.example.com",
            "X-Forwarded-Proto": "https",
        }
        answer = await app.send("POST", "/login", headers, {"code": code})
        assert answer.status == 200
        assert answer.headers["set-cookie"].startswith("__Host-vibehq")
        assert "Secure" in answer.headers["set-cookie"]
        plain = headers | {"Origin": "http://hq.example.com"}
        refused = await app.send("POST", "/login", plain, {"code": code})
        assert refused.status == 403


async def test_forwarded_headers_are_ignored_without_a_proxy(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as app:
        bad = {"Authorization": "Bearer vhq_g_wrong"}
        for number in range(11):
            headers = bad | {"X-Forwarded-For": f"10.0.0.{number}"}
            answer = await app.send("GET", "/api/me", headers)
        assert answer.status == 429
