"""The terminal room against a scripted worker, over real sockets."""

import asyncio

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.house import running
from tests.integration.scripted_worker import KEYFRAME, work
from tests.integration.worker_rooms import until
from vibehq_nb.core.stream import RING_BYTES
from vibehq_server.rooms.lobby import LobbyRoom
from vibehq_server.rooms.terminal import TerminalRoom
from vibehq_server.rooms.viewer import WINDOW_BYTES

PARTIES = {"terminal": TerminalRoom, "lobby": LobbyRoom}


async def test_the_worker_is_told_how_many_watch_as_it_changes():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        ana = await house.connect("terminal/vm", epoch="e1", offset=0)
        one = await worker.peer.until("watched")
        await house.connect("terminal/vm", epoch="e1", offset=0, mode="raw")
        two = await worker.peer.until("watched")
        await ana.socket.close()
        again = await worker.peer.until("watched")
        await worker.peer.socket.close()
        other = await work(house)
        await other.hello()

        counts = [one, two, again, await other.peer.until("watched")]
        assert [one["count"] for one in counts] == [1, 2, 1, 1]


async def test_a_late_joiner_gets_a_keyframe_and_then_the_bytes_after_it():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        await worker.output(b"before ")
        viewer = await house.connect("terminal/vm")
        await worker.answer_keyframe()
        await worker.output(b"after")

        connected, snapshot = await viewer.next(), await viewer.next()
        shown = await viewer.read_bytes(len(KEYFRAME) + 5)

        assert (connected["type"], connected["resume"]) == ("connected", "fresh")
        assert (connected["offset"], connected["input"]) == (7, 0)
        assert (snapshot["type"], snapshot["offset"]) == ("snapshot", 7)
        assert shown == KEYFRAME + b"after"


async def test_a_resume_gets_exactly_the_bytes_after_its_position():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        await worker.output(bytes(range(256)) * 20_000)
        room = await house.hub.room("terminal", "vm")
        async with asyncio.timeout(10):
            while room.uplink.stream.head < len(worker.data):
                await asyncio.sleep(0.01)

        viewer = await house.connect("terminal/vm", epoch="e1", offset=1000)
        connected = await viewer.next()
        missed = await viewer.read_bytes(len(worker.data) - 1000)

        assert connected["resume"] == "resumed"
        assert missed == worker.data[1000:]


async def test_a_position_that_is_no_longer_kept_is_told_as_a_gap():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        await worker.output(b"x" * (RING_BYTES + 100_000))
        while (await worker.peer.until("ack"))["offset"] <= RING_BYTES + 5:
            pass
        viewer = await house.connect("terminal/vm", epoch="e1", offset=5)
        await worker.answer_keyframe()

        connected, gap = await viewer.next(), await viewer.next()

        assert (connected["resume"], connected["reason"]) == ("snapshot", "trimmed")
        assert (gap["type"], gap["from"], gap["reason"]) == ("gap", 5, "trimmed")
        assert gap["to"] == (await viewer.next())["offset"] == len(worker.data)


async def test_another_life_of_the_shell_resets_the_viewer():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        viewer = await house.connect("terminal/vm", epoch="e0", offset=5)

        connected = await viewer.next()

        assert (connected["resume"], connected["reason"]) == ("reset", "epoch")


async def test_without_a_worker_a_viewer_waits_and_is_answered_when_it_comes():
    async with running(PARTIES) as house:
        viewer = await house.connect("terminal/vm", epoch="e1", offset=3)
        waiting = await viewer.next()
        worker = await work(house)
        worker.data = b"abcdef"
        await worker.hello()

        connected = await viewer.until("connected")

        assert (waiting["resume"], waiting["input"]) == ("waiting", None)
        assert connected["resume"] == "resumed"
        assert await viewer.read_bytes(3) == b"def"


async def test_a_new_room_takes_all_the_worker_has_and_viewers_lose_nothing():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        viewer = await house.connect("terminal/vm", epoch="e1", offset=0)
        await worker.output(b"one ")
        await viewer.read_bytes(4)
        await worker.peer.socket.close()
        await viewer.until("container-disconnected")
        again = await work(house)
        again.data = b"one two "

        since = await again.hello()
        await viewer.until("container-connected")

        assert since == 4
        assert await viewer.read_bytes(4) == b"two "


async def test_sizes_reach_viewers_at_their_offset():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        viewer = await house.connect("terminal/vm", epoch="e1", offset=0)
        await worker.output(b"wide")
        await worker.peer.send({"type": "resized", "cols": 40, "rows": 10, "offset": 4})
        await worker.output(b"narrow")

        assert await viewer.read_bytes(4) == b"wide"
        assert (await viewer.until("resized"))["offset"] == 4
        assert await viewer.read_bytes(6) == b"narrow"


async def test_the_end_of_the_shell_arrives_after_its_last_byte():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        viewer = await house.connect("terminal/vm", epoch="e1", offset=0)
        await worker.output(b"last")
        await worker.peer.send({"type": "exited", "offset": 4, "code": 7})

        assert await viewer.read_bytes(4) == b"last"
        assert (await viewer.until("exited"))["code"] == 7
        await viewer.send(b"more")
        assert (await viewer.until("error"))["code"] == "exited"


async def test_keystrokes_go_up_with_their_count_and_are_acknowledged():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        viewer = await house.connect("terminal/vm", epoch="e1", offset=0, _pk="tab")
        await viewer.send(b"ls")
        first = await worker.peer.until("input-from")
        keys = await worker.peer.next()
        ack = {"type": "input-ack", "session": first["session"], "offset": 2}
        await worker.peer.send(ack)
        acked = await viewer.until("input-ack")
        await viewer.socket.close()
        again = await house.connect("terminal/vm", epoch="e1", offset=0, _pk="tab")

        assert (first["offset"], keys) == (0, b"ls")
        assert acked == {"type": "input-ack", "offset": 2}
        assert (await again.next())["input"] == 2


async def test_typing_takes_the_lease_and_another_user_is_refused_by_name():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", epoch="e1", offset=0)
        bob = await house.connect("terminal/vm", "bob", epoch="e1", offset=0)
        await ana.send(b"a")
        await bob.until("writer")
        await bob.send(b"b")
        refused = await bob.until("error")
        await bob.send({"type": "writer", "action": "take"})
        taken = await bob.until("writer")
        await bob.send(b"b")

        assert refused["code"] == "not-writer"
        assert "ana is typing" in refused["message"]
        assert taken["user"] == "bob"
        await worker.peer.until("input-from")
        assert await worker.peer.next() == b"a"
        await worker.peer.until("input-from")
        assert await worker.peer.next() == b"b"


async def test_viewers_only_watch_and_their_size_is_ignored():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        eve = await house.connect("terminal/vm", "eve", "viewer", epoch="e1", offset=0)
        await eve.send(b"rm -rf /")
        typed = await eve.until("error")
        await eve.send({"type": "resize", "cols": 10, "rows": 5})
        resized = await eve.until("error")
        ana = await house.connect("terminal/vm", "ana", epoch="e1", offset=0)
        await ana.send({"type": "resize", "cols": 90, "rows": 30})

        assert (typed["code"], resized["code"]) == ("forbidden", "forbidden")
        assert (await worker.peer.until("resize"))["cols"] == 90


async def test_raw_mode_is_bytes_alone_and_text_is_typed():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        await worker.output(b"before")
        raw = await house.connect("terminal/vm", mode="raw")
        await worker.answer_keyframe()
        await worker.output(b"after")

        assert await raw.read_bytes(len(KEYFRAME) + 5) == KEYFRAME + b"after"
        assert raw.frames == []
        await raw.send("ls\n")
        await worker.peer.until("input-from")
        assert await worker.peer.next() == b"ls\n"


async def test_a_viewer_that_stops_parsing_is_caught_up_with_a_keyframe():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        viewer = await house.connect("terminal/vm", epoch="e1", offset=0)
        other = await house.connect("terminal/vm", epoch="e1", offset=0)
        await viewer.next()
        await viewer.send({"type": "ack", "offset": 0})
        flood = b"y\n" * WINDOW_BYTES * 2
        sending = asyncio.create_task(worker.output(flood))
        assert await other.read_bytes(len(flood)) == flood
        await sending
        # What is on its way to it comes first: a keyframe would only queue up behind.
        assert len(await viewer.read_bytes(WINDOW_BYTES)) >= WINDOW_BYTES
        await viewer.send({"type": "ack", "offset": WINDOW_BYTES})
        await worker.answer_keyframe()

        gap = await viewer.until("gap")
        snapshot = await viewer.until("snapshot")

        assert gap["reason"] == "slow"
        assert gap["to"] == snapshot["offset"] == len(flood)
        assert await viewer.read_bytes(len(KEYFRAME)) == KEYFRAME


async def test_a_viewer_that_tells_of_no_progress_is_caught_up_all_the_same():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        viewer = await house.connect("terminal/vm", epoch="e1", offset=0)
        await viewer.next()
        await viewer.send({"type": "ack", "offset": 0})
        await worker.output(b"y\n" * WINDOW_BYTES * 2)
        room = await house.hub.room("terminal", "vm")
        await until(lambda: room.position.offset == len(worker.data))
        await viewer.send({"type": "ack", "offset": 1})
        await until(lambda: next(iter(room.viewers)).pace.acked == 1)
        await room.run(room.tick)  # it has just told
        assert not next(iter(room.viewers)).takes_keyframe

        await room.run(room.tick)
        await worker.answer_keyframe()

        assert (await viewer.until("gap"))["reason"] == "slow"
        assert (await viewer.until("snapshot"))["offset"] == len(worker.data)


async def test_where_it_runs_is_what_its_worker_says():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello(target="docker:web-1")

        assert house.hub.directory.terminals["vm"].target == "docker:web-1"


@pytest.mark.parametrize("cut", [0, 1, 17, 60_000, 99_999])
async def test_any_cut_resumes_without_loss_or_repeat(cut):
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        text = bytes(number % 251 for number in range(100_000))
        await worker.output(text)
        first = await house.connect("terminal/vm", epoch="e1", offset=0)
        seen = (await first.read_bytes(cut))[:cut]
        await first.socket.close()
        second = await house.connect("terminal/vm", epoch="e1", offset=cut)

        assert seen + await second.read_bytes(len(text) - cut) == text


async def test_the_lobby_lists_terminals_as_they_come():
    async with running(PARTIES) as house:
        lobby = await house.connect("lobby/main")
        await lobby.until("snapshot")
        worker = await work(house)
        await worker.hello()

        state = (await lobby.until("snapshot"))["state"]
        while not state["terminals"]:  # the room is told of before its terminal
            state = (await lobby.until("snapshot"))["state"]

        assert [t["id"] for t in state["terminals"]] == ["vm"]
        assert state["terminals"][0]["state"] == "running"


async def test_refused_keys_are_told_once_and_typing_goes_on_from_the_workers_count():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        viewer = await house.connect("terminal/vm", epoch="e1", offset=0)
        await viewer.send(b"lost1")
        await viewer.send(b"lost2")
        frames = [await worker.peer.until("input-from") for _ in range(2)]
        for frame in frames:
            refusal = {"offset": 0, "refused": "busy", "number": frame["number"]}
            ack = {"type": "input-ack", "session": frame["session"]}
            await worker.peer.send(ack | refusal)
        error = await viewer.until("error")
        recounted = await viewer.next()
        await viewer.send(b"again")

        assert [frame["offset"] for frame in frames] == [0, 5]
        assert error["code"] == "busy"
        assert (recounted["resume"], recounted["input"]) == ("resumed", 0)
        assert (await worker.peer.until("input-from"))["offset"] == 0
        assert await worker.peer.next() == b"again"


async def test_keys_lost_with_a_link_do_not_shift_the_count_of_later_ones():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        viewer = await house.connect("terminal/vm", epoch="e1", offset=0)
        await viewer.send(b"gone")
        session = (await worker.peer.until("input-from"))["session"]
        await worker.peer.socket.close()
        await viewer.until("container-disconnected")
        again = await work(house)
        await again.hello(inputs={session: 1})
        recounted = await viewer.until("connected")
        await viewer.send(b"x")

        assert recounted["input"] == 1
        assert (await again.peer.until("input-from"))["offset"] == 1


async def test_a_frozen_terminal_refuses_keys_with_a_reason_and_shows_it():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        viewer = await house.connect("terminal/vm", epoch="e1", offset=0)
        await viewer.next()
        await worker.peer.send({"type": "frozen", "is_frozen": True})
        told = await viewer.until("connected")
        await viewer.send(b"y\n")
        refused = await viewer.until("error")
        await worker.peer.send({"type": "frozen", "is_frozen": False})
        thawed = await viewer.until("connected")
        await viewer.send(b"ls")

        assert (told["state"], thawed["state"]) == ("frozen", "running")
        assert refused["code"] == "frozen"
        await worker.peer.until("input-from")
        assert await worker.peer.next() == b"ls"


async def test_a_viewer_that_reads_nothing_costs_no_more_than_its_bound():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        stuck = await house.connect("terminal/vm", epoch="e1", offset=0)
        stuck.socket.transport.pause_reading()
        other = await house.connect("terminal/vm", epoch="e1", offset=0)
        flood = b"y\n" * (8 * WINDOW_BYTES)
        sending = asyncio.create_task(worker.output(flood))
        assert await other.read_bytes(len(flood)) == flood
        await sending
        room = house.hub.find("terminal", "vm")
        queued = [c.outbox.pending for c in room.connections]
        stuck.socket.transport.resume_reading()
        await worker.answer_keyframe()

        assert max(queued) <= WINDOW_BYTES
        assert (await stuck.until("gap"))["to"] == len(flood)


async def test_a_keyframe_beyond_all_measure_ends_the_link():
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        await house.connect("terminal/vm")
        await worker.answer_keyframe(bytes=2**40)

        assert await worker.peer.close_code() == 1009


async def test_rooms_that_nobody_holds_are_forgotten():
    async with running(PARTIES) as house:
        for number in range(20):
            viewer = await house.connect(f"terminal/none-{number}", roles="viewer")
            await viewer.next()
            await viewer.socket.close()
        async with asyncio.timeout(5):
            while house.hub.live("terminal"):
                await asyncio.sleep(0.01)

        assert house.hub.directory.terminals == {}


async def test_there_is_one_lobby_and_no_other():
    async with running(PARTIES) as house:
        with pytest.raises(InvalidStatus) as refusal:
            await house.connect("lobby/evil")

        assert refusal.value.response.status_code == 404
