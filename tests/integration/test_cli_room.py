"""``vibehq room``: look at rooms and follow a log, over a restart too."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_app import Process
from tests.integration.test_cli import run
from vibehq_nb.client.http import HttpApi, Server
from vibehq_server.endpoint import read_endpoint


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data: Path) -> Iterator[Process]:
    running = Process(data)
    yield running
    if running.process.poll() is None:
        running.end()


def emit(data: Path, *names: str) -> None:
    endpoint = read_endpoint(data)
    api = HttpApi(Server(endpoint.url, endpoint.keys.admin))
    for name in names:
        api.request("POST", "/api/ops/broadcast", {"name": name})


class Following:
    """A ``vibehq room tail --follow`` that runs."""

    def __init__(self, data: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "vibehq_server.cli", "room", "tail"),
                *("ops/main", "--follow", "--json", "--data", str(data), *words),
            ],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def entry(self) -> dict[str, Any]:
        """Return the next entry it prints."""
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def told(self) -> str:
        """Return the next line it says on standard error."""
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=15)
        return self.process.returncode


@pytest.fixture
def follow(data: Path) -> Iterator[Any]:
    started: list[Following] = []

    def start(*words: str) -> Following:
        started.append(Following(data, *words))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


def test_a_room_is_inspected_as_tables_and_as_json(
    server: Process, data: Path, home: Path
) -> None:
    emit(data, "deploy", "note")
    at = ("--data", str(data))
    shown = run("room", "inspect", "ops/main", *at, home=home)
    told = json.loads(
        run("room", "inspect", "ops/main", "--json", *at, home=home).stdout
    )

    assert shown.returncode == 0, shown.stderr
    assert re.search(r"offset +2\n", shown.stdout)
    assert "0 connections" in shown.stdout
    assert "last entries" in shown.stdout
    assert told["offset"] == 2
    assert [entry["type"] for entry in told["last"]] == ["event", "event"]


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["inspect", "ops/mian"], 1, "No live room ops/mian. Did you mean ops/main?"),
        (["tail", "osp/main"], 1, "No live room osp/main. Did you mean ops/main?"),
        (["tail", "zzz/zzz"], 1, "No live room zzz/zzz. All there are: vibehq room"),
        (["tail", "lobby/main"], 1, "Rooms of this party keep no entries."),
        (["inspect", "main"], 2, "say PARTY/ROOM, such as ops/main"),
        (["inspect", "ops/\x1b[2J"], 1, "No live room ops/\\x1b[2J."),
        (["tail", "ops/main", "--form", "3"], 2, "Did you mean --from?"),
    ],
)
def test_a_room_that_is_not_there_is_told_with_the_nearest_one(
    server: Process, data: Path, home: Path, words: list[str], code: int, hint: str
) -> None:
    emit(data, "a")
    done = run("room", *words, "--data", str(data), home=home)
    assert (done.returncode, done.stdout) == (code, "")
    assert hint in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_last_entries_are_printed_or_those_from_an_offset(
    server: Process, data: Path, home: Path
) -> None:
    emit(data, *(f"event-{number}" for number in range(1, 13)))
    at = ("ops/main", "--data", str(data))

    def names(*words: str) -> list[str]:
        printed = run("room", "tail", *at, *words, home=home).stdout
        return re.findall(r"event-\d+", printed)

    assert names() == [f"event-{number}" for number in range(3, 13)]
    assert names("-n", "2") == ["event-11", "event-12"]
    assert names("--from", "10") == ["event-10", "event-11", "event-12"]
    both = run("room", "tail", *at, "--from", "1", "-n", "2", home=home)
    assert both.returncode == 2
    line = run("room", "tail", *at, "-n", "1", home=home).stdout
    assert re.match(r" +12  20\S+Z  event  \{\"name\": \"event-12\", ", line)


def test_following_goes_on_over_a_restart_without_a_loss_or_a_repeat(
    server: Process, data: Path, follow: Any
) -> None:
    emit(data, "one", "two")
    tail = follow("-n", "1")
    assert tail.entry()["body"]["name"] == "two"
    assert tail.told() == "vibehq: resumed at offset 2\n"
    emit(data, "three")
    assert (tail.entry()["offset"], server.end()) == (3, -signal.SIGKILL)

    again = Process(data, "--port", str(server.port))
    try:
        emit(data, "four")
        assert tail.told().startswith("vibehq: resumed at offset ")
        emit(data, "five")
        assert [tail.entry()["offset"] for _ in range(2)] == [4, 5]
        assert tail.interrupt() == 130
    finally:
        again.end()


def test_a_log_that_began_anew_is_told_and_read_from_its_first_entry(
    server: Process, data: Path, follow: Any
) -> None:
    emit(data, "one", "two", "three")
    tail = follow()
    assert [tail.entry()["offset"] for _ in range(3)] == [1, 2, 3]
    assert "resumed" in tail.told()
    server.end()
    for path in data.glob("rooms.sqlite3*"):
        path.unlink()

    again = Process(data, "--port", str(server.port))
    try:
        emit(data, "new")
        assert tail.told() == "vibehq: reset at offset 1 (epoch)\n"
        assert "ops/main began anew" in tail.told()
        assert (tail.entry()["body"]["name"], tail.interrupt()) == ("new", 130)
    finally:
        again.end()
