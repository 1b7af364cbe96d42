"""Recordings as users make them: real shells, kill -9, and the real asciinema."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trust.server_process import ServerProcess
from vibehq_nb.client.hq import HQ, connect
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.client.recording import Recording
from vibehq_nb.client.terminal import Terminal
from vibehq_nb.core.asciicast import CastEvent, CastHeader, decode_cast
from vibehq_nb.core.errors import UsageError
from vibehq_nb.testing import ThrowAwayServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ASCIINEMA = os.environ.get("VIBEHQ_ASCIINEMA") or shutil.which("asciinema")


@pytest.fixture(scope="module")
def hq() -> Iterator[HQ]:
    with ThrowAwayServer() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        yield connect()


@pytest.fixture
def term(hq: HQ) -> Iterator[Terminal]:
    terminal = hq.terminal(new=True)
    yield terminal
    terminal.close()


def eventually(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)
    return found


def events(path: Path) -> tuple[CastHeader, list[CastEvent]]:
    header, *rest = decode_cast(path.read_bytes().splitlines(keepends=True))
    assert isinstance(header, CastHeader)
    return header, [event for event in rest if isinstance(event, CastEvent)]


def printed(path: Path) -> str:
    return "".join(event.text for event in events(path)[1] if event.code == "o")


def asciinema(*arguments: str) -> str:
    """Return what the real asciinema prints."""
    if ASCIINEMA is None:
        pytest.skip("needs a package: asciinema (a program of PyPI)")
    done = subprocess.run([ASCIINEMA, *arguments], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


@pytest.fixture
def recorded(term: Terminal) -> Recording:
    """A short recording with colours, wide characters, a size and an exit code."""
    with term.record() as recording:
        term.run("printf '\\e[1;31mred\\e[0m 漢字 😀\\n'")
        term.size_policy("fixed", 100, 30)
        term.run("for i in $(seq 1 500); do echo line-$i; done")
        term.run("tput cols")
    return recording


def test_t14_asciinema_plays_the_export(recorded: Recording, tmp_path: Path) -> None:
    """Version 2 is read by every asciinema since 2018, version 3 by its own third."""
    reads = 3 if asciinema("--version").split()[-1].startswith("3") else 2
    for version in range(2, reads + 1):
        path = recorded.export(tmp_path / "t14.cast", version=version)

        shown = asciinema("cat", str(path))
        played = asciinema("play", "-s", "1000", "-i", "0.01", str(path))

        assert shown == printed(path)
        for text in ("\x1b[1;31mred", "漢字 😀", "line-1\r\n", "line-500\r\n"):
            assert text in shown
            assert text in played


def test_t14_both_versions_tell_the_same_story(
    recorded: Recording, tmp_path: Path
) -> None:
    """Checked by the documented format: few systems have an asciinema 3 yet."""
    second = events(recorded.export(tmp_path / "2.cast", version=2))
    third = events(recorded.export(tmp_path / "3.cast", version=3))

    assert second[0]._replace(version=3) == third[0]
    assert [e[1:] for e in second[1]] == [e[1:] for e in third[1] if e.code != "x"]
    assert all(
        abs(one.time - other.time) < 0.001
        for one, other in zip(second[1], third[1], strict=False)
    )
    assert "100x30" in [event.text for event in third[1] if event.code == "r"]
    first, *lines = (tmp_path / "3.cast").read_text().splitlines()
    assert set(json.loads(first)["term"]) == {"cols", "rows", "type"}
    assert all(
        isinstance(interval, float) and interval >= 0 and code in "omrx"
        for interval, code, _ in map(json.loads, lines)
    )


def test_its_commands_are_places_to_jump_to(term: Terminal, tmp_path: Path) -> None:
    with term.record() as recording:
        term.run("echo one; seq 3")
        term.run("(exit 4)", check=False)
    eventually(lambda: len(recording.commands()["exit_code"].dropna()) == 2)

    table = recording.commands()
    marks = [
        event.text
        for event in events(recording.export(tmp_path / "marks.cast"))[1]
        if event.code == "m"
    ]

    assert list(table["command"]) == marks == ["echo one; seq 3", "(exit 4)"]
    assert list(table["exit_code"]) == [0, 4]
    assert table["time"].is_monotonic_increasing


def test_a_flood_is_in_the_export_byte_by_byte(term: Terminal, tmp_path: Path) -> None:
    flood = tmp_path / "flood.txt"
    flood.write_text("".join(f"{n:08d} {'ü' * (n % 70)}\n" for n in range(40_000)))
    with term.record() as recording:
        term.run(f"cat {flood}")

    found = printed(recording.export(tmp_path / "flood.cast"))

    assert flood.read_text().replace("\n", "\r\n") in found
    assert recording.verify()


def test_a_password_typed_with_echo_off_is_nowhere_in_a_recording(
    term: Terminal, tmp_path: Path
) -> None:
    with term.record() as recording:
        term.send("read -s -p 'Password: ' secret; echo; echo got ${#secret}\r")
        eventually(lambda: term.screen().splitlines()[-1] == "Password:")
        term.send("correct-horse-battery\r")
        eventually(lambda: "got 21" in term.screen())

    shown = printed(recording.export(tmp_path / "password.cast"))

    assert "Password: " in shown
    assert "got 21" in shown
    assert "correct-horse" not in shown


def test_the_exit_code_of_the_shell_ends_it(hq: HQ, tmp_path: Path) -> None:
    term = hq.terminal(new=True)
    recording = term.record()
    term.send("exit 7\r")
    eventually(lambda: recording.describe()["state"] == "exited")

    last = events(recording.export(tmp_path / "exit.cast"))[1][-1]

    assert (last.code, last.text) == ("x", "7")
    term.close()


def test_a_notebook_sees_its_recordings_as_a_table_and_the_last_screen(
    hq: HQ, term: Terminal, recorded: Recording
) -> None:
    table = term.recordings()

    # Another terminal may have had that name before: the newest comes first.
    assert (table["id"][0], table["state"][0]) == (recorded.id, "stopped")
    assert recorded.id in set(hq.recordings()["id"])
    assert repr(hq.recording(recorded.id)) == f"<recording of {term.id}>"
    assert "line-500" in recorded.static().text
    assert "line-500" in recorded._repr_mimebundle_()["text/html"]
    with pytest.raises(UsageError, match="version 2 or 3"):
        recorded.export("x.cast", version=4)
    with pytest.raises(UsageError, match="cannot be written"):
        recorded.export("/nowhere/x.cast")


def run(server: ServerProcess, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "vibehq_server.cli", *words, "--data", str(server.data)],
        capture_output=True,
        text=True,
        timeout=30,
    )


def start_worker(server: ServerProcess) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "vibehq_nb.worker", "--id", "w", "--data", server.data],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def test_a_server_killed_while_it_records_loses_no_byte_of_the_recording(
    tmp_path: Path,
) -> None:
    """Killed twice under output: each line once, in order, and the restarts told."""
    server = ServerProcess(tmp_path / "data")
    await server.start()
    worker = start_worker(server)
    try:
        admin = HttpApi(Server(f"http://127.0.0.1:{server.port}", _token(server)))
        eventually(lambda: admin.request("GET", "/api/workers")["workers"])
        grant = admin.request(
            "POST", "/api/grants", {"user": "ana", "roles": ["viewer", "operator"]}
        )
        api = HttpApi(Server(admin.server.url, grant["token"]))
        api.request("POST", "/api/terminals", {"command": ["/bin/sh"]})
        name = api.request("POST", "/api/terminals/w/recordings")["id"]
        await _type(api, "for i in $(seq 1 600); do echo tick-$i; sleep 0.005; done\r")
        for _ in range(2):
            eventually(lambda: _bytes(api, name) > 500)
            await server.restart()
            eventually(lambda: _state(api, name) == "recording", 20)
        target = tmp_path / "killed.cast"

        def is_whole() -> bool:
            done = run(server, "terminal", "export", name[:12], "-o", str(target))
            assert done.returncode == 0, done.stderr
            return "tick-600\r\n" in printed(target)

        eventually(is_whole, 30)
        stopped = run(server, "terminal", "record", "w", "--stop")

        lines = [line for line in printed(target).split("\r\n") if "tick-" in line]
        ticks = [line for line in lines if line.startswith("tick-")]
        assert ticks == [f"tick-{n}" for n in range(1, 601)]
        marks = [event.text for event in events(target)[1] if event.code == "m"]
        assert marks == ["the server was started again"] * 2
        assert stopped.returncode == 0, stopped.stderr
        assert run(server, "terminal", "verify", name).returncode == 0
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(10)
        server.kill()


def _token(server: ServerProcess) -> str:
    return server.admin["Authorization"].removeprefix("Bearer ")


def _bytes(api: HttpApi, name: str) -> int:
    return int(api.request("GET", f"/api/recordings/{name}")["bytes"])


def _state(api: HttpApi, name: str) -> str:
    return str(api.request("GET", f"/api/recordings/{name}")["state"])


async def _type(api: HttpApi, text: str) -> None:
    from vibehq_nb.client.session import TerminalSession

    async with TerminalSession(api.server, "w") as session:
        await session.caught_up()
        await session.type(text.encode())
