"""``/api/recordings``: who may make, read and keep them; what comes back."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.app_server import App, serving
from tests.integration.worker_rooms import until
from vibehq_nb.client import recordings
from vibehq_nb.client.errors import ApiError
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.core.asciicast import CastHeader, decode_cast
from vibehq_nb.core.recording import Begin, End, Segment
from vibehq_nb.core.roles import MAY_JOIN, Role
from vibehq_nb.testing import ThrowAwayServer
from vibehq_server.cli.recording import find_recording
from vibehq_server.recordings import store as stores
from vibehq_server.recordings.kept import Recording
from vibehq_server.recordings.store import RecordingStore

pytestmark = pytest.mark.timeout(60)
TERMINAL = "/api/terminals/demo:api"


@pytest.fixture(scope="module")
def server() -> Iterator[ThrowAwayServer]:
    with ThrowAwayServer() as running:
        yield running


@pytest.fixture(scope="module")
def operator(server: ThrowAwayServer) -> HttpApi:
    api = HttpApi(Server(server.url, server.token))
    api.request("POST", "/api/terminals", {"name": "api", "command": ["/bin/cat"]})
    return api


@pytest.fixture(scope="module")
def viewer(server: ThrowAwayServer) -> HttpApi:
    return HttpApi(Server(server.url, server.grant("eve", ["viewer"])))


@pytest.fixture(scope="module")
def stranger(server: ThrowAwayServer) -> HttpApi:
    """Somebody whose grant is for another terminal."""
    asked = {"user": "mallory", "roles": ["operator"], "rooms": ["terminal/other"]}
    granted = server._admin.request("POST", "/api/grants", asked)
    return HttpApi(Server(server.url, granted["token"]))


@pytest.fixture
def recording(operator: HttpApi) -> str:
    """The id of a recording that has ended."""
    name = str(operator.request("POST", f"{TERMINAL}/recordings")["id"])
    operator.request("POST", f"{TERMINAL}/recordings/stop")
    return name


def refused(api: HttpApi, method: str, path: str, body: Any = None) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        api.request(method, path, body)
    return caught.value.status, caught.value.code


def test_a_recording_is_started_once_listed_and_stopped(operator: HttpApi) -> None:
    first, _ = operator.exchange("POST", f"{TERMINAL}/recordings")
    again = operator.request("POST", f"{TERMINAL}/recordings")
    (listed, *_) = operator.request("GET", f"{TERMINAL}/recordings")["recordings"]
    stopped = operator.request("POST", f"{TERMINAL}/recordings/stop")

    assert again["id"] == listed["id"] == stopped["id"] == first["id"]
    assert listed["state"] == "recording"
    everything = operator.request("GET", "/api/recordings")["recordings"]
    assert first["id"] in {one["id"] for one in everything}
    assert refused(operator, "POST", f"{TERMINAL}/recordings/stop")[0] == 404


def test_a_viewer_reads_and_does_nothing_else(viewer: HttpApi, recording: str) -> None:
    path = f"/api/recordings/{recording}"

    assert viewer.request("GET", path)["id"] == recording
    assert viewer.request("GET", f"{path}/verify")["is_whole"] is True
    assert b"".join(viewer.lines(f"{path}/cast")).startswith(b'{"version":3')
    assert refused(viewer, "POST", f"{TERMINAL}/recordings") == (403, "forbidden")
    assert refused(viewer, "POST", f"{TERMINAL}/recordings/stop") == (403, "forbidden")
    assert refused(viewer, "POST", f"{path}/pin") == (403, "forbidden")


def test_a_recording_of_a_terminal_out_of_reach_is_not_there(
    stranger: HttpApi, recording: str
) -> None:
    for path in ("", "/verify", "/cast"):
        address = f"/api/recordings/{recording}{path}"
        assert refused(stranger, "GET", address) == (404, "not-found")
    assert refused(stranger, "GET", f"{TERMINAL}/recordings") == (404, "not-found")
    assert stranger.request("GET", "/api/recordings")["recordings"] == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/recordings/nothing", 404),
        ("/api/recordings/..%2F..%2Fetc", 404),
        ("/api/recordings/nothing/cast", 404),
        ("/api/recordings/{}/cast?version=1", 400),
        ("/api/recordings/{}/cast?version=x", 400),
        ("/api/recordings/{}/cast?from=-1", 400),
        ("/api/recordings/{}/cast?from=nan", 400),
        ("/api/recordings/{}/cast?from=1e9", 400),
    ],
)
def test_what_is_not_there_or_cannot_be_read_is_refused(
    operator: HttpApi, recording: str, path: str, status: int
) -> None:
    assert refused(operator, "GET", path.format(recording))[0] == status


def test_a_pin_says_who_and_why_and_is_taken_back(
    operator: HttpApi, recording: str
) -> None:
    path = f"/api/recordings/{recording}"
    operator.request("POST", f"{path}/pin", {"reason": "incident 7"})
    pinned = operator.request("GET", path)
    operator.request("POST", f"{path}/unpin")

    assert pinned["is_pinned"] is True
    assert pinned["pinned"]["reason"] == "incident 7"
    assert operator.request("GET", path)["is_pinned"] is False
    assert refused(operator, "POST", f"{path}/pin", {"reson": "x"})[0] == 400


def test_the_cast_is_sent_as_a_file_of_its_own_type(
    operator: HttpApi, recording: str
) -> None:
    address = f"/api/recordings/{recording}/cast?version=2"
    with operator._asked("GET", address, None, 10.0) as answer:
        kind, name = (
            answer.headers[field] for field in ("Content-Type", "Content-Disposition")
        )
        header = next(decode_cast(answer.read().splitlines(keepends=True)))

    assert kind == "application/x-asciicast"
    assert name == f'attachment; filename="{recording}.cast"'
    assert isinstance(header, CastHeader)
    assert (header.version, header.cols, header.rows) == (2, 80, 24)


class Silent:
    """A listener that does nothing."""

    def on_room(self) -> None:
        pass

    on_full = on_room

    def on_failure(self, reason: str) -> None:
        pass

    def on_segment(self, recording_id: str, segment: Segment) -> None:
        pass


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    """A server that keeps five short recordings, r0 to r4."""
    async with serving(tmp_path) as running:
        store = running.server.context.hub.recordings
        assert store is not None
        for number in range(5):
            begin = Begin(
                time=0.0,
                offset=0,
                id=f"r{number}",
                terminal="vm",
                epoch="e1",
                at=1e9 + number,
                by="ana",
                cols=80,
                rows=24,
            )
            pen = store.open(begin, Silent())
            pen.put(End(time=1.0, offset=0, reason="stopped"))
            await pen.settled()
        yield running


@pytest.mark.parametrize("path", ["/api/recordings", "/api/terminals/vm/recordings"])
async def test_a_list_is_bounded_the_newest_first_and_says_whether_it_is_all(
    app: App, path: str
) -> None:
    async def listed(query: str) -> tuple[list[str], bool]:
        answer = await app.send("GET", path + query, app.admin)
        assert answer.status == 200, answer.body
        found = answer.json()
        return [one["id"] for one in found["recordings"]], found["is_end"]

    assert await listed("") == (["r4", "r3", "r2", "r1", "r0"], True)
    assert await listed("?limit=2") == (["r4", "r3"], False)
    assert await listed("?limit=2&offset=2") == (["r2", "r1"], False)
    assert await listed("?limit=2&offset=4") == (["r0"], True)
    assert await listed("?limit=0") == (["r4"], False)
    assert await listed("?limit=99999999") == (["r4", "r3", "r2", "r1", "r0"], True)
    assert (await app.send("GET", f"{path}?limit=-1", app.admin)).status == 400


async def test_the_client_walks_all_pages(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "PAGE", 2)
    token = app.admin["Authorization"].removeprefix("Bearer ")
    api = HttpApi(Server(app.origin, token))

    for terminal in (None, "vm"):
        found = await recordings.list_recordings(api, terminal)
        assert [one["id"] for one in found] == ["r4", "r3", "r2", "r1", "r0"]
    assert await asyncio.to_thread(find_recording, api, "r0") == "r0"


async def test_whoever_may_read_no_recording_may_list_none(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = {"Authorization": f"Bearer {(await app.grant('eve', 'viewer'))['token']}"}
    monkeypatch.setitem(MAY_JOIN, "terminal", frozenset({Role.OPERATOR}))

    for path in ("/api/recordings", "/api/recordings/r0"):
        answer = await app.send("GET", path, viewer)
        assert (answer.status, answer.json()["code"]) == (403, "forbidden")


async def test_two_are_verified_at_once_and_others_wait_or_are_refused(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, at_once, most, count = threading.Event(), 0, 0, threading.Lock()

    def verify(_store: RecordingStore, _recording: Recording) -> list[dict[str, Any]]:
        nonlocal at_once, most
        with count:
            at_once += 1
            most = max(most, at_once)
        held.wait(20)
        with count:
            at_once -= 1
        return []

    monkeypatch.setattr(RecordingStore, "verify", verify)
    path = "/api/recordings/{}/verify"
    asked = [
        asyncio.create_task(app.send("GET", path.format(f"r{n}"), app.admin))
        for n in range(4)
    ]
    await until(lambda: most == 2)
    monkeypatch.setattr(stores, "TURN_SECONDS", 0.01)
    refusal = await app.send("GET", path.format("r4"), app.admin)
    held.set()

    assert (refusal.status, refusal.json()["code"]) == (429, "busy")
    assert {(await answer).status for answer in asked} == {200}
    assert most == 2


async def test_a_start_reads_recordings_beside_its_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, readers = stores.find_recordings, set[int]()

    def found(folder: Path) -> Iterator[Recording]:
        readers.add(threading.get_ident())
        return find(folder)

    monkeypatch.setattr(stores, "find_recordings", found)
    async with serving(tmp_path):
        pass

    assert readers
    assert threading.get_ident() not in readers
