"""Who types, whose size counts, and what the log beside a terminal says of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from tests.integration.house import House, running
from tests.integration.scripted_worker import Worker, work
from vibehq_nb.core.lease import LEASE_SECONDS
from vibehq_nb.core.messages import Sized, Wrote
from vibehq_server.room_logs.pages import read_page
from vibehq_server.room_logs.sqlite import SqliteRoomLog
from vibehq_server.rooms.notes import MAX_NOTES
from vibehq_server.rooms.terminal import TerminalRoom
from vibehq_server.rooms.terminal_log import TerminalLogRoom, log_key

PARTIES = {"terminal": TerminalRoom, "terminal-log": TerminalLogRoom}
EVERYTHING = {"epoch": "e1", "offset": 0}


async def log_of(
    house: House, enough: Callable[[list[dict[str, Any]]], bool]
) -> list[dict[str, Any]]:
    """Return the stored entries once they are *enough*."""
    async with asyncio.timeout(10):
        while True:
            page = await read_page(house.hub.log, log_key("vm"), 0, 2000)
            entries = [msgspec.json.decode(one["body"]) for one in page["entries"]]
            if enough(entries):
                return entries
            await asyncio.sleep(0.02)


def of(kind: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in entries if one["type"] == kind]


async def take(worker: Worker, counts: dict[str, int]) -> bytes:
    """Take the next keys as a worker does."""
    announced = await worker.peer.until("input-from")
    keys = await worker.peer.next()
    assert isinstance(keys, bytes)
    session = announced["session"]
    counts[session] = announced["offset"] + len(keys)
    await worker.peer.send(
        {"type": "input-ack", "session": session, "offset": counts[session]}
    )
    return keys


async def test_t12_two_writers_are_told_apart_in_the_log_and_no_key_is_in_it():
    async with running(PARTIES) as house:
        worker, counts = await work(house), {}
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", **EVERYTHING)
        bob = await house.connect("terminal/vm", "bob", **EVERYTHING)
        await ana.send(b"s3cret")
        await take(worker, counts)
        await bob.send({"type": "writer", "action": "take"})
        while (await bob.until("writer"))["user"] != "bob":
            pass
        await bob.send(b"ls")
        await take(worker, counts)

        entries = await log_of(house, lambda found: len(of("wrote", found)) == 2)

        wrote = [(one["user"], one["bytes"]) for one in of("wrote", entries)]
        assert wrote == [("ana", 6), ("bob", 2)]
        changes = [
            (one["user"], one["lost"], one["how"])
            for one in of("writer-changed", entries)
        ]
        assert changes == [("ana", None, "typed"), ("bob", "ana", "taken")]
        assert "s3cret" not in str(entries)


async def test_keys_that_were_refused_are_attributed_to_nobody():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", **EVERYTHING)
        await ana.send(b"lost")
        asked = await worker.peer.until("input-from")
        await worker.peer.send(
            {
                "type": "input-ack",
                "session": asked["session"],
                "offset": 0,
                "number": asked["number"],
                "refused": "busy",
            }
        )
        assert (await ana.until("error"))["code"] == "busy"
        await ana.send({"type": "writer", "action": "give"})

        entries = await log_of(house, lambda e: len(of("writer-changed", e)) == 2)
        assert of("wrote", entries) == []


async def test_keys_taken_while_the_link_was_lost_are_attributed_at_the_next_hello():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", **EVERYTHING)
        await ana.send(b"abc")
        session = (await worker.peer.until("input-from"))["session"]
        await worker.peer.next()
        await worker.peer.socket.close()  # taken, but the answer never came
        again = await work(house)
        await again.hello(inputs={session: 3})

        entries = await log_of(house, lambda found: bool(of("wrote", found)))
        assert [(e["user"], e["bytes"], e["total"]) for e in of("wrote", entries)] == [
            ("ana", 3, 3)
        ]


async def test_keys_are_of_the_life_of_the_terminal_they_were_typed_into():
    async with running(PARTIES) as house:
        worker, counts = await work(house), {}
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", **EVERYTHING)
        await ana.send(b"abc")
        await take(worker, counts)
        await ana.until("input-ack")
        again = await work(house)
        await again.hello(epoch="e2")

        entries = await log_of(house, lambda found: bool(of("wrote", found)))
        assert [(e["epoch"], e["bytes"]) for e in of("wrote", entries)] == [("e1", 3)]


async def test_a_late_word_on_the_life_before_does_not_forget_who_typed():
    async with running(PARTIES) as house:
        room: Any = await house.hub.room(*log_key("vm"))
        about = {"offset": 0, "at_byte": 0}
        wrote = Wrote(epoch="e2", user="ana", bytes=1, session="s", total=1, **about)
        late = Sized(epoch="e1", cols=80, rows=24, **about)
        await room.run(room.note_all, [wrote, late])

        state = await room.run(room.state)
        assert (state["epoch"], state["typed"]) == ("e2", [["s", "ana", 1]])


async def test_a_screen_counts_on_when_the_connection_before_it_closes_late():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        first = await house.connect("terminal/vm", "ana", **EVERYTHING)
        await first.send({"type": "resize", "cols": 90, "rows": 20})
        assert (await worker.peer.until("resize"))["cols"] == 90
        (room,) = (one for one in house.hub.live("terminal") if one.name == "vm")
        assert isinstance(room, TerminalRoom)
        old, before = next(iter(room.viewers)), room.keyboard.sizes
        second = await house.connect("terminal/vm", "ana", **EVERYTHING)
        await second.send({"type": "resize", "cols": 100, "rows": 30})
        assert (await worker.peer.until("resize"))["cols"] == 100
        new = next(one for one in room.viewers if one is not old)
        new.session = old.session  # as of one tab that came back
        before.forget(old)

        assert before._sizing.wanted("ana") == (100, 30)


async def test_keys_taken_while_the_server_was_away_are_attributed_once(tmp_path):
    async with running(PARTIES, SqliteRoomLog(tmp_path / "rooms")) as house:
        worker, counts = await work(house), {}
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", **EVERYTHING)
        await ana.send(b"abc")
        await take(worker, counts)
        await log_of(house, lambda found: bool(of("wrote", found)))
    async with running(PARTIES, SqliteRoomLog(tmp_path / "rooms")) as house:
        worker = await work(house)
        await worker.hello(
            inputs={session: total + 2 for session, total in counts.items()}
        )

        entries = await log_of(house, lambda found: len(of("wrote", found)) == 2)
        assert [(e["user"], e["bytes"], e["total"]) for e in of("wrote", entries)] == [
            ("ana", 3, 3),
            ("ana", 2, 5),
        ]


async def test_t10_the_lease_is_given_to_somebody_who_is_here_and_to_nobody_else():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", **EVERYTHING)
        await house.connect("terminal/vm", "bob", **EVERYTHING)
        await house.connect("terminal/vm", "eve", "viewer", **EVERYTHING)
        await ana.send({"type": "writer", "action": "take"})
        await ana.until("writer")
        for stranger in ("eve", "zoe"):
            await ana.send({"type": "writer", "action": "give", "to": stranger})
            assert (await ana.until("error"))["code"] == "not-here"
        await ana.send({"type": "writer", "action": "give", "to": "bob"})

        assert (await ana.until("writer"))["user"] == "bob"


async def test_t10_the_lease_expires_and_goes_with_its_holder():
    clock = [1000.0]
    async with running(PARTIES, clock=lambda: clock[0]) as house:
        worker = await work(house)
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", **EVERYTHING)
        bob = await house.connect("terminal/vm", "bob", **EVERYTHING)
        await ana.send(b"a")
        assert (await bob.until("writer"))["user"] == "ana"
        clock[0] += LEASE_SECONDS
        await bob.send(b"b")  # free by now: typing takes it
        told = [await bob.until("writer") for _ in range(2)]
        assert [one["user"] for one in told] == [None, "bob"]
        await bob.socket.close()
        while (await ana.until("writer"))["user"] is not None:
            pass

        entries = await log_of(house, lambda e: len(of("writer-changed", e)) == 4)
        assert [one["how"] for one in of("writer-changed", entries)] == [
            "typed",
            "expired",
            "typed",
            "left",
        ]


async def test_t5_answers_of_terminals_take_no_lease_and_reach_no_shell():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        raw = await house.connect("terminal/vm", "ana", mode="raw")
        await worker.answer_keyframe()
        await raw.next()
        bob = await house.connect("terminal/vm", "bob", **EVERYTHING)
        await bob.until("connected")
        await raw.send(b"\x1b[1;1R")
        await bob.send(b"\x1b[?1;2c")
        assert (await bob.until("error"))["code"] == "not-writer"
        await bob.send(b"q")
        asked = await worker.peer.until("input-from")

        assert await worker.peer.next() == b"q"  # the first that came
        assert asked["offset"] == 0
        await bob.send(b"\x1b[?1;2c")
        await worker.peer.until("input-from")
        assert await worker.peer.next() == b"\x1b[?1;2c"  # the holder's passes


async def sizes(worker: Worker, count: int) -> list[tuple[int, int]]:
    found = []
    for _ in range(count):
        asked = await worker.peer.until("resize")
        found.append((asked["cols"], asked["rows"]))
        await worker.peer.send(
            {
                "type": "resized",
                "cols": asked["cols"],
                "rows": asked["rows"],
                "offset": len(worker.data),
            }
        )
    return found


def size(cols: int, rows: int, **more: Any) -> dict[str, Any]:
    return {"type": "resize", "cols": cols, "rows": rows, **more}


async def test_t13_the_writers_screen_decides_and_changes_with_the_writer():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", _pk="a", **EVERYTHING)
        bob = await house.connect("terminal/vm", "bob", _pk="b", **EVERYTHING)
        await ana.send({"type": "writer", "action": "take"})
        await ana.until("writer")
        await ana.send(size(100, 30))
        assert await sizes(worker, 1) == [(100, 30)]
        await bob.send(size(60, 20))  # counts once bob types
        await bob.send({"type": "writer", "action": "take"})
        assert await sizes(worker, 1) == [(60, 20)]

        entries = await log_of(house, lambda found: len(of("sized", found)) == 2)
        assert [(e["cols"], e["rows"]) for e in of("sized", entries)] == [
            (100, 30),
            (60, 20),
        ]


async def test_t13_smallest_counts_operators_who_look_and_nobody_else():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", _pk="a", **EVERYTHING)
        bob = await house.connect("terminal/vm", "bob", _pk="b", **EVERYTHING)
        eve = await house.connect("terminal/vm", "eve", "viewer", **EVERYTHING)
        await ana.send({"type": "size-policy", "policy": "smallest"})
        assert (await eve.until("size-policy"))["policy"] == "smallest"
        await eve.send(size(10, 5))
        assert (await eve.until("error"))["code"] == "forbidden"
        await ana.send(size(100, 30))
        assert await sizes(worker, 1) == [(100, 30)]
        await bob.send(size(60, 40))
        assert await sizes(worker, 1) == [(60, 30)]
        await bob.send(size(60, 40, hidden=True))
        assert await sizes(worker, 1) == [(100, 30)]
        await bob.send(size(50, 20))
        assert await sizes(worker, 1) == [(50, 20)]
        await bob.socket.close()
        assert await sizes(worker, 1) == [(100, 30)]


async def test_t13_a_fixed_size_stays_and_is_known_after_a_restart(tmp_path):
    async with running(PARTIES, SqliteRoomLog(tmp_path / "rooms")) as house:
        worker = await work(house)
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", **EVERYTHING)
        fixed = {"type": "size-policy", "policy": "fixed", "cols": 132, "rows": 43}
        await ana.send(fixed)
        assert await sizes(worker, 1) == [(132, 43)]
        await ana.send(size(20, 10))
        await log_of(house, lambda found: bool(of("size-policy-changed", found)))
    async with running(PARTIES, SqliteRoomLog(tmp_path / "rooms")) as house:
        worker = await work(house)
        await worker.hello(cols=132, rows=43)
        late = await house.connect("terminal/vm", "bob", **EVERYTHING)

        assert (await late.until("connected"))["size_policy"] == "fixed"


async def test_b60_a_burst_of_sizes_is_passed_on_as_its_first_and_its_last():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", **EVERYTHING)
        for cols in range(100, 200):
            await ana.send(size(cols, 30))
        asked = [(await worker.peer.until("resize"))["cols"] for _ in range(2)]
        while asked[-1] != 199:
            asked.append((await worker.peer.until("resize"))["cols"])

        assert asked[0] == 100
        assert len(asked) < 12  # a hundred on a machine that stands still for a second


async def test_more_entries_than_may_wait_are_counted_and_told():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        room: Any = await house.hub.room("terminal", "vm")
        for cols in range(1500):  # in one turn: nothing is written meanwhile
            room.notes.sized(1 + cols % 500, 24)

        def lost(found: list[dict[str, Any]]) -> int:
            return sum(one["count"] for one in of("notes-lost", found))

        entries = await log_of(house, lambda e: len(of("sized", e)) + lost(e) >= 1500)
        assert lost(entries) == 1500 - MAX_NOTES
        assert len(of("sized", entries)) == MAX_NOTES


async def test_a_key_that_crosses_a_new_count_is_typed_once_and_in_its_place():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", **EVERYTHING)
        await ana.send({"type": "input-at", "offset": 0})
        await ana.send(b"lost ")
        session = (await worker.peer.until("input-from"))["session"]
        await worker.peer.next()
        await worker.peer.socket.close()
        await ana.until("container-disconnected")
        again = await work(house)
        await again.hello(inputs={session: 0})
        # On its way before the new count has come, as on a slow line.
        await ana.send(b"crossing ")
        await ana.until("container-connected")
        counted = (await ana.until("connected"))["input"]
        await ana.send({"type": "input-at", "offset": counted})
        await ana.send(b"lost crossing ")
        asked = await again.peer.until("input-from")

        assert (counted, asked["offset"]) == (0, 0)
        assert await again.peer.next() == b"lost crossing "
        await again.peer.send(
            {"type": "input-ack", "session": session, "offset": 14, "number": 1}
        )
        assert (await ana.until("input-ack"))["offset"] == 14
