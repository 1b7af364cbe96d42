"""Connecting, deciding and scanning from Python, against a real server."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vibehq_nb.client import doctor
from vibehq_nb.client.errors import (
    ApiError,
    ExpiredError,
    NoServerError,
    RejectedError,
    ScanFailedError,
)
from vibehq_nb.client.hq import HQ, connect
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.client.tables import COLUMNS
from vibehq_nb.testing import ThrowAwayServer

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def server() -> Iterator[ThrowAwayServer]:
    with ThrowAwayServer() as running:
        yield running


@pytest.fixture(scope="module")
def hq(server: ThrowAwayServer) -> Iterator[HQ]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        yield connect()


def test_it_says_who_we_are(hq: HQ) -> None:
    assert repr(hq) == "<vibehq server (standalone)>"
    assert set(hq.me.roles) == {"viewer", "operator"}


def test_a_wrong_token_says_how_to_sign_in(
    server: ThrowAwayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIBEHQ_URL", server.url)
    monkeypatch.setenv("VIBEHQ_TOKEN", "wrong")

    with pytest.raises(ApiError, match="vibehq login") as caught:
        connect()

    assert caught.value.status in (401, 403)
    assert "wrong" not in str(caught.value)


def test_a_server_that_is_down_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("VIBEHQ_TOKEN", raising=False)

    with pytest.raises(NoServerError, match="vibehq serve"):
        connect("http://127.0.0.1:9")


def test_workers_and_terminals_are_tables(hq: HQ) -> None:
    assert list(hq.workers()["id"]) == ["demo"]
    assert "state" in hq.terminals().columns


def test_a_scan_gives_tables_of_fixed_columns(hq: HQ) -> None:
    scan = hq.scan("full", kinds=["disk"])

    assert tuple(scan.findings.columns) == COLUMNS
    assert tuple(scan.changes.columns) == COLUMNS
    assert "detector" in scan.coverage.columns
    assert scan.summary.startswith("full scan: ")


def test_a_scan_that_cannot_be_run_says_so(hq: HQ) -> None:
    with pytest.raises((ApiError, ScanFailedError)):
        hq.scan("full", on=["no-such-worker"])


def test_a_log_with_errors_is_found_and_kept(hq: HQ, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    trace = 'Traceback (most recent call last):\n  File "pay.py", line 1, in pay\n'
    log.write_text(f"ERROR payment failed\n{trace}ValueError: no\n" * 30)

    scan = hq.scan("full", kinds=["logs"], logs=[str(log)])

    assert len(scan.findings) >= 1
    assert set(scan.findings["id"]) <= set(hq.findings()["id"])


def test_an_event_is_taken(hq: HQ) -> None:
    hq.emit("deploy", {"version": "1.2.3"})


def test_nobody_answering_is_a_no(hq: HQ) -> None:
    with (
        hq.task("alone") as task,
        pytest.raises(ExpiredError, match="Nobody answered"),
    ):
        task.confirm("Restart web-1?", {"command": "restart web-1"}, expires=1)


def test_interrupting_the_cell_withdraws_the_request(hq: HQ) -> None:
    timer = threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()

    with hq.task("interrupted") as task, pytest.raises(KeyboardInterrupt):
        task.confirm("Restart web-1?", {"command": "restart web-2"})

    timer.join()
    path = "/api/hil/requests?status=cancelled"
    found = hq._hq.api.request("GET", path)["requests"]
    assert any(request["task_id"] == "interrupted" for request in found)


def test_a_review_is_refused_where_nobody_else_can_approve(hq: HQ) -> None:
    with hq.task("reviewed") as task, pytest.raises(ApiError) as caught:
        task.review("Drop it?", {"command": "drop"}, {"eligible": [hq.me.user]})

    assert caught.value.status in (400, 422)


def test_another_person_answers_by_rules(server: ThrowAwayServer, hq: HQ) -> None:
    server.answer_with(["bob:restart *"])
    with hq.task("answered") as task:
        decision = task.confirm("Restart?", {"command": "restart web-1"})

        assert (decision.status, decision.decided_by) == ("approved", "bob")
        with pytest.raises(RejectedError, match="no rule approves 'drop db'"):
            task.confirm("Drop?", {"command": "drop db"})


def test_the_doctor_finds_everything_in_order(
    server: ThrowAwayServer, hq: HQ, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VIBEHQ_DATA", str(tmp_path))
    lines: list[str] = []

    doctor.run(write=lines.append)

    names = {line.split(": ")[1]: line.split(": ")[0] for line in lines}
    for name in ("python", "tornado", "server", "protocol", "clock", "socket", "shell"):
        assert names[name] == "ok", lines
    assert not any(server.token in line for line in lines)


def test_the_doctor_names_one_fix_a_line_without_a_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("VIBEHQ_URL", "VIBEHQ_TOKEN", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHELL", "/no/such/shell")
    lines: list[str] = []

    code = doctor.run(write=lines.append)

    assert code == 1
    assert any(line.startswith("FIX: server: none found") for line in lines)
    assert any(line.startswith("FIX: shell: /no/such/shell") for line in lines)
    assert all("\n" not in line for line in lines)


def test_a_redirect_carries_no_token(server: ThrowAwayServer) -> None:
    """The answer is an error that names the new place; nothing is sent there."""
    api = HttpApi(Server(f"{server.url}//", server.token))

    with pytest.raises(ApiError):
        api.request("GET", "no-such-page")
