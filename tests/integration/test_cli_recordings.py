"""Recordings on the command line: made, listed, played, exported, verified."""

import hashlib
import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vibehq_nb.core.errors import UsageError
from vibehq_nb.testing import ThrowAwayServer
from vibehq_server.cli.recording import decode_time
from vibehq_server.cli.replay import ReplayKey, Tempo, clock

pytestmark = pytest.mark.timeout(60)

CAST = """{"version": 2, "width": 80, "height": 24}
[0.1, "o", "begin\\u001b[6n"]
[1.0, "m", "ls"]
[60.0, "o", "middle"]
[120.0, "m", "make"]
[120.1, "o", "late"]
[600.0, "o", "end"]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ThrowAwayServer]:
    with ThrowAwayServer() as running:
        yield running


@pytest.fixture
def cast(tmp_path: Path) -> Path:
    path = tmp_path / "made.cast"
    path.write_text(CAST)
    return path


def run(
    *words: str, server: ThrowAwayServer | None = None
) -> "subprocess.CompletedProcess[str]":
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VIBEHQ_")}
    return subprocess.run(
        [sys.executable, "-m", "vibehq_server.cli", "terminal", *words],
        env=kept | (server.environment() if server else {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )


class Screen:
    """A program on a terminal of its own, whose keys are pressed here."""

    def __init__(self, *words: str) -> None:
        self.shown = b""
        self._ours, self.theirs = pty.openpty()
        termios.tcsetwinsize(self.theirs, (24, 80))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vibehq_server.cli", "terminal", *words],
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            start_new_session=True,
        )

    def until(self, text: bytes, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, self.shown
            if select.select([self._ours], [], [], left)[0]:
                self.shown += os.read(self._ours, 65536)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def end(self) -> int:
        """Wait for its end, reading on; returns its exit code."""
        deadline = time.monotonic() + 20
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            if select.select([self._ours], [], [], 0.02)[0]:
                self.shown += os.read(self._ours, 65536)
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self.theirs)


@pytest.fixture
def player(cast: Path) -> Iterator[Screen]:
    screen = Screen("replay", str(cast))
    yield screen
    screen.close()


def test_a_file_is_played_at_a_pace(cast: Path) -> None:
    done = run("replay", str(cast), "--speed", "100", "--idle-limit", "2")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "begin\x1b[6nmiddlelateend"


@pytest.mark.parametrize("words", [["--from", "1:59.5"], ["--command", "2"]])
def test_it_begins_where_it_is_told_to(cast: Path, words: list[str]) -> None:
    done = run("replay", str(cast), *words, "--speed", "1000", "--idle-limit", "1")

    assert done.stdout.endswith("begin\x1b[6nmiddlelateend")
    assert done.returncode == 0


def test_t14_keys_pause_seek_jump_and_leave(player: Screen) -> None:
    player.until(b"begin")
    player.press(b" ")
    player.until(b"(paused)")
    player.press(b"\x1b[A")  # a minute on
    player.until(b"middle")
    player.press(b"\x1bOC]> ")  # five seconds on, the next command, faster, go on
    player.until(b"late")
    player.press(b"q")

    assert player.end() == 0
    assert b"end" not in player.shown.replace(b"begin", b"")


def test_answers_to_what_a_recording_asks_are_typed_nowhere(player: Screen) -> None:
    before = termios.tcgetattr(player.theirs)
    player.until(b"\x1b[6n")
    player.press(b"\x1b[1;6R\x1b]11;rgb:0/0/0\x07")
    player.press(b"q\x1b[1;6R\n")

    assert player.end() == 0
    assert not select.select([player.theirs], [], [], 0)[0]
    after = termios.tcgetattr(player.theirs)
    assert after[3] & termios.ECHO
    assert after[:4] == before[:4]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["nothing.cast"], 2, "nothing.cast cannot be read: No such file"),
        (["{cast}", "--command", "3"], 2, "has no command 3. There are 2."),
        (["{cast}", "--from", "soon"], 2, "a time such as 90, 1:30"),
        (["{cast}", "--speed", "0"], 2, "--speed is a number from 0.01"),
        (["{cast}", "--idle-limit", "-1"], 2, "--idle-limit is a number"),
        (["{bad}"], 1, "this is no asciicast: line 1 is no header"),
        (["/"], 2, "cannot be read"),
    ],
)
def test_what_cannot_be_played_is_said_in_one_line(
    cast: Path, words: list[str], code: int, text: str
) -> None:
    bad = cast.with_name("bad.cast")
    bad.write_bytes(b"\xff\x00nothing")

    done = run("replay", *(word.format(cast=cast, bad=bad) for word in words))

    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_terminal_is_recorded_listed_exported_replayed_and_verified(
    server: ThrowAwayServer, tmp_path: Path
) -> None:
    opened = run("open", "--name", "cli", server=server)
    terminal = opened.stdout.strip()
    name = run("record", terminal, server=server).stdout.strip()
    stopped = run("record", terminal, "--stop", server=server)
    table = run("recordings", terminal, server=server)
    rows = json.loads(run("recordings", "--json", server=server).stdout)
    paths = {}
    for form in ("asciicast-v2", "asciicast-v3", "text"):
        paths[form] = tmp_path / f"out.{form}"
        words = [name[:15], "-o", str(paths[form]), "--format", form]
        assert run("export", *words, server=server).returncode == 0
    piped = run("export", name, "-o", "-", server=server)
    verified = run("verify", name, server=server)
    played = run("replay", name, "--speed", "100", server=server)

    assert stopped.stdout == f"{name} is complete.\n"
    assert name in table.stdout
    assert [row["id"] for row in rows] == [name]
    assert paths["asciicast-v2"].read_text().startswith('{"version":2')
    assert paths["asciicast-v3"].read_text() == piped.stdout
    assert "\x1b" not in paths["text"].read_text()
    assert verified.stdout == f"{name} is whole: 1 segments.\n"
    assert played.returncode == 0, played.stderr


def test_a_file_that_was_changed_is_found_also_where_its_index_was_changed_with_it(
    server: ThrowAwayServer,
) -> None:
    terminal = run("open", "--name", "changed", server=server).stdout.strip()
    name = run("record", terminal, server=server).stdout.strip()
    recordings = server._folder / "data/recordings"
    eventually(lambda: any(path.stat().st_size for path in _segments(recordings, name)))
    (segment,) = _segments(recordings, name)
    index = segment.with_name("index.jsonl")
    run("record", terminal, "--stop", server=server)
    eventually(lambda: json.loads(_verify(server, name))["segments"][0]["is_noted"])
    honest = hashlib.sha256(segment.read_bytes()).hexdigest()
    segment.write_bytes(segment.read_bytes().replace(b"\x1b", b" "))
    forged = hashlib.sha256(segment.read_bytes()).hexdigest()
    index.write_text(index.read_text().replace(honest, forged))

    done = run("verify", name, server=server)

    assert done.returncode == 1
    assert done.stderr == f"vibehq: {name} was changed: segment 1\n"


def _segments(recordings: Path, name: str) -> list[Path]:
    # Made by the server's disk thread, some time after the recording was begun.
    return list(recordings.glob(f"*/{name}/*.raw"))


def _verify(server: ThrowAwayServer, name: str) -> str:
    return run("verify", name, "--json", server=server).stdout


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["record", "nothing"], "There is no such terminal."),
        (["export", "nothing", "-o", "x.cast"], "There is no such recording."),
        (["replay", "nothing"], "There is no such recording."),
        (["verify", ""], "There is no such recording."),
        (["recordings", "nothing"], ""),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    server: ThrowAwayServer, words: list[str], text: str
) -> None:
    done = run(*words, server=server)

    assert (done.returncode == 1) == bool(text), done.stderr
    assert text in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def test_times_are_read_and_written_as_people_do() -> None:
    assert decode_time("90") == 90
    assert decode_time("1:30.5") == 90.5
    assert decode_time("1:02:03") == 3723
    assert (clock(59.9), clock(61), clock(3723)) == ("0:59", "1:01", "1:02:03")
    for wrong in ("", "-1", "1:2:3:4", "a", "1:", "٣"):
        with pytest.raises(UsageError):
            decode_time(wrong)


def test_a_pace_shortens_pauses_before_it_speeds_up() -> None:
    tempo = Tempo(speed=2.0, idle_limit=3.0)

    assert (tempo.rest(1.0), tempo.rest(100.0), tempo.rest(-1.0)) == (0.5, 1.5, 0.0)
    tempo.change(ReplayKey.FASTER)
    assert tempo.speed == 3.0
    tempo.change(ReplayKey.SLOWER)
    tempo.change(ReplayKey.SLOWER)
    assert tempo.speed == 1.5
