"""
What a message to many costs, beside stock Tornado, ``websockets`` and bare sockets.

Prints one line of JSON per figure. Nothing is asserted of a time: the machine is
shared, and only figures of one run may be compared. CPU is the server process's.
"""

import json
import statistics
import sys

import pytest

from tests.benchmarks.fan_out import fan_out

PEERS = ("ours", "tornado", "websockets", "floor")
DELIVERIES = 50_000
REPEATS = 3


def tell(capsys: pytest.CaptureFixture[str], **figure: object) -> None:
    with capsys.disabled():
        sys.stdout.write(json.dumps(figure) + "\n")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [100, 1000])
@pytest.mark.parametrize("per_turn", [1, 16])
def test_cpu_of_a_delivery(
    count: int, per_turn: int, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = per_turn * max(DELIVERIES // count // per_turn, 10)
    for peer in PEERS:
        costs = []
        with fan_out(peer) as running:
            running.connect(count)
            running.run(messages=per_turn, size=256, per_turn=per_turn)
            for _ in range(REPEATS):
                cost, got = running.run(messages, 256, per_turn=per_turn)
                assert got["seen"] == messages * count
                costs.append(cost["us"])
        figure = f"P8 CPU of a delivery of 256 B, us, {per_turn} a turn"
        value = round(statistics.median(costs), 2)
        tell(capsys, figure=figure, peer=peer, connections=count, value=value)


@pytest.mark.timeout(120)
def test_memory_of_an_idle_connection(capsys: pytest.CaptureFixture[str]) -> None:
    count = 2000
    for peer in ("ours", "tornado"):
        with fan_out(peer) as running:
            running.connect(20)
            running.run(1, 256, per_turn=1)
            before = running.server.rss
            first = running.readers
            running.connect(count)
            running.server.tell()
            assert running.server.answer()["members"] == count + 20
            value = round((running.server.rss - before) / 1024 / count, 1)
            assert first is not None
            first.end()
        tell(capsys, figure="P9 KiB of an idle connection", peer=peer, value=value)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("stalled", [0, 1])
def test_the_others_while_one_is_stalled(
    stalled: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with fan_out("skip") as running:
        running.connect(100, stalled)
        running.run(10, 16_000, per_turn=1, pause=0.02)
        _, got = running.run(400, 16_000, per_turn=1, pause=0.02)
    delays = got["delays"]
    p50, p99 = statistics.median(delays), delays[int(len(delays) * 0.99)]
    tell(
        capsys,
        figure="P6 delay of the others, ms",
        stalled=stalled,
        p50=round(p50, 2),
        p99=round(p99, 2),
    )
    assert got["seen"] == 400 * (100 - stalled)
