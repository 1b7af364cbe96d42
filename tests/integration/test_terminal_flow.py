"""Who a terminal waits for, and what a room fetches of its worker."""

import pytest

from tests.integration.house import Peer, running
from tests.integration.scripted_worker import KEYFRAME, Worker, work
from tests.integration.test_terminal_room import PARTIES
from tests.integration.worker_rooms import until
from vibehq_nb.core.credit import CREDIT_BYTES, WINDOW_BYTES
from vibehq_server.rooms import keystrokes
from vibehq_server.rooms.terminal import TerminalRoom
from vibehq_server.rooms.uplink import GRANT_BYTES, TAIL_BYTES

FLOOD = WINDOW_BYTES + CREDIT_BYTES


def room_of(house) -> TerminalRoom:
    room = house.hub.find("terminal", "vm")
    assert isinstance(room, TerminalRoom)
    return room


async def told_credit(worker: Worker) -> int:
    """Return the last offset the worker was granted, all that is under way included."""
    offset = 0
    await worker.peer.send({"type": "no-such-message"})
    while True:
        message = await worker.peer.next()
        if message["type"] == "error":
            return offset
        if message["type"] == "ack":
            offset = message["offset"]


async def typing(house, worker: Worker, user: str = "ana", **query) -> Peer:
    """Return a viewer that acknowledges and has typed last."""
    viewer = await house.connect("terminal/vm", user, epoch="e1", offset=0, **query)
    await viewer.next()
    await viewer.send({"type": "ack", "offset": 0})
    await viewer.send(b"x")
    await worker.peer.until("input-from")
    await worker.peer.next()
    return viewer


async def flood(house, worker: Worker, size: int = FLOOD) -> bytes:
    """Let the worker print; return once the room has all of it."""
    await worker.output(b"y\n" * (size // 2))
    await until(lambda: room_of(house).position.offset == len(worker.data))
    return worker.data


async def test_the_one_who_types_gets_every_byte_and_the_worker_waits_for_it():
    async with running(PARTIES, monotonic=lambda: 0.0) as house:
        worker = await work(house)
        await worker.hello()
        holder = await typing(house, worker)
        printed = await flood(house, worker)
        held = await told_credit(worker)
        seen = await holder.read_bytes(WINDOW_BYTES)
        await holder.send({"type": "ack", "offset": len(seen)})
        await until(lambda: room_of(house).uplink._credited == len(printed))
        seen += await holder.read_bytes(len(printed) - len(seen))

        assert held <= WINDOW_BYTES + GRANT_BYTES
        assert await told_credit(worker) == len(printed)
        assert seen == printed
        assert "gap" not in {frame["type"] for frame in holder.frames}


async def test_a_room_that_stops_while_it_waits_for_somebody_looks_no_more():
    async with running(PARTIES, monotonic=lambda: 0.0) as house:
        worker = await work(house)
        await worker.hello()
        await typing(house, worker)
        await flood(house, worker)
        room = room_of(house)
        timer = room.throttle._timer
        was_running = timer is not None and not timer.cancelled()
        await room.stop()
        room.throttle.update()  # as when a connection ends later

        assert was_running
        assert timer.cancelled()
        assert room.throttle._timer is timer


async def test_a_holder_that_stands_still_for_a_second_counts_as_any_other():
    now = [0.0]
    async with running(PARTIES, monotonic=lambda: now[0]) as house:
        worker = await work(house)
        await worker.hello()
        holder = await typing(house, worker)
        printed = await flood(house, worker)
        assert await told_credit(worker) < len(printed)
        now[0] = 1.0
        await until(lambda: room_of(house).uplink._credited == len(printed))
        await flood(house, worker)  # it has not advanced since: nobody waits for it
        assert await told_credit(worker) == len(worker.data)

        await holder.read_bytes(WINDOW_BYTES)
        await holder.send({"type": "ack", "offset": WINDOW_BYTES})
        await worker.answer_keyframe()
        gap = await holder.until("gap")
        await flood(house, worker)  # it has woken up

        assert gap["reason"] == "slow"
        assert await told_credit(worker) < len(worker.data)


@pytest.mark.parametrize("offset", [0, 1, 2**53 - 1])
async def test_no_acknowledgement_leaves_the_worker_waiting(offset):
    now = [0.0]
    async with running(PARTIES, monotonic=lambda: now[0]) as house:
        worker = await work(house)
        await worker.hello()
        holder = await typing(house, worker)
        printed = await flood(house, worker)
        for _ in range(3):
            await holder.send({"type": "ack", "offset": offset})

        def is_granted() -> bool:
            now[0] += 0.01
            return room_of(house).uplink._credited == len(printed)

        await until(is_granted)


@pytest.mark.parametrize("how", ["leaves", "gives", "is taken over", "other tab"])
async def test_a_terminal_stops_waiting_for_one_who_types_no_more(how):
    async with running(PARTIES, monotonic=lambda: 0.0) as house:
        worker = await work(house)
        await worker.hello()
        holder = await typing(house, worker)
        printed = await flood(house, worker)
        assert await told_credit(worker) < len(printed)
        if how == "leaves":
            await holder.socket.close()
        elif how == "gives":
            await holder.send({"type": "writer", "action": "give"})
        else:
            user = "ana" if how == "other tab" else "bob"
            other = await house.connect("terminal/vm", user)
            await other.send({"type": "writer", "action": "take"})

        await until(lambda: room_of(house).uplink._credited == len(printed))


async def test_nobody_waits_for_those_who_only_watch():
    async with running(PARTIES, monotonic=lambda: 0.0) as house:
        worker = await work(house)
        await worker.hello()
        watcher = await house.connect("terminal/vm", "eve", epoch="e1", offset=0)
        await watcher.next()
        await watcher.send({"type": "ack", "offset": 0})
        printed = await flood(house, worker)

        assert await told_credit(worker) == len(printed)


async def restarted(house, size: int) -> tuple[Worker, int]:
    """A worker that held *size* bytes before this room was there; what it was asked."""
    worker = await work(house)
    worker.data = bytes(number % 251 for number in range(size))
    return worker, await worker.hello()


async def test_a_room_made_anew_begins_near_the_head_and_paints_at_once():
    async with running(PARTIES) as house:
        worker, since = await restarted(house, 2_000_000)
        viewer = await house.connect("terminal/vm")
        await worker.answer_keyframe()

        assert since == 2_000_000 - TAIL_BYTES
        assert (await viewer.until("snapshot"))["offset"] == 2_000_000
        assert await viewer.read_bytes(len(KEYFRAME)) == KEYFRAME


async def test_what_a_waiting_viewer_needs_is_asked_for_with_the_first_since():
    async with running(PARTIES) as house:
        viewer = await house.connect("terminal/vm", epoch="e1", offset=1_000_000)
        await viewer.next()
        worker, since = await restarted(house, 2_000_000)

        assert since == 1_000_000
        assert await viewer.read_bytes(1_000_000) == worker.data[since:]


async def test_what_a_later_viewer_needs_is_fetched_and_nobody_loses_a_byte():
    async with running(PARTIES) as house:
        worker, since = await restarted(house, 2_000_000)
        live = await house.connect("terminal/vm", epoch="e1", offset=since)
        tail = await live.read_bytes(TAIL_BYTES)
        late = await house.connect("terminal/vm", epoch="e1", offset=1_200_000)
        asked = (await worker.peer.until("since"))["offset"]
        await worker.output(b"before it turned back")
        await worker.peer.send({"type": "since", "offset": asked})
        for at in range(asked, len(worker.data), 60_000):
            await worker.peer.send(worker.data[at : at + 60_000])
        more = b" and after"
        await worker.output(more)

        assert asked <= 1_200_000
        assert (await late.until("connected"))["resume"] == "resumed"
        rest = len(worker.data) - 1_200_000
        assert await late.read_bytes(rest) == worker.data[1_200_000:]
        tail += await live.read_bytes(len(worker.data) - 2_000_000)
        assert tail == worker.data[since:]


async def test_what_the_worker_has_dropped_meanwhile_is_told_as_a_gap():
    async with running(PARTIES) as house:
        worker, _ = await restarted(house, 2_000_000)
        late = await house.connect("terminal/vm", epoch="e1", offset=500_000)
        await worker.peer.until("since")
        await worker.peer.send({"type": "since", "offset": 1_000_000})
        await worker.peer.send(worker.data[1_000_000:1_000_100])
        await worker.answer_keyframe()

        assert (await late.until("gap"))["from"] == 500_000


async def test_keys_typed_raw_before_the_worker_came_are_typed_once_it_is_there():
    async with running(PARTIES) as house:
        raw = await house.connect("terminal/vm", mode="raw")
        await raw.send("ls")
        await raw.send("\n")
        await until(lambda: [v.held_keys for v in room_of(house).viewers] == [b"ls\n"])
        worker = await work(house)
        await worker.hello()
        await worker.peer.until("input-from")

        assert await worker.peer.next() == b"ls\n"


async def test_keys_typed_raw_that_cannot_be_typed_ring_the_bell(monkeypatch):
    monkeypatch.setattr(keystrokes, "HELD_BYTES", 4)
    now = [0.0]
    async with running(PARTIES, monotonic=lambda: now[0]) as house:
        raw = await house.connect("terminal/vm", mode="raw")
        await raw.send("abcd")
        await raw.send("e")
        too_much = await raw.read_bytes(1)
        now[0] = 6.0
        worker = await work(house)
        await worker.hello()
        too_late = await raw.read_bytes(1)
        await raw.send("f")
        await worker.peer.until("input-from")

        assert (too_much, too_late) == (b"\a", b"\a")
        assert await worker.peer.next() == b"f"


async def test_a_viewer_that_fell_behind_from_the_first_byte_on_is_told_so():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        viewer = await house.connect("terminal/vm", epoch="e1", offset=0)
        await viewer.next()
        room = room_of(house)
        room.viewers.pump = lambda viewer: None  # nothing was sent to it yet
        await worker.output(b"z" * 100)
        await until(lambda: room.position.offset == 100)
        del room.viewers.pump
        room.uplink.stream.oldest = 50
        room.viewers.pump_all()
        await worker.answer_keyframe()

        assert (await viewer.until("gap"))["from"] == 0
