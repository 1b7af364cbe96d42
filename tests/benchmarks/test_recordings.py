"""
What recording costs a terminal: `cat` of 16 MiB with a recording and without one.

On a shared machine, the CPU that server and worker use tells more than the time.

Prints one line of JSON; nothing is asserted of a time. The two are run in turns, and
what is told is the median.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

import psutil
import pytest

from vibehq_nb.client.hq import connect
from vibehq_nb.client.terminal import Terminal
from vibehq_nb.testing import ThrowAwayServer

ROUNDS = int(os.environ.get("VIBEHQ_BENCHMARK_ROUNDS", "5"))
BIG_BYTES = 16 * 1024 * 1024

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def seconds_of(
    term: Terminal, command: str, server: ThrowAwayServer
) -> tuple[float, float]:
    """Return the seconds *command* takes, and those of CPU of server and worker."""
    programs = [psutil.Process(process.pid) for process in server._processes]
    used, begun = sum(map(cpu_of, programs)), time.perf_counter()
    term.run(command)
    return time.perf_counter() - begun, sum(map(cpu_of, programs)) - used


def cpu_of(program: psutil.Process) -> float:
    times = program.cpu_times()
    return times.user + times.system


def test_recording_a_flood_costs_little(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "2026-11-22T03:00:00Z web-1 nginx: GET /api/items/%08d 200 17 ms\n"
    text = "".join(line % number for number in range(BIG_BYTES // 60))
    big = tmp_path / "big"
    big.write_text(text[:BIG_BYTES])
    plain, recorded = [], []
    with ThrowAwayServer() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        term = connect().terminal()
        seconds_of(term, f"cat {big}", server)
        for _ in range(ROUNDS):
            plain.append(seconds_of(term, f"cat {big}", server))
            with term.record() as recording:
                recorded.append(seconds_of(term, f"cat {big}", server))
            assert recording.describe()["bytes"] >= BIG_BYTES
            assert recording.describe()["gaps"] == []
        term.close()
    (before, cpu), (after, more) = (
        [statistics.median(one) for one in zip(*found, strict=True)]
        for found in (plain, recorded)
    )
    figure = {
        "figure": "recording",
        "mb_per_s": round(BIG_BYTES / before / 1e6, 2),
        "recorded_mb_per_s": round(BIG_BYTES / after / 1e6, 2),
        "slower_percent": round(100 * (after / before - 1), 1),
        "cpu_ms_per_mb": round(1e9 * cpu / BIG_BYTES, 1),
        "recorded_cpu_ms_per_mb": round(1e9 * more / BIG_BYTES, 1),
        "rounds": ROUNDS,
    }
    with capsys.disabled():
        sys.stdout.write(json.dumps(figure) + "\n")
