"""
What a terminal costs through worker and room, beside terminado, Jupyter's and ttyd.

Prints one line of JSON per figure. Nothing is asserted of a time: the machine is
shared, and only figures of one run may be compared. All are run in turns, and what is
told is the median.
"""

import asyncio
import json
import os
import pty
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.fan_out import Program
from tests.benchmarks.terminal_peers import (
    Attached,
    Kind,
    all_kinds,
    has_ttyd,
    ours,
    terminado,
)

ROUNDS = int(os.environ.get("VIBEHQ_BENCHMARK_ROUNDS", "5"))
LINES = "seq 1000000"
CAT = "cat big"
BIG_BYTES = 16 * 1024 * 1024
KEYS = 300


def tell(capsys: pytest.CaptureFixture[str], **figure: object) -> None:
    if not has_ttyd():
        figure["note"] = "ttyd is not to be had here"
    with capsys.disabled():
        sys.stdout.write(json.dumps(figure) + "\n")


def median(values: list[float], digits: int = 2) -> float:
    return round(statistics.median(values), digits)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file of log lines, 16 MiB."""
    line = "2026-11-22T03:00:00Z web-1 nginx: GET /api/items/%08d 200 17 ms\n"
    text = "".join(line % number for number in range(BIG_BYTES // 60))
    path = tmp_path / "big"
    path.write_text(text[:BIG_BYTES])
    return path


def raw_seconds(command: str) -> float:
    """Return how long *command* takes on a PTY that is only read."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "-c", f"{command}; echo end-of-it"])
    began, tail = time.perf_counter(), b""
    while b"end-of-it" not in tail:
        tail = tail[-16:] + os.read(master, 65536)
    seconds = time.perf_counter() - began
    os.close(master)
    os.waitpid(pid, 0)
    return seconds


@asynccontextmanager
async def terminal(
    kind: Kind, name: str = "t", acks: bool = True
) -> AsyncIterator[Attached]:
    """Open a terminal and attach to it; ready when its prompt is there."""
    await asyncio.to_thread(kind.open, name)
    async with kind.attach(name) as attached:
        attached.is_acking = acks and kind.name == "ours"
        await attached.ready()
        await attached.run(":")
        yield attached


async def test_t19_p1_output_against_the_raw_pty(
    tmp_path: Path, big: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    with all_kinds(tmp_path) as kinds:
        for _ in range(ROUNDS):
            for command in (LINES, f"cat {big}"):
                word = command.split()[0]
                took["raw", word].append(await asyncio.to_thread(raw_seconds, command))
                for name, kind in kinds.items():
                    async with terminal(kind) as attached:
                        began = time.perf_counter()
                        await attached.run(command)
                        took[name, word].append(time.perf_counter() - began)
                        await attached.send("exit\r")
    for (name, word), seconds in took.items():
        if name != "raw":
            ratios = [r / s for r, s in zip(took["raw", word], seconds, strict=True)]
            target = {"seq": ">= 0.9", "cat": ">= 0.5"}[word]
            shown = {"peer": name, "ratio": median(ratios), "target": target}
            figure = f"P1 {'lines' if word == 'seq' else word}, against the raw PTY"
            tell(capsys, figure=figure, **shown)


TARGETS = {
    (1, False): 9, (10, False): 1.5, (100, False): 0.6,
    (1, True): 18, (10, True): 3, (100, True): 0.8,
}  # fmt: skip


@contextmanager
def crowd(kind: Kind, name: str, count: int) -> Iterator[Program | None]:
    """Let *count* viewers watch, in a process of their own."""
    if not count:
        yield None
        return
    url = kind.url(name)
    module, headers = (
        "tests.benchmarks.terminal_readers",
        json.dumps(dict(kind.headers)),
    )
    program = Program(module, url, headers, str(count))
    try:
        yield program
    finally:
        program.end()


async def cost(kind: Kind, viewers: int, command: str, size: int) -> float:
    """Return CPU milliseconds per delivered MB, for *viewers* of one terminal."""
    async with terminal(kind, f"v{time.monotonic_ns()}") as attached:
        name = [*_names(kind)][-1]
        with crowd(kind, name, viewers - 1) as watching:
            await asyncio.sleep(0.3)  # what joining costs is not counted
            before = attached.received
            if watching is not None:
                watching.tell(until="end-of-2.")
            began = kind.cpu_seconds()
            await attached.run(command)
            delivered = attached.received - before
            if watching is not None:
                answer = await asyncio.to_thread(watching.answer)
                delivered += answer["received"]
            spent = kind.cpu_seconds() - began
            if kind.name != "ours":
                delivered = size * viewers  # JSON makes more of them
        await attached.send("exit\r")
    return 1e9 * spent / delivered


def _names(kind: Kind) -> list[str]:
    return kind.opened


async def test_t19_p2_cpu_per_delivered_mb(
    tmp_path: Path, big: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[tuple[str, int, bool], list[float]] = defaultdict(list)
    with (
        ours(has_screen=False) as without,
        ours(has_screen=True) as with_screen,
        terminado(tmp_path) as peer,
    ):
        for _ in range(max(ROUNDS // 2, 1)):
            for viewers in (1, 10, 100):
                for kind, screen in (
                    (without, False),
                    (with_screen, True),
                    (peer, True),
                ):
                    spent = await cost(kind, viewers, f"cat {big}", BIG_BYTES)
                    found[kind.name, viewers, screen].append(spent)
    for (name, viewers, screen), spent in found.items():
        shown = {"peer": name, "viewers": viewers, "value": median(spent)}
        if name == "ours":
            shown |= {"screen": screen, "target": f"<= {TARGETS[viewers, screen]}"}
        tell(capsys, figure="P2 CPU ms per delivered MB", **shown)


async def echoes(attached: Attached) -> list[float]:
    """Return milliseconds from a key to its echo, one per key."""
    await attached.send("stty -icanon; echo rea''dy; cat > /dev/null\r")
    await attached.until(b"ready")
    times = []
    for number in range(KEYS):
        key = "abcdefghij"[number % 10]
        began = time.perf_counter()
        await attached.send(key)
        await attached.until(key.encode())
        times.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(0.01)  # nobody types faster
    await attached.send("\x03")
    return times


async def test_t19_p3_keystroke_echo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with all_kinds(tmp_path) as kinds:
        for _ in range(max(ROUNDS // 2, 1)):
            for name, kind in kinds.items():
                async with terminal(kind, "keys") as attached:
                    found[name, "idle"] += await echoes(attached)
                    async with terminal(kind, "flood") as other:
                        await other.send("while :; do seq 100000; done\r")
                        reading = asyncio.create_task(drain(other))
                        found[name, "while another floods"] += await echoes(attached)
                        reading.cancel()
                        await other.send("\x03")
                        await other.send("exit\r")
                    await attached.send("exit\r")
    for (name, when), times in found.items():
        times.sort()
        p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
        shown: dict[str, Any] = {"p50": round(p50, 2), "p99": round(p99, 2)}
        target = "p50 <= 0.6" if when == "idle" else "p50 <= 0.9"
        figure = f"P3 echo, {when}, ms"
        tell(capsys, figure=figure, peer=name, **shown, target=f"{target}, p99 <= 5")


async def drain(attached: Attached) -> None:
    while True:
        await attached.receive()
