"""The server inside a real Jupyter server: its identities, its data, its end."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.app_server import UPGRADE, Answer, send

TOKEN = "jupyter-token-of-this-test"
BASE = "/user/bob/vibehq"
START_SECONDS = 25.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Jupyter:
    """One ``jupyter server`` with a home of its own."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        home: Path | None = None,
        with_worker: bool = False,
    ) -> None:
        self.home = home or folder / "home"
        config = folder / "config"
        config.mkdir(parents=True)
        self.home.mkdir(exist_ok=True)
        enabled = {"ServerApp": {"jpserver_extensions": {"vibehq_server": True}}}
        (config / "jupyter_server_config.json").write_text(json.dumps(enabled))
        self.port = free_port()
        self.log = folder / "log"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "jupyter", "server"),
                    *("--allow-root", "--no-browser", "--ip=127.0.0.1"),
                    *(f"--port={self.port}", "--ServerApp.port_retries=0"),
                    *(
                        "--ServerApp.base_url=/user/bob/",
                        "--ServerApp.terminals_enabled=0",
                    ),
                    *(f"--VibeExtension.with_worker={with_worker}", *options),
                ],
                env=kept
                | {
                    "HOME": str(self.home),
                    "JUPYTER_CONFIG_DIR": str(config),
                    "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
                    "JUPYTER_TOKEN": TOKEN,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
            )
        self.data = self.home / ".local/share/vibehq/embedded"

    def wait_for(self, path: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not path.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    async def send(self, method: str, path: str, *rest: Any) -> Answer:
        return await send(self.port, method, path, *rest)

    async def cookie(self) -> dict[str, str]:
        """Sign a browser in as its first page does, with Jupyter's own token."""
        answer = await self.send("GET", f"/user/bob/api/status?token={TOKEN}")
        origin = f"http://127.0.0.1:{self.port}"
        return {"Cookie": answer.cookie, "Origin": origin}

    def end(self) -> str:
        for _ in range(4):
            if self.process.poll() is not None:
                break
            # Jupyter forgets a signal that comes before its loop has really begun.
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        assert self.process.poll() is not None
        return self.log.read_text()


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    server = Jupyter(tmp_path_factory.mktemp("jupyter"))
    try:
        server.wait_for(server.data / "endpoint.json")
        yield server
    finally:
        server.end()


AS_NOTEBOOK = {"Authorization": f"token {TOKEN}"}
SOCKET = f"{BASE}/parties/lobby/main"


async def test_a_token_is_a_notebook_and_a_login_cookie_is_the_person(
    jupyter: Jupyter,
) -> None:
    by_token = (await jupyter.send("GET", f"{BASE}/api/me", AS_NOTEBOOK)).json()
    by_cookie = (
        await jupyter.send("GET", f"{BASE}/api/me", await jupyter.cookie())
    ).json()

    assert (by_token["kind"], by_token["roles"]) == ("notebook", ["operator", "viewer"])
    assert by_cookie["kind"] == "person"
    assert by_cookie["roles"] == ["approver", "operator", "viewer"]
    assert by_token["user"] == by_cookie["user"]
    assert "@" in by_cookie["user"]
    assert len(by_cookie["session"]) == 8
    assert by_cookie["mode"] == "embedded"


async def test_a_token_does_not_turn_into_a_persons_cookie_here(
    jupyter: Jupyter,
) -> None:
    answer = await jupyter.send("GET", f"{BASE}/api/me", AS_NOTEBOOK)
    assert "set-cookie" not in answer.headers


async def test_anonymous_requests_open_nothing(jupyter: Jupyter) -> None:
    for path in ("/", "/t/x", "/api/me", "/metrics", "/api/rooms", "/no-such-thing"):
        answer = await jupyter.send("GET", f"{BASE}{path}")
        assert answer.status in {302, 401}, path
    assert (await jupyter.send("GET", SOCKET, UPGRADE)).status == 401
    for path in ("/healthz", "/static/page.css"):
        assert (await jupyter.send("GET", f"{BASE}{path}")).status == 200, path
    bad = {"Authorization": "token wrong"}
    assert (await jupyter.send("GET", f"{BASE}/api/me", bad)).status == 401
    page = await jupyter.cookie()
    assert (await jupyter.send("GET", f"{BASE}/api/me", page | bad)).status == 401


async def test_a_page_without_a_session_goes_to_jupyters_sign_in(
    jupyter: Jupyter,
) -> None:
    answer = await jupyter.send("GET", f"{BASE}/t/x")
    assert answer.status == 302
    assert answer.headers["location"].startswith("/user/bob/login?next=")


async def test_a_socket_opens_from_this_origin_only(jupyter: Jupyter) -> None:
    page = await jupyter.cookie()
    assert (await jupyter.send("GET", SOCKET, UPGRADE | page)).status == 101
    cookie = {"Cookie": page["Cookie"]}
    assert (await jupyter.send("GET", SOCKET, UPGRADE | cookie)).status == 403
    for origin in (
        "http://evil.example",
        f"http://localhost:{jupyter.port}",
        f"http://127.0.0.1:{jupyter.port + 1}",
        "null",
    ):
        for who in (page, AS_NOTEBOOK):
            headers = UPGRADE | who | {"Origin": origin}
            assert (await jupyter.send("GET", SOCKET, headers)).status == 403, origin
    assert (await jupyter.send("GET", SOCKET, UPGRADE | AS_NOTEBOOK)).status == 101


async def test_a_rebound_host_is_refused(jupyter: Jupyter) -> None:
    for path in (f"{BASE}/api/me", f"{BASE}/static/page.css", SOCKET):
        host = {"Host": "evil.example:1", "Origin": "http://evil.example:1"}
        answer = await jupyter.send("GET", path, UPGRADE | AS_NOTEBOOK | host)
        assert answer.status == 403, path


async def test_the_jupyter_token_in_a_url_of_ours_is_refused(jupyter: Jupyter) -> None:
    answer = await jupyter.send("GET", f"{BASE}/api/me?token={TOKEN}")
    assert answer.status == 400
    assert answer.json()["code"] == "credential-in-url"


async def test_a_ticket_minted_by_the_page_opens_one_socket(jupyter: Jupyter) -> None:
    page = await jupyter.cookie()
    asked = {"party": "lobby", "room": "main"}
    path = f"{BASE}/api/tickets"
    minted = (await jupyter.send("POST", path, page, asked)).json()["ticket"]
    url = f"{SOCKET}?ticket={minted}"
    assert (await jupyter.send("GET", url, UPGRADE)).status == 101
    assert (await jupyter.send("GET", url, UPGRADE)).status == 401
    assert minted not in jupyter.log.read_text()


async def test_a_form_of_another_page_changes_nothing(jupyter: Jupyter) -> None:
    page = await jupyter.cookie()
    asked = {"party": "lobby", "room": "main"}
    path = f"{BASE}/api/tickets"
    plain = page | {"Content-Type": "text/plain"}
    assert (await jupyter.send("POST", path, plain, asked)).status == 415
    no_origin = {"Cookie": page["Cookie"]}
    assert (await jupyter.send("POST", path, no_origin, asked)).status == 403


async def test_the_worker_key_opens_worker_rooms(jupyter: Jupyter) -> None:
    endpoint = json.loads((jupyter.data / "endpoint.json").read_text())
    assert endpoint["url"] == f"http://127.0.0.1:{jupyter.port}{BASE}"
    worker = {"Authorization": f"Bearer {endpoint['worker_key']}"} | UPGRADE
    path = f"{BASE}/parties/worker/web-1"
    assert (await jupyter.send("GET", path, worker)).status == 101
    assert (await jupyter.send("GET", path, UPGRADE | AS_NOTEBOOK)).status == 403


async def test_only_another_person_may_review_so_a_review_is_refused(
    jupyter: Jupyter,
) -> None:
    asked = {"question": "Go?", "action": {"command": "x"}, "kind": "review"}
    path = f"{BASE}/api/hil/requests"
    answer = await jupyter.send("POST", path, AS_NOTEBOOK, asked)
    assert (answer.status, answer.json()["code"]) == (422, "unsatisfiable")
    confirm = asked | {"kind": "confirm"}
    assert (await jupyter.send("POST", path, AS_NOTEBOOK, confirm)).status == 201


async def test_jupyter_finds_nothing_to_warn_about(jupyter: Jupyter) -> None:
    log = jupyter.log.read_text()
    assert "vibehq is at" in log
    assert "Extension endpoints without" not in log
    assert "Traceback" not in log


async def test_a_second_jupyter_takes_the_next_folder_and_both_stop_cleanly(
    jupyter: Jupyter, tmp_path: Path
) -> None:
    second = Jupyter(tmp_path, home=jupyter.home)
    try:
        second.wait_for(jupyter.home / ".local/share/vibehq/embedded-2/endpoint.json")
        me = await second.send("GET", f"{BASE}/api/me", AS_NOTEBOOK)
        assert me.status == 200
    finally:
        log = second.end()
    assert "is in use by another Jupyter server" in log
    assert "Traceback" not in log
    assert second.process.returncode == 0


async def test_the_worker_starts_with_jupyter_and_what_runs_is_told_at_the_end(
    tmp_path: Path,
) -> None:
    server = Jupyter(tmp_path, with_worker=True)
    lock = server.data / "worker.lock"
    try:
        server.wait_for(server.data / "endpoint.json")
        async with asyncio.timeout(25):
            while True:
                path = f"{BASE}/api/terminals"
                opened = await server.send("POST", path, AS_NOTEBOOK, {})
                if opened.status == 201:
                    break
                assert opened.json()["code"] == "no-worker"
                await asyncio.sleep(0.1)
        log = server.end()
        assert f"still running in the worker: {opened.json()['id']}." in log
        assert "Traceback" not in log
        os.kill(int(lock.read_text()), 0)
    finally:
        server.end()
        if lock.exists() and (pid := lock.read_text().strip()):
            os.kill(int(pid), signal.SIGTERM)


async def test_without_any_authentication_in_jupyter_nothing_is_served(
    tmp_path: Path,
) -> None:
    server = Jupyter(
        tmp_path, "--IdentityProvider.token=", "--PasswordIdentityProvider.token="
    )
    try:
        server.wait_for(server.data / "endpoint.json")
        answer = await server.send("GET", f"{BASE}/api/me")
        assert answer.status == 401
    finally:
        server.end()
