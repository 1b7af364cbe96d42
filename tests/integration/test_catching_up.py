"""Resume in event rooms: from a cursor in the log, at the pace of the connection."""

import asyncio
import json
from typing import ClassVar

import pytest

from tests.integration.house import running
from tests.integration.slow_peers import (
    connect_slow,
    read_on,
    shrink,
    stop_reading,
    until,
)
from vibehq_nb.core.errors import GapError
from vibehq_nb.core.messages import Emit, Event
from vibehq_server.follower import FEED_BYTES
from vibehq_server.outbox import OUTBOX_BYTES
from vibehq_server.replicated import ReplicatedRoom
from vibehq_server.room_logs.memory import MemoryRoomLog


class Counting(ReplicatedRoom):
    """Its entries are numbers; ``?only=odd`` filters them. Its links hold little."""

    entries = (Event,)
    accepts = (Emit,)
    access: ClassVar = "open"

    def load(self, state):
        self.count = state.get("count", 0)

    def state(self):
        return {"count": self.count}

    def apply(self, message, at_ms):
        self.count += 1

    def wants(self, connection, message):
        only = connection.request.query.get("only")
        return only is None or not isinstance(message, Event) or message.name == only

    async def on_connect(self, connection, request):
        if "slow" in request.query:
            shrink(connection)
        await super().on_connect(connection, request)

    async def receive(self, connection, message):
        return self.add(1)

    def add(self, count, size=0):
        """Append so many entries with *size* bytes of filler."""
        data = {"filler": "x" * size}
        for _ in range(count):
            name = "odd" if self.count % 2 == 0 else "even"
            last = self.append(Event(name=name, data=data, by="x", at="", offset=0))
        return last


@pytest.fixture(autouse=True)
def no_saved_states(monkeypatch):
    """Offsets are counted here: no internal entry may stand among them."""
    monkeypatch.setattr("vibehq_server.ledger.SAVE_EVERY", 10**9)


class Patient(Counting):
    slow_policy: ClassVar = "skip"


async def begin(house, count=0, size=0):
    """Return the room and its epoch, with *count* entries in it."""
    room = await house.hub.room("ops", "main")
    while room.count < count:
        await room.run(room.add, min(1000, count - room.count), size)
    return room, room.log.epoch


async def read_until_tick(peer, offset):
    """Return what comes up to the tick that says *offset*, decoded."""
    frames = []
    async with asyncio.timeout(20):
        while (
            not frames or frames[-1] | {"type": "tick", "offset": offset} != frames[-1]
        ):
            frames.append(json.loads(await peer.socket.recv()))
    return frames


def offsets(frames):
    return [frame["offset"] for frame in frames if frame["type"] == "event"]


async def test_a_long_resume_is_paced_whole_and_holds_up_nobody():
    async with running({"ops": Counting}) as house:
        room, epoch = await begin(house, 1500, size=2000)
        slow = await connect_slow(house, "ops/main", slow=1, epoch=epoch, offset=0)
        assert (await slow.next())["resume"] == "resumed"
        stop_reading(slow)
        connection = room.get_connection(next(iter(room.connections)).id)
        await until(lambda: connection.outbox.pending > FEED_BYTES - 4000)

        other = await house.connect("ops/main")
        await other.until("tick")
        for number in range(1501, 1701):
            await other.send({"type": "event", "name": "odd"})
            assert (await other.until("event"))["offset"] == number
            assert connection.outbox.pending <= FEED_BYTES
        read_on(slow)
        frames = await read_until_tick(slow, 1700)
        await other.send({"type": "event", "name": "odd"})

        assert offsets(frames) == list(range(1, 1701))
        assert (await slow.until("event"))["offset"] == 1701


async def test_a_tick_says_how_far_this_connection_was_served():
    async with running({"ops": Counting}) as house:
        room, epoch = await begin(house, 1000, size=2000)
        slow = await connect_slow(house, "ops/main", slow=1, epoch=epoch, offset=0)
        stop_reading(slow)
        connection = next(iter(room.connections))
        await until(lambda: connection.outbox.pending > FEED_BYTES - 4000)
        room.tick()
        read_on(slow)
        frames = await read_until_tick(slow, 1000)

        [first, _] = [n for n, frame in enumerate(frames) if frame["type"] == "tick"]
        assert 0 < frames[first]["offset"] < 1000
        assert frames[first]["offset"] == frames[first - 1]["offset"]
        assert offsets(frames) == list(range(1, 1001))


@pytest.mark.parametrize("start", [0, 3, 900])
async def test_entries_that_are_no_longer_in_memory_are_read_from_the_log(
    start, monkeypatch
):
    monkeypatch.setattr("vibehq_server.ledger.SAVE_EVERY", 500)
    log = MemoryRoomLog()
    async with running({"ops": Counting}, log) as house:
        await begin(house, 1200)
    log.reopen()
    async with running({"ops": Counting}, log) as house:
        room, epoch = await begin(house)
        assert room.log.oldest > 900
        stored = await log.read(room.key, start, 5000)
        peer = await house.connect("ops/main", epoch=epoch, offset=start)
        frames = await read_until_tick(peer, room.log.head)

        assert frames[0]["resume"] == "resumed"
        assert offsets(frames) == [e.offset for e in stored if not e.is_internal]


async def test_filters_hold_in_a_resume_and_the_tick_moves_over_what_they_drop():
    async with running({"ops": Counting}) as house:
        room, epoch = await begin(house, 700)
        peer = await house.connect("ops/main", epoch=epoch, offset=99, only="odd")
        frames = await read_until_tick(peer, 700)
        await room.run(room.add, 3)

        assert offsets(frames) == list(range(101, 701, 2))
        assert [(await peer.until("event"))["offset"] for _ in range(2)] == [701, 703]


async def test_entries_stored_while_many_resume_reach_each_exactly_once():
    async with running({"ops": Counting}) as house:
        room, epoch = await begin(house, 900)
        total = 1500

        async def grow():
            while room.count < total:
                await room.run(room.add, 1)

        growing = asyncio.create_task(grow())
        peers = []
        while not growing.done() and len(peers) < 25:
            start = 37 * len(peers)
            peer = await house.connect("ops/main", epoch=epoch, offset=start)
            peers.append((start, peer))
        for start, peer in peers:
            seen = []
            while not seen or seen[-1] < total:
                seen.append((await peer.until("event"))["offset"])

            assert seen == list(range(start + 1, total + 1))
        assert len(peers) > 3
        await growing


async def test_skip_catches_a_slow_connection_up_from_the_log():
    async with running({"ops": Patient}) as house:
        room, _ = await begin(house)
        slow = await connect_slow(house, "ops/main", slow=1)
        await slow.until("tick")
        stop_reading(slow)
        connection = next(iter(room.connections))
        for _ in range(600):
            await room.run(room.add, 1, 4000)
            assert connection.outbox.pending <= OUTBOX_BYTES
        assert room.is_busy
        read_on(slow)
        frames = await read_until_tick(slow, 600)
        await room.run(room.add, 1)

        assert offsets(frames) == list(range(1, 601))
        assert (await slow.until("event"))["offset"] == 601
        assert not room.is_busy


async def test_skip_tells_the_gap_and_the_state_where_too_much_was_missed():
    async with running({"ops": Patient}) as house:
        room, _ = await begin(house)
        slow = await connect_slow(house, "ops/main", slow=1)
        await slow.until("tick")
        stop_reading(slow)
        await begin(house, 3000, size=4000)
        read_on(slow)
        frames = await read_until_tick(slow, 3000)

        held = [f["offset"] for f in frames if f["type"] == "event"]
        assert held == list(range(1, len(held) + 1))
        gap, snapshot, tick = frames[len(held) :]
        assert (gap["from"], gap["to"], gap["reason"]) == (len(held), 3000, "slow")
        assert (snapshot["offset"], snapshot["state"]) == (3000, {"count": 3000})
        assert tick["offset"] == 3000
        assert room.get_connection(next(iter(room.connections)).id) is not None


class Trimmed(MemoryRoomLog):
    """Retention takes the oldest entries, before or during a resume."""

    oldest_read = 0

    async def read(self, room, after, limit):
        if after < self.oldest_read:
            raise GapError(after, self.oldest_read)
        return await super().read(room, after, limit)


@pytest.mark.parametrize("is_before", [True, False])
async def test_what_retention_took_is_a_gap_and_the_state(is_before, monkeypatch):
    monkeypatch.setattr("vibehq_server.ledger.SAVE_EVERY", 500)
    log = Trimmed()
    async with running({"ops": Counting}, log) as house:
        await begin(house, 1200)
    log.reopen()
    async with running({"ops": Counting}, log) as house:
        room, epoch = await begin(house)
        if is_before:
            log.oldest_read = 500
        else:  # after the resume was answered, and one page sent
            whole = log.read

            async def read(room, after, limit):
                if limit > 1:
                    log.oldest_read = 500
                return await whole(room, after, limit)

            log.read = read
        peer = await house.connect("ops/main", epoch=epoch, offset=9)
        frames = await read_until_tick(peer, room.log.head)

        kinds = [frame["type"] for frame in frames]
        assert kinds == ["connected", "gap", "snapshot", "tick"]
        assert frames[0]["resume"] == ("snapshot" if is_before else "resumed")
        assert (frames[1]["from"], frames[1]["reason"]) == (9, "trimmed")


async def test_a_log_that_cannot_be_read_closes_the_follower_and_no_other():
    log = MemoryRoomLog()
    async with running({"ops": Counting}, log) as house:
        room, epoch = await begin(house, 10_500)
        assert room.log.oldest > 0
        other = await house.connect("ops/main")
        await other.until("tick")
        whole = log.read

        async def read(room, after, limit):
            if limit > 1:
                raise OSError("input/output error")
            return await whole(room, after, limit)

        log.read = read
        peer = await house.connect("ops/main", epoch=epoch, offset=0)

        assert await peer.close_code() == 1011
        await room.run(room.add, 1)
        assert (await other.until("event"))["offset"] == 10_501
        await until(lambda: len(room.connections) == 1)
        assert not room.is_busy


def test_a_replicated_room_cannot_keep_the_latest_alone():
    with pytest.raises(TypeError, match="close or skip"):

        class Wrong(Counting):
            slow_policy: ClassVar = "latest"
