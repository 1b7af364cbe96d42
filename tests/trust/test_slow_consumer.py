"""One of a hundred stops reading: the others lose nothing, and the server no memory."""

import time

import pytest

from tests.benchmarks.fan_out import fan_out
from vibehq_server.outbox import OUTBOX_BYTES

COUNT = 100
MESSAGES = 500
SIZE = 16_000
MOST_GROWTH = 8 * 1024 * 1024
CLOSE_SECONDS = 5


@pytest.mark.timeout(90)
@pytest.mark.parametrize("policy", ["close", "skip"])
def test_one_of_a_hundred_that_stops_reading_costs_nobody_anything(policy: str) -> None:
    with fan_out(policy) as running:
        running.connect(COUNT, stalled=1)
        running.run(20, SIZE, per_turn=1, pause=0.001)
        before, began = running.server.rss, time.monotonic()

        sent, got = running.run(MESSAGES, SIZE, per_turn=1, pause=0.001)

        assert got["seen"] == MESSAGES * (COUNT - 1)
        assert OUTBOX_BYTES - SIZE < sent["longest"] <= OUTBOX_BYTES
        assert running.server.rss - before < MOST_GROWTH
        if policy == "skip":
            assert sent["members"] == COUNT
            return
        while sent["members"] == COUNT:  # its socket is dropped in bounded time
            assert time.monotonic() - began < CLOSE_SECONDS + 20
            time.sleep(0.05)
            running.server.tell()
            sent = running.server.answer()
        assert sent["members"] == COUNT - 1
