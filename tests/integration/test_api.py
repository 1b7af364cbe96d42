"""The HTTP API against real rooms, over real sockets."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.integration.app_server import App, serving
from vibehq_nb.core.codec import encode_canonical
from vibehq_server.api import terminals
from vibehq_server.parties import BUILT_IN


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with serving(tmp_path / "data", BUILT_IN) as running:
        yield running


class Worker:
    """A worker's control socket, answered by hand."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def receive(self, kind: str) -> dict[str, Any]:
        while True:
            message: dict[str, Any] = json.loads(await self.socket.recv())
            if message["type"] == kind:
                return message

    async def answer(self, kind: str, **result: Any) -> dict[str, Any]:
        message = await self.receive(kind)
        done = {"type": "done", "id": message["id"], "result": result}
        await self.socket.send(json.dumps(done))
        return message


@pytest.fixture
async def worker(app: App) -> AsyncIterator[Worker]:
    url = f"ws://127.0.0.1:{app.port}/parties/worker/web-1"
    async with connect(url, additional_headers=app.worker) as socket:
        hello = {
            "type": "worker-hello",
            "protocol": 1,
            "version": "0.1.0",
            "worker": "web-1",
            "host": "web-1.example",
            "generation": 1,
            "providers": ["local"],
            "terminals": ["web-1"],
        }
        found = Worker(socket)
        await found.receive("connected")
        await socket.send(json.dumps(hello))
        while not (await app.send("GET", "/api/workers", app.admin)).json()["workers"]:
            pass
        yield found


async def both(first: Any, second: Any) -> tuple[Any, Any]:
    import asyncio

    async with asyncio.timeout(10):
        left, right = await asyncio.gather(first, second)
    return left, right


async def test_me_says_who_one_is(app: App) -> None:
    me = (await app.send("GET", "/api/me", app.admin)).json()
    assert me["roles"] == ["admin", "operator", "viewer"]
    assert (me["mode"], me["protocol"]) == ("standalone", 1)
    worker = (await app.send("GET", "/api/me", app.worker)).json()
    assert (worker["kind"], worker["roles"]) == ("worker", ["worker"])


async def test_a_terminal_is_opened_inspected_signalled_and_ended(
    app: App, worker: Worker
) -> None:
    page = await app.sign_in()
    asked = {"target": "docker:web", "name": "logs", "cols": 100, "rows": 30}
    opened, spawn = await both(
        app.send("POST", "/api/terminals", page, asked), worker.answer("spawn")
    )
    assert (opened.status, opened.json()) == (201, {"id": "web-1:logs"})
    assert (spawn["terminal"], spawn["target"]) == ("web-1:logs", "docker:web")
    assert (spawn["cols"], spawn["rows"]) == (100, 30)

    foreground = {"name": "vim", "pid": 7, "since": 1.5, "is_shell": False}
    seen, _ = await both(
        app.send("GET", "/api/terminals/web-1:logs", page),
        worker.answer("inspect", foreground=foreground),
    )
    assert seen.json()["foreground"] == foreground

    path = "/api/terminals/web-1:logs/signal"
    done, signal = await both(
        app.send("POST", path, page, {"signal": "INT"}), worker.answer("signal")
    )
    assert (done.status, signal["signal"]) == (200, "INT")

    ended, _ = await both(
        app.send("DELETE", "/api/terminals/web-1:logs", page), worker.answer("close")
    )
    assert ended.status == 200
    listed = (await app.send("GET", "/api/terminals", page)).json()["terminals"]
    assert [terminal["id"] for terminal in listed] == ["web-1"]


async def test_a_freeze_reaches_the_worker(app: App, worker: Worker) -> None:
    path = "/api/terminals/web-1/freeze"
    answer, message = await both(
        app.send("POST", path, app.admin, {}), worker.answer("freeze", state="frozen")
    )
    assert answer.json() == {"state": "frozen"}
    assert message["terminal"] == "web-1"


async def test_the_input_lease_is_taken_and_given_back(
    app: App, worker: Worker
) -> None:
    path = "/api/terminals/web-1/writer"
    taken = await app.send("POST", path, app.admin, {"action": "take"})
    given = await app.send("POST", path, app.admin, {"action": "give"})
    assert taken.json() == {"writer": app.server.context.auth.owner}
    assert given.json() == {"writer": None}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/api/terminals", {"target": "local"}, 503, "no-worker"),
        ("POST", "/api/terminals", {"cols": 0}, 400, "bad-message"),
        ("POST", "/api/terminals", {"cols": "80"}, 400, "bad-message"),
        ("POST", "/api/terminals", {"name": "a/b"}, 400, "bad-message"),
        ("POST", "/api/terminals", {"colour": "red"}, 400, "bad-message"),
        ("GET", "/api/terminals/nobody", None, 404, "not-found"),
        ("GET", "/api/terminals/a%00b", None, 404, "no-such-room"),
        ("DELETE", "/api/terminals/nobody", None, 404, "not-found"),
        ("POST", "/api/terminals/nobody/signal", {"signal": "INT"}, 404, "not-found"),
        ("POST", "/api/ops/scan", {"scope": "everything"}, 400, "bad-message"),
        ("GET", "/api/ops/scans/nothing", None, 404, "not-found"),
        ("GET", "/api/ops/issues?severity=worst", None, 400, "bad-message"),
        ("GET", "/api/ops/issues?limit=-1", None, 400, "bad-message"),
        ("POST", "/api/ops/issues/none/resolve", {"note": "x"}, 404, "not-found"),
        ("GET", "/api/hil/requests/none", None, 404, "not-found"),
        ("PATCH", "/api/hil/requests/x/status", {"status": "y"}, 400, "bad-message"),
        ("GET", "/api/rooms/hil/never", None, 404, "no-such-room"),
        (
            "POST",
            "/api/grants",
            {"user": "a b", "roles": ["viewer"]},
            400,
            "bad-message",
        ),
        ("POST", "/api/grants", {"user": "a", "roles": ["admin"]}, 400, "bad-message"),
        ("POST", "/api/grants", {"user": "a", "roles": []}, 400, "bad-message"),
        ("PATCH", "/api/me", {}, 405, "method-not-allowed"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_code(
    app: App, method: str, path: str, body: Any, status: int, code: str
) -> None:
    answer = await app.send(method, path, app.admin, body)
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"].startswith("application/json")


async def test_a_viewer_reads_and_changes_nothing(app: App, worker: Worker) -> None:
    granted = await app.grant("eve", "viewer")
    eve = {"Authorization": f"Bearer {granted['token']}"}
    for path in ("/api/terminals", "/api/workers", "/api/rooms", "/api/ops/issues"):
        assert (await app.send("GET", path, eve)).status == 200, path
    for method, path, body in (
        ("POST", "/api/terminals", {}),
        ("POST", "/api/terminals/web-1/signal", {"signal": "KILL"}),
        ("POST", "/api/terminals/web-1/writer", {"action": "take"}),
        ("POST", "/api/terminals/web-1/freeze", {}),
        ("DELETE", "/api/terminals/web-1", None),
        ("POST", "/api/ops/scan", {"scope": "full"}),
        ("POST", "/api/ops/broadcast", {"name": "deploy"}),
        ("POST", "/api/hil/requests", ask()),
        ("GET", "/api/grants", None),
        ("POST", "/api/grants", {"user": "eve", "roles": ["approver"]}),
        ("POST", "/api/login-links", {}),
    ):
        answer = await app.send(method, path, eve, body)
        assert answer.status == 403, path


async def test_rooms_out_of_a_grants_reach_do_not_exist(
    app: App, worker: Worker
) -> None:
    granted = await app.grant("bob", "viewer", "operator", rooms=["terminal/db-*"])
    bob = {"Authorization": f"Bearer {granted['token']}"}
    listed = (await app.send("GET", "/api/terminals", bob)).json()
    assert listed == {"terminals": []}
    for path in ("/api/terminals/web-1", "/api/ops/issues", "/api/hil/requests"):
        assert (await app.send("GET", path, bob)).status == 404, path
    asked = {"name": "x"}
    assert (await app.send("POST", "/api/terminals", bob, asked)).status == 404


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("local", "web-1"),
        ("docker:db", "web-1:db"),
        ("ssh:ana@db.example", "web-1:ana@db.example"),
        ("k8s:prod/web-1/sidecar", "web-1:prod-web-1-sidecar"),
        ("docker:" + "x" * 100, "web-1:" + "x" * 64),
    ],
)
async def test_a_terminal_without_a_name_is_called_like_its_place(
    app: App,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    named: str,
) -> None:
    monkeypatch.setattr(terminals, "LINK_SECONDS", 0.01)  # none will come
    opened, spawn = await both(
        app.send("POST", "/api/terminals", app.admin, {"target": target}),
        worker.answer("spawn"),
    )
    assert opened.json() == {"id": named}
    assert (spawn["terminal"], spawn["target"]) == (named, target)


async def test_a_worker_is_stopped_by_those_alone_who_reach_all_of_it(
    app: App, worker: Worker
) -> None:
    path = "/api/workers/web-1/stop"
    of_one = await app.grant("bob", "operator", rooms=["terminal/web-1*"])
    bob = {"Authorization": f"Bearer {of_one['token']}"}
    refused = await app.send("POST", path, bob, {"force": True})
    assert (refused.status, refused.json()["code"]) == (403, "forbidden")
    assert "worker/web-1" in refused.json()["message"]

    of_all = await app.grant("eve", "operator", rooms=["worker/web-1"])
    eve = {"Authorization": f"Bearer {of_all['token']}"}
    stopped, _ = await both(app.send("POST", path, eve, {}), worker.answer("stop"))
    assert stopped.status == 200


def ask(**more: Any) -> dict[str, Any]:
    action = {"command": "restart web-1"}
    return {"question": "Restart?", "action": action, "kind": "confirm", **more}


def decision(request: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": request["version"],
        "verdict": "approve",
        "action_digest": request["action_digest"],
        "key": "key-1",
        "reason": "checked",
        **more,
    }


async def test_an_approval_is_asked_for_decided_once_and_used_once(app: App) -> None:
    page = await app.sign_in()
    asked = await app.send("POST", "/api/hil/requests", app.admin, ask())
    request = asked.json()
    path = f"/api/hil/requests/{request['approval_id']}"
    assert asked.status == 201
    digest = hashlib.sha256(encode_canonical(request["action"])).hexdigest()
    assert request["action_digest"] == digest

    by_notebook = await app.send(
        "POST", f"{path}/response", app.admin, decision(request)
    )
    stale = decision(request, action_digest="0" * 64)
    by_stale = await app.send("POST", f"{path}/response", page, stale)
    first = await app.send("POST", f"{path}/response", page, decision(request))
    repeated = await app.send("POST", f"{path}/response", page, decision(request))
    other = decision(request, key="key-2", verdict="reject")
    second = await app.send("POST", f"{path}/response", page, other)

    assert by_notebook.status == 403
    assert by_stale.status == 412
    assert (first.status, first.json()["status"]) == (200, "approved")
    assert repeated.json() == first.json()
    assert second.status == 409
    assert second.json()["status"] == "approved"
    assert len(second.json()["decisions"]) == 1

    use = {"action_digest": digest}
    assert (await app.send("POST", f"{path}/use", app.admin, use)).status == 200
    assert (await app.send("POST", f"{path}/use", app.admin, use)).status == 409


async def test_pending_requests_are_listed_and_can_be_withdrawn(app: App) -> None:
    for _ in range(3):
        await app.send("POST", "/api/hil/requests", app.admin, ask())
    path = "/api/hil/requests?status=pending&limit=2"
    listed = (await app.send("GET", path, app.admin)).json()
    assert (len(listed["requests"]), listed["total"]) == (2, 3)
    one = listed["requests"][0]["approval_id"]
    cancel = {"status": "cancelled"}
    path = f"/api/hil/requests/{one}/status"
    answer = await app.send("PATCH", path, app.admin, cancel)
    assert (answer.status, answer.json()["status"]) == (200, "cancelled")


async def test_a_decision_with_an_unknown_field_is_refused(app: App) -> None:
    page = await app.sign_in()
    asked = await app.send("POST", "/api/hil/requests", app.admin, ask(extra=1))
    assert asked.status == 400
    request = (await app.send("POST", "/api/hil/requests", app.admin, ask())).json()
    path = f"/api/hil/requests/{request['approval_id']}/response"
    answer = await app.send("POST", path, page, decision(request, approved=True))
    assert answer.status == 400


async def test_a_scan_is_asked_of_the_worker_and_its_result_is_kept(
    app: App, worker: Worker
) -> None:
    asked, scan = await both(
        app.send("POST", "/api/ops/scan", app.admin, {"type": "full"}),
        worker.receive("scan"),
    )
    await worker.socket.send(
        json.dumps({"type": "done", "id": scan["id"], "result": {}})
    )
    assert asked.status == 202
    scan_id = asked.json()["scan_id"]
    assert (scan["scan_id"], scan["scope"]) == (scan_id, "full")
    result = {
        "type": "scan-result",
        "scan_id": scan_id,
        "processed_logs": 3,
        "started_at": "2026-11-23T00:00:00Z",
        "completed_at": "2026-11-23T00:00:01Z",
        "coverage": [],
        "findings": [],
    }
    await worker.socket.send(json.dumps(result))
    path = f"/api/ops/scans/{scan_id}"
    while (found := (await app.send("GET", path, app.admin)).json()).get(
        "status"
    ) == "running":
        pass
    assert found["status"] == "completed"
    assert found["processed_logs"] == 3
    listed = (await app.send("GET", "/api/ops/scans", app.admin)).json()["scans"]
    assert [one["scan_id"] for one in listed] == [scan_id]


async def test_an_event_is_stored_and_counted(app: App) -> None:
    sent = {"name": "deploy", "data": {"version": "1.2"}}
    first = await app.send("POST", "/api/ops/broadcast", app.admin, sent)
    second = await app.send("POST", "/api/ops/broadcast", app.admin, sent)
    assert first.status == 202
    assert second.json()["offset"] == first.json()["offset"] + 1
    room = (await app.send("GET", "/api/rooms/ops/main", app.admin)).json()
    assert room["offset"] == second.json()["offset"]
    assert room["members"] == {}


@pytest.mark.parametrize(
    ("path", "room"),
    [
        ("/api/workers/web-1/terminal", "terminal/web-1"),
        ("/api/workers/web-1/terminal?sandboxId=a%20b", "terminal/web-1:a%20b"),
        ("/api/ops/broadcast", "ops/main"),
    ],
)
async def test_addresses_of_a_partyserver_deployment_lead_to_the_same_rooms(
    app: App, path: str, room: str
) -> None:
    url = f"ws://127.0.0.1:{app.port}{path}"
    async with connect(url, additional_headers=app.admin) as socket:
        first = json.loads(await socket.recv())
        assert first["type"] == "connected"
        rooms = (await app.send("GET", "/api/rooms", app.admin)).json()["rooms"]
    assert room in {f"{one['party']}/{one['room']}" for one in rooms}


async def test_metrics_are_for_those_signed_in_and_count_rooms(app: App) -> None:
    assert (await app.send("GET", "/metrics")).status == 401
    await app.send("GET", "/api/ops/issues", app.admin)
    text = (await app.send("GET", "/metrics", app.admin)).body.decode()
    assert 'vibehq_rooms{party="ops"} 1.0' in text
    assert "vibehq_workers_online 0.0" in text


async def test_an_unforeseen_failure_says_nothing_of_itself(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("secret detail")

    monkeypatch.setattr(app.server.context.hub, "live", fail)
    answer = await app.send("GET", "/api/rooms", app.admin)
    monkeypatch.undo()
    assert answer.status == 500
    assert answer.json()["code"] == "internal"
    assert b"secret" not in answer.body
    assert answer.json()["request_id"] in caplog.text
