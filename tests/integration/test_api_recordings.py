"""``/api/recordings``: who may make, read and keep them; what comes back."""

from collections.abc import Iterator
from typing import Any

import pytest

from vibehq_nb.client.errors import ApiError
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.core.asciicast import CastHeader, decode_cast
from vibehq_nb.testing import ThrowAwayServer

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
