"""A connection that does not read: each policy, its bound, and what comes after."""

import asyncio
from typing import ClassVar

from tests.integration.house import running
from tests.integration.slow_peers import (
    connect_slow,
    read_on,
    shrink,
    stop_reading,
    until,
)
from vibehq_server.outbox import OUTBOX_BYTES
from vibehq_server.room import Room

PAD = "x" * 8000


class Feed(Room):
    """Sends what the test tells it; its links hold little."""

    access: ClassVar = "open"

    async def on_connect(self, connection, request):
        shrink(connection)
        connection.send("hello")


class Skipping(Feed):
    slow_policy: ClassVar = "skip"

    async def on_skipped(self, connection, count):
        connection.send(f"snapshot after {count}")


class Latest(Feed):
    slow_policy: ClassVar = "latest"


class Stalled:
    """A room with one stalled and one attentive peer, and what each was sent."""

    def __init__(self, house, room, slow, fast):
        self.room, self.slow, self.fast = room, slow, fast
        self.outbox = next(iter(room.connections)).outbox
        self.sent = 0

    @classmethod
    async def begin(cls, house):
        slow = await connect_slow(house, "feed/main")
        fast = await house.connect("feed/main")
        assert await slow.socket.recv() == await fast.socket.recv() == "hello"
        stop_reading(slow)
        return cls(house, await house.hub.room("feed", "main"), slow, fast)

    async def tell(self, count):
        """Broadcast so many numbers; the other peer reads each, whatever happens."""
        for _ in range(count):
            self.room.broadcast(f"{self.sent} {PAD}")
            assert self.outbox.pending <= OUTBOX_BYTES
            async with asyncio.timeout(5):
                text = await self.fast.socket.recv()
            assert text.split()[0] == str(self.sent)
            self.sent += 1

    async def numbers(self):
        """Read the slow peer's numbers, until something else comes; return both."""
        numbers = []
        async with asyncio.timeout(10):
            while (text := await self.slow.socket.recv()).endswith(PAD):
                numbers.append(int(text.split()[0]))
        return numbers, text


async def test_close_lets_it_read_what_was_written_and_says_4408():
    async with running({"feed": Feed}) as house:
        stalled = await Stalled.begin(house)
        await stalled.tell(200)
        read_on(stalled.slow)

        assert await stalled.slow.close_code() == 4408
        assert len(stalled.room.connections) == 1


async def test_close_frees_the_queue_of_a_peer_that_never_reads_again_in_seconds():
    async with running({"feed": Feed}) as house:
        stalled = await Stalled.begin(house)
        await stalled.tell(200)
        assert stalled.outbox.pending < 150_000  # what waited is dropped at once

        await until(lambda: len(stalled.room.connections) == 1, seconds=8)

        assert stalled.outbox.pending == 0
        stalled.slow.socket.transport.abort()


async def test_skip_leaves_one_hole_and_tells_the_room_how_long_it_is():
    async with running({"feed": Skipping}) as house:
        stalled = await Stalled.begin(house)
        await stalled.tell(200)
        assert stalled.outbox.skipped > 0
        read_on(stalled.slow)

        numbers, snapshot = await stalled.numbers()
        await stalled.tell(3)
        later = [(await stalled.slow.socket.recv()).split()[0] for _ in range(3)]

        assert numbers == list(range(len(numbers)))
        assert snapshot == f"snapshot after {200 - len(numbers)}"
        assert later == ["200", "201", "202"]


async def test_latest_keeps_the_newest_alone():
    async with running({"feed": Latest}) as house:
        stalled = await Stalled.begin(house)
        await stalled.tell(200)
        held = stalled.outbox.pending
        read_on(stalled.slow)
        await until(lambda: stalled.outbox.pending == 0)
        stalled.room.broadcast("end")

        numbers, _ = await stalled.numbers()

        assert held < 150_000
        assert numbers[:-1] == list(range(len(numbers) - 1))
        assert len(numbers) < 150
        assert numbers[-1] == 199


async def test_a_peer_that_falls_behind_again_and_again_is_served_each_time():
    async with running({"feed": Skipping}) as house:
        stalled = await Stalled.begin(house)
        for _ in range(3):
            await stalled.tell(150)
            read_on(stalled.slow)
            numbers, snapshot = await stalled.numbers()
            stop_reading(stalled.slow)

            assert numbers == list(range(numbers[0], numbers[-1] + 1))
            missed = stalled.sent - 1 - numbers[-1]
            assert snapshot == f"snapshot after {missed}"
        read_on(stalled.slow)
