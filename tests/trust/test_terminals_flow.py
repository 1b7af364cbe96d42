"""Floods, stalls and stuck programs: real shells, server, worker and sockets."""

import asyncio
import hashlib
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.trust.server_process import until
from tests.trust.terminal_watchers import Terminals, Watcher, terminals
from vibehq_nb.client.screen import make_screen
from vibehq_nb.core.credit import CREDIT_BYTES, WINDOW_BYTES
from vibehq_nb.worker.terminal import UNSENT_BYTES

IS_FULL = os.environ.get("VIBEHQ_ROUNDS") == "full"
STALL_SECONDS = 10 if IS_FULL else 3
SLOW_BYTES = 500_000
"""What a slow viewer parses in a second: so little that it is behind on any machine."""
KERNEL_BYTES = 256 * 1024
"""More than the kernel keeps of a PTY's output."""


def tell(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n    {text}\n")


# T3

AWAY = """
import os, sys, time
os.system("stty -opost")
os.write(1, b"ready")
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
for number in range(3000):
    os.write(1, b"%08d\\n" % number)
line = b"".join(b"%09d " % number for number in range(500_000))
while line:
    line = line[os.write(1, line) :]
open(sys.argv[1] + ".done", "w").close()
time.sleep(60)
"""
AWAY_OUTPUT = b"".join(b"%08d\n" % number for number in range(3000)) + b"".join(
    b"%09d " % number for number in range(500_000)
)


async def test_t3_everybody_who_was_away_gets_exactly_what_was_printed(
    tmp_path: Path,
) -> None:
    """5 MB and 3,000 small writes; 100 viewers leave, and come back at once."""
    go = tmp_path / "go"
    (tmp_path / "away.py").write_text(AWAY)
    async with terminals() as places:
        room = await places.open("t", "python3", str(tmp_path / "away.py"), str(go))
        first = await places.watch(room)
        await first.saw(b"ready")
        epoch = first.epoch
        viewers = [await places.watch(room) for _ in range(99)]
        for viewer in viewers:
            await viewer.ready()
        for viewer in (first, *viewers):
            viewer.cut()
        go.touch()
        await until((tmp_path / "go.done").exists, 40)
        back = await asyncio.gather(
            *(places.watch(room, epoch=epoch, offset=5) for _ in range(100))
        )
        end = 5 + len(AWAY_OUTPUT)
        await until(lambda: all(viewer.offset >= end for viewer in back), 50)

    assert {viewer.of("connected")[0]["resume"] for viewer in back} == {"resumed"}
    assert {viewer.offset for viewer in back} == {end}
    assert {viewer.sha for viewer in back} == {hashlib.sha256(AWAY_OUTPUT).hexdigest()}


# T7

FLOOD = """
import hashlib, os, sys, time
def flood(seconds, size):
    seen, number, until = hashlib.sha256(), 0, time.monotonic() + seconds
    while time.monotonic() < until or number * 16 < size:
        lines = b"".join(b"%015d\\n" % n for n in range(number, number + 1000))
        number += 1000
        seen.update(lines)
        while lines:
            lines = lines[os.write(1, lines) :]
    return seen.hexdigest()
os.system("stty raw -echo")
flood(0, 10_000_000)
os.write(1, b"ready")
os.read(0, 1)
told = flood(float(sys.argv[1]), 0)
open(sys.argv[2] + ".new", "w").write(told)
os.rename(sys.argv[2] + ".new", sys.argv[2])
os.read(0, 1)
os.write(1, b"\\x1b[2J\\x1b[HRIGHT AFTERWARDS\\r\\n")
time.sleep(60)
"""


def screen_of(watcher: Watcher) -> str:
    screen = make_screen(80, 24)
    screen.feed(bytes(watcher.screen))
    return screen.text().strip()


def memory(places: Terminals) -> list[int]:
    return [psutil.Process(pid).memory_info().rss for pid in places.pids]


async def test_t7_a_stalled_viewer_costs_no_memory_and_the_others_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "flood.py").write_text(FLOOD)
    done = tmp_path / "sha"
    async with terminals() as places:
        command = ["python3", str(tmp_path / "flood.py"), str(STALL_SECONDS), str(done)]
        room = await places.open("flood", *command)
        holder = await places.watch(room, user="ana")
        await holder.saw(b"ready")  # both rings are full: what grows now is a backlog
        fast = await (await places.watch(room, user="bob")).ready()
        slow = await places.watch(room, user="eve")
        slow.keeps_screen = True
        await slow.ready()
        for viewer in (holder, fast):
            viewer.mark()
        before = memory(places)
        slow.stall()
        await holder.type(b"x")
        grown = [0, 0]
        while not done.exists():
            now = memory(places)
            grown = [max(grown[i], now[i] - before[i]) for i in (0, 1)]
            await asyncio.sleep(0.05)
        for viewer in (holder, fast):
            await until(lambda: viewer.sha == done.read_text(), 20)  # noqa: B023
        slow.read_on()
        await until(lambda: slow.of("gap"), 20)
        await holder.type(b"x")
        for viewer in (holder, fast, slow):
            await viewer.saw(b"RIGHT AFTERWARDS")
        fresh = await places.watch(room)
        fresh.keeps_screen = True
        await fresh.ready()

    for viewer in (holder, fast):
        assert not viewer.of("gap")
        assert len(viewer.of("snapshot")) == 1
    gap, snapshot = slow.of("gap")[-1], slow.of("snapshot")[-1]
    assert (gap["reason"], gap["to"]) == ("slow", snapshot["offset"])
    assert screen_of(slow) == screen_of(fresh) == "RIGHT AFTERWARDS"
    tell(capsys, f"one viewer stalled: server and worker grew by {grown} bytes")
    assert max(grown) <= 8 * 2**20


# T8


@pytest.mark.parametrize("who", ["holder", "watcher"])
async def test_t8_interrupting_yes_is_seen_at_once_by_a_slow_viewer(
    who: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """After ^C, no more comes before the prompt than the bounds on the way hold."""
    async with terminals() as places:
        room = await places.open("t")
        rate = SLOW_BYTES if who == "holder" else 0
        slow = holder = await places.watch(room, rate=rate, user="ana")
        await holder.ready()
        if who == "watcher":
            slow = await places.watch(room, rate=SLOW_BYTES, user="eve")
            await slow.ready()
        await holder.type("PS1='at-the-''prompt '; yes\r")
        enough = 4 * SLOW_BYTES
        await until(lambda: slow.parsed > enough or slow.of("gap"), 40)
        at, pressed = slow.parsed, time.monotonic()
        gaps = len(slow.of("gap"))
        await holder.type("\x03")
        await slow.saw(b"at-the-prompt")
        seconds = time.monotonic() - pressed

    behind = slow.parsed - at
    assert who == "watcher" or not slow.of("gap")
    assert behind <= WINDOW_BYTES + CREDIT_BYTES + UNSENT_BYTES + KERNEL_BYTES
    tell(
        capsys,
        f"^C, {who}: {behind} bytes and {seconds:.2f} s later the prompt was there, "
        f"which is {behind / 2e6:.2f} s at 2 MB/s; {gaps} gaps before",
    )


# T9


async def test_t9_a_paste_into_a_stuck_program_touches_no_other_terminal() -> None:
    async with terminals() as places:
        script = "stty raw -echo; printf ready; sleep 60"
        stuck = await places.watch(await places.open("stuck", "bash", "-c", script))
        other = await places.watch(await places.open("other", "cat"))
        await stuck.saw(b"ready")
        await other.ready()
        part = b"p" * 32 * 1024
        for _ in range(10):
            await stuck.type(part)
        keys = "abcdefghij" * 20
        for key in keys:
            await other.type(key)
        await other.saw(keys.encode())
        await until(lambda: stuck.of("error"), 20)
        await until(lambda: stuck.of("input-ack"), 20)

    assert {error["code"] for error in stuck.of("error")} == {"busy"}
    assert "does not read" in stuck.of("error")[0]["message"]
    taken = stuck.of("input-ack")[-1]["offset"]
    assert taken % len(part) == 0
    assert len(part) <= taken < 10 * len(part)
    # What was taken is known, so that the rest can be sent again.
    assert stuck.of("connected")[-1]["input"] == taken
    assert not other.of("error")


# Small writes


async def test_small_writes_are_merged_on_their_way() -> None:
    """300,000 lines of ``seq``, each a write of its own."""
    async with terminals() as places:
        best = 1e9
        for attempt in range(5):  # how long it takes is the machine's affair
            room = await places.open(f"t{attempt}", "bash", "-c", "read; seq 300000")
            viewer = await (await places.watch(room)).ready()
            await viewer.type("\r")
            await until(lambda: viewer.of("exited"), 40)  # noqa: B023
            await until(lambda: viewer.tail.endswith(b"300000\r\n"), 20)  # noqa: B023
            best = min(best, viewer.frames / (viewer.offset / 1e6))
            if best < 100:
                break

    assert best < 100
