"""A worker over real sockets with real shells: what the rooms can rely on."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.integration.worker_rooms import WorkerRooms, running_agent, until
from vibehq_nb.core.credit import CREDIT_BYTES
from vibehq_nb.worker import dial, process_io
from vibehq_nb.worker.pty import Pty
from vibehq_nb.worker.terminal import UNSENT_BYTES


@pytest.fixture
async def rooms() -> AsyncIterator[WorkerRooms]:
    rooms = WorkerRooms()
    await rooms.start()
    yield rooms
    await rooms.stop()


async def test_hello_names_the_worker(rooms: WorkerRooms, tmp_path: Path) -> None:
    async with running_agent(rooms, tmp_path):
        hello = await until(lambda: rooms.hellos and rooms.hellos[0])

    assert hello["type"] == "worker-hello"
    assert hello["worker"] == "w"
    assert "local" in hello["providers"]
    assert hello["terminals"] == []


async def test_a_shell_answers_and_a_keyframe_shows_it(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn()
        count = await room.type("echo $((6*7))-here\r", 0)
        end = await room.saw(b"42-here")
        await until(lambda: room.input_acks.get("ana/c") == count)
        snapshot, frame = await room.keyframe()

    assert snapshot["offset"] >= end
    assert b"42-here" in frame
    assert frame.startswith(b"\x1bc")


async def test_four_random_mebibytes_arrive_exactly(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    script = (
        "import os, sys, tty, hashlib; tty.setraw(1)\n"
        "data = os.urandom(4 << 20)\n"
        "sys.stdout.buffer.write(data); sys.stdout.flush()\n"
        "sys.stdout.buffer.write(hashlib.sha256(data).digest())\n"
    )
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn(command=["python3", "-c", script])
        await until(lambda: room.of("exited"), 20)

    assert len(room.output) == (4 << 20) + 32
    assert hashlib.sha256(room.output[:-32]).digest() == room.output[-32:]
    assert room.of("exited") == [
        {"type": "exited", "offset": room.head, "code": 0, "signal": None}
    ]


FLOOD = (
    "import os, sys, time\n"
    "os.system('stty -opost')\n"
    "print('ready', flush=True)\n"
    "sys.stdin.readline()\n"
    "for n in range(3000): os.write(1, b'%08d\\n' % n)\n"
    "os.write(1, b'x' * 5_000_000 + b'\\nend\\n')\n"
    "time.sleep(60)\n"
)


async def test_nothing_is_lost_or_repeated_while_away(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path) as agent:
        room = await rooms.spawn(command=["python3", "-c", FLOOD])
        await room.saw(b"ready")
        await room.type("go\r", 0)
        rooms.die()
        terminal = agent.terminals["w"]
        await until(lambda: terminal.stream.head > 5_027_000, 20)
        await rooms.start()
        await until(lambda: room.head >= terminal.stream.head, 20)

    lines = bytes(room.output).split(b"\n")
    first = lines.index(b"00000000")
    assert lines[first : first + 3000] == [b"%08d" % n for n in range(3000)]
    assert len(lines[first + 3000]) == 5_000_000
    assert lines[first + 3001 :] == [b"end", b""]
    assert len(room.hellos) == 2
    assert room.hellos[0]["epoch"] == room.hellos[1]["epoch"]


async def test_a_killed_server_finds_its_terminals_again(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path):
        first = await rooms.spawn("w")
        await rooms.spawn("w:logs", command=["sleep", "60"])
        count = await first.type("x=kept\r", 0)
        await until(lambda: first.input_acks.get("ana/c") == count)
        rooms.die()
        reborn = WorkerRooms(rooms.port)  # knows nothing of what was
        await reborn.start()
        await until(lambda: reborn.hellos)
        room = reborn.terminal("w")
        await until(lambda: room.connection)
        await room.type("echo again-$x\r", room.hellos[0]["inputs"]["ana/c"])
        await room.saw(b"again-kept")
        await reborn.stop()

    assert sorted(reborn.hellos[0]["terminals"]) == ["w", "w:logs"]
    assert room.epoch == first.epoch
    assert bytes(room.output).startswith(bytes(first.output))


async def test_keys_are_typed_once_over_any_number_of_cuts(
    rooms: WorkerRooms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "HELD_SECONDS", 0)
    monkeypatch.setattr(dial, "MIN_DELAY", 0.05)
    script = "stty raw -echo; printf ready; head -c 300 | tr a b; printf done; sleep 60"
    keys = b"".join(b"%03d" % n for n in range(100))
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn(command=["bash", "-c", script])
        await room.saw(b"ready")
        for cut in itertools.count():
            taken = room.hellos[-1]["inputs"].get("ana/c", 0)
            if taken == len(keys):
                break
            # As a client does that cannot know what arrived: again, and further.
            start, end = max(taken - 40, 0), min(taken + 30, len(keys))
            await room.type(keys[start:end], start)
            if cut % 2:
                await until(lambda: room.input_acks.get("ana/c", 0) >= end)  # noqa: B023
            assert room.connection is not None
            room.connection.transport.abort()
            seen = len(room.hellos)
            await until(lambda: len(room.hellos) > seen and room.connection)  # noqa: B023
        await room.saw(b"done")

    typed = room.output.partition(b"ready")[2].partition(b"done")[0]
    assert typed == keys
    assert len(room.hellos) >= 10


async def test_input_with_a_hole_before_it_is_not_typed_but_answered(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn(command=["cat"])
        await room.type("abc", 0)
        await until(lambda: room.input_acks.get("ana/c") == 3)
        await room.type("xyz", 10, number=7)
        await until(lambda: len(room.of("input-ack")) == 2)
        await room.type("d\r", 3, number=8)
        await room.saw(b"abcd")
        await until(lambda: len(room.of("input-ack")) == 3)

    acks = room.of("input-ack")
    assert [one["offset"] for one in acks] == [3, 3, 5]
    assert [one["number"] for one in acks] == [0, 7, 8]
    assert [one.get("refused", "") for one in acks] == ["", "gap", ""]
    assert b"xyz" not in room.output


async def test_sizes_stand_exactly_at_their_offset(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    script = (
        "import os, signal\n"
        "def show(*_):\n"
        "    size = os.get_terminal_size(1)\n"
        "    os.write(1, b'%d %d\\n' % (size.lines, size.columns))\n"
        "signal.signal(signal.SIGWINCH, show)\n"
        "show()\n"
        "while True: signal.pause()\n"
    )
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn(command=["python3", "-c", script], cols=100, rows=30)
        await room.saw(b"30 100\r\n")
        for cols in (101, 102, 103):
            await room.send(type="resize", cols=cols, rows=31)
            await room.saw(b"31 %d\r\n" % cols)

    at_the_start, *changes = room.of("resized")
    assert (at_the_start["cols"], at_the_start["offset"]) == (100, 0)
    for resized in changes:
        shown = b"31 %d\r\n" % resized["cols"]
        assert room.output.index(shown) >= resized["offset"]
        before = b"%d\r\n" % (resized["cols"] - 1)
        assert room.output.index(before) < resized["offset"]
    assert [one["cols"] for one in changes] == [101, 102, 103]


async def test_sizes_changed_while_away_come_at_their_offset(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path) as agent:
        room = await rooms.spawn(command=["cat"])
        await until(lambda: room.of("resized"))
        terminal = agent.terminals["w"]
        rooms.die()
        await until(lambda: not agent.is_linked)
        for cols in (90, 95):
            before = terminal.stream.head
            terminal.resize(cols, 24)
            terminal.take_input("x", terminal.ledger.taken("x"), b"word\r")
            await until(lambda: terminal.stream.head >= before + 12)  # noqa: B023
        await rooms.start()
        await until(lambda: room.head == terminal.stream.head)
        await until(lambda: len(room.of("resized")) == 3)

    sizes = [(one["cols"], one["offset"]) for one in room.of("resized")]
    assert sizes == [(80, 0), (90, 0), (95, 12)]


async def test_a_size_set_while_away_is_told_though_the_hello_says_it(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path) as agent:
        room = await rooms.spawn(command=["cat"])
        await until(lambda: room.of("resized"))
        rooms.die()
        await until(lambda: not agent.is_linked)
        agent.terminals["w"].resize(120, 40)
        await rooms.start()
        told = await until(lambda: [one["cols"] for one in room.of("resized")][1:])

    assert (room.hellos[-1]["cols"], room.hellos[-1]["rows"]) == (120, 40)
    assert told == [120]


async def test_what_was_read_before_a_link_is_in_its_hello(
    rooms: WorkerRooms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        process_io, "GATHER_SECONDS", 1e9
    )  # only a full buffer is handed on
    async with running_agent(rooms, tmp_path) as agent:
        room = await rooms.spawn(command=["bash", "-c", "printf hello; sleep 60"])
        process = agent.terminals["w"].process
        assert isinstance(process, Pty)
        await until(lambda: process._count == 5)
        assert room.connection is not None
        room.connection.transport.abort()
        await until(lambda: len(room.hellos) == 2)

    assert room.hellos[-1]["offset"] == 5


@pytest.mark.parametrize("asked", [0, 2**40])
async def test_a_room_that_asks_for_what_is_not_held_is_told_hello_again(
    rooms: WorkerRooms, tmp_path: Path, asked: int
) -> None:
    script = "read; for i in {10000..20000}; do echo $i; done; cat"
    async with running_agent(rooms, tmp_path) as agent:
        room = await rooms.spawn(command=["bash", "-c", script])
        stream = agent.terminals["w"].stream
        count = await room.type("\r", 0)
        await room.saw(b"20000\r\n")
        stream.capacity = 4096
        await room.type("end", count)
        await room.saw(b"end")
        rooms.terminals.clear()
        fresh = rooms.terminal("w")
        fresh.asks = [asked]
        assert room.connection is not None
        room.connection.transport.abort()
        await until(lambda: fresh.head == stream.head)
        await fresh.saw(b"end")

    assert fresh.closes[0] == 1000
    assert len(fresh.hellos) == 2
    assert fresh.start == fresh.hellos[-1]["oldest"] > 0
    assert bytes(fresh.output) == bytes(room.output)[-len(fresh.output) :]


async def test_without_credit_the_flood_stands_still_and_memory_is_bounded(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path) as agent:
        room = rooms.terminal("w")
        room.acknowledges = False
        await rooms.spawn(command=["yes"])
        terminal = agent.terminals["w"]
        await until(lambda: terminal.stream.head > CREDIT_BYTES + UNSENT_BYTES, 20)
        stood = terminal.stream.head
        await asyncio.sleep(0.3)  # it stays so
        still = terminal.stream.head
        got = room.head
        waits = terminal.is_waiting
        room.acknowledges = True
        await room.send(type="ack", offset=room.head)
        await until(lambda: room.head > stood + 2**20, 20)

    assert waits
    assert got == CREDIT_BYTES
    assert still - stood <= 2**16  # what was gathered before it stood still
    assert still <= CREDIT_BYTES + UNSENT_BYTES + 2**18
    assert set(room.output) == set(b"y\r\n")


@pytest.mark.parametrize("asked", [7, 0, 2**40])
async def test_older_bytes_are_sent_once_more_when_the_room_asks(
    rooms: WorkerRooms, tmp_path: Path, asked: int
) -> None:
    script = "read; for i in {1000..9000}; do echo $i; done; cat"
    async with running_agent(rooms, tmp_path) as agent:
        room = await rooms.spawn(command=["bash", "-c", script])
        count = await room.type("\r", 0)
        await room.saw(b"9000\r\n")
        first = bytes(room.output)
        await room.send(type="since", offset=asked)
        await until(lambda: room.of("since"))
        count = await room.type("more", count)
        await room.saw(b"more")
        stream = agent.terminals["w"].stream

    assert room.start == min(asked, len(first))
    assert room.head == stream.head
    assert first + b"more" == first[: room.start] + room.output
    assert len(room.hellos) == 1
    assert [one["offset"] for one in room.of("resized")] == [0, room.start]


async def test_a_keyframe_does_not_wait_for_credit(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path) as agent:
        room = rooms.terminal("w")
        room.acknowledges = False
        await rooms.spawn(command=["bash", "-c", "head -c 400000 /dev/zero; sleep 60"])
        await until(lambda: agent.terminals["w"].stream.head == 400_000)
        snapshot, _ = await room.keyframe()

    assert snapshot["offset"] == 400_000
    assert room.head == CREDIT_BYTES


async def test_a_stuck_paste_does_not_hold_up_another_terminal(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path):
        stuck = await rooms.spawn(
            "w", command=["bash", "-c", "stty raw -echo; printf ready; sleep 60"]
        )
        other = await rooms.spawn("w:2", command=["cat"])
        await stuck.saw(b"ready")
        offset = 0
        for number in range(16):
            offset = await stuck.type(b"p" * 32768, offset, number=number)
        await other.type("still-here\r", 0)
        await other.saw(b"still-here", 3)
        await until(lambda: len(stuck.of("input-ack")) == 16)
        taken = stuck.input_acks["ana/c"]

    assert taken < offset
    assert taken % 32768 == 0
    count = taken // 32768
    acks = stuck.of("input-ack")
    refused = [one.get("refused", "") for one in acks]
    assert refused == [""] * count + ["busy"] + ["gap"] * (15 - count)
    assert [one["number"] for one in acks] == list(range(16))


async def test_input_after_the_exit_is_refused_with_the_reason(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn(command=["true"])
        await until(lambda: room.of("exited"))
        await room.type("x", 0, number=3)
        ack = (await until(lambda: room.of("input-ack")))[0]

    assert (ack["refused"], ack["number"], ack["offset"]) == ("exited", 3, 0)


async def test_refusals_say_what_is_wrong(rooms: WorkerRooms, tmp_path: Path) -> None:
    async with running_agent(rooms, tmp_path):
        lxc = await rooms.request("spawn", terminal="w", target="lxc:web-1")
        folder = await rooms.request("spawn", terminal="w", cwd="/no/such/place")
        command = await rooms.request("spawn", terminal="w", command=["no-such-prog"])
        nobody = await rooms.request("inspect", terminal="nobody")

    assert lxc["code"] == "no-provider"
    assert lxc["message"].startswith('No provider "lxc" on worker w. Here: ')
    assert "local" in lxc["message"]
    assert folder["message"] == 'There is no folder "/no/such/place".'
    assert command["message"] == 'There is no program "no-such-prog".'
    assert nobody["code"] == "not-found"


async def test_inspect_signal_and_close(rooms: WorkerRooms, tmp_path: Path) -> None:
    async with running_agent(rooms, tmp_path) as agent:
        room = await rooms.spawn(command=["sleep", "60"])
        again = await rooms.request("spawn", terminal="w")
        seen = await rooms.request("inspect", terminal="w")
        pid = seen["result"]["foreground"]["pid"]
        await rooms.request("signal", terminal="w", signal="INT")
        await until(lambda: room.of("exited"))
        after = await rooms.request("inspect", terminal="w")
        closed = await rooms.request("close", terminal="w")

        assert agent.terminals == {}
    assert again["type"] == "done"
    assert len(room.hellos) == 1
    assert seen["result"]["foreground"]["name"] == "sleep"
    assert seen["result"]["foreground"]["is_shell"] is False
    assert not psutil.pid_exists(pid)
    assert room.of("exited")[0]["signal"] == "INT"
    assert after["result"]["state"] == "exited"
    assert after["result"]["foreground"] is None
    assert closed["type"] == "done"


async def test_a_terminal_that_ended_is_spawned_anew(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn(command=["true"])
        await until(lambda: room.of("exited"))
        await rooms.request("spawn", terminal="w", command=["cat"])
        await until(lambda: len(room.hellos) == 2)

    assert room.hellos[0]["epoch"] != room.hellos[1]["epoch"]


async def test_exit_is_told_again_to_a_server_that_missed_it(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path) as agent:
        room = await rooms.spawn(command=["bash", "-c", "read; printf last; exit 7"])
        rooms.die()
        terminal = agent.terminals["w"]
        terminal.take_input("x", 0, b"\r")
        await until(lambda: terminal.state == "exited")
        await rooms.start()
        await until(lambda: room.of("exited"))

    assert room.hellos[-1]["state"] == "exited"
    assert room.hellos[-1]["code"] == 7
    assert room.output.endswith(b"last")
    assert room.of("exited")[-1]["offset"] == room.head


async def test_keyframes_asked_for_at_once_are_one(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn(command=["bash", "-c", "printf hello; sleep 60"])
        await room.saw(b"hello")
        for _ in range(20):
            await room.send(type="keyframe")
        await until(lambda: room.keyframes)
        await room.send(type="resize", cols=99, rows=33)
        await until(lambda: room.of("resized"))
        await room.keyframe()

    assert len(room.keyframes) < 10
    snapshot, frame = room.keyframes[-1]
    assert (snapshot["cols"], snapshot["rows"]) == (99, 33)
    assert snapshot["bytes"] == len(frame)
    assert snapshot["offset"] <= room.head


async def test_a_fenced_worker_stops(rooms: WorkerRooms, tmp_path: Path) -> None:
    async with running_agent(rooms, tmp_path) as agent:
        await rooms.spawn(command=["sleep", "60"])
        assert rooms.control is not None
        await rooms.control.close(4509, "replaced")
        await until(lambda: agent.has_ended)

        assert agent.terminals == {}


async def test_freeze_stops_output_and_thaw_lets_it_go_on(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    tick = "while :; do echo tick; sleep 0.01; done"
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn(command=["bash", "-c", tick])
        await room.saw(b"tick")
        frozen = await rooms.request("freeze", terminal="w")
        seen = await rooms.request("inspect", terminal="w")
        before = room.head
        await room.type("x", 0, number=1)
        await until(lambda: room.of("input-ack"))
        still = room.head
        await rooms.request("thaw", terminal="w")
        await until(lambda: room.head > still)
        await room.type("x", 0, number=2)
        await until(lambda: room.input_acks["ana/c"] == 1)

    assert frozen["result"]["how"] in {"freezer", "signals"}
    assert seen["result"]["state"] == "frozen"
    assert still - before < 100
    refusal, accepted = room.of("input-ack")
    assert (refusal["refused"], refusal["number"]) == ("frozen", 1)
    assert (accepted.get("refused", ""), accepted["number"]) == ("", 2)


async def test_the_room_hears_of_freeze_and_thaw_on_this_link_and_the_next(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path):
        room = await rooms.spawn(command=["cat"])
        for request in ("thaw", "freeze", "freeze", "thaw", "freeze"):
            await rooms.request(request, terminal="w")
        await until(lambda: len(room.of("frozen")) == 3)
        assert room.connection is not None
        room.connection.transport.abort()
        await until(lambda: len(room.hellos) == 2)
        await rooms.request("thaw", terminal="w")
        await until(lambda: len(room.of("frozen")) == 4)

    told = [one["is_frozen"] for one in room.of("frozen")]
    assert told == [True, False, True, False]
    assert [one["state"] for one in room.hellos] == ["running", "frozen"]


async def test_a_freeze_is_told_after_what_was_printed_before_it(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path) as agent:
        room = rooms.terminal("w")
        room.acknowledges = False
        await rooms.spawn(command=["bash", "-c", "head -c 500000 /dev/zero; read"])
        await until(lambda: agent.terminals["w"].stream.head == 500_000)
        await until(lambda: room.head == CREDIT_BYTES)
        await rooms.request("freeze", terminal="w")
        await room.type("x", 0)
        await until(lambda: room.of("input-ack"))  # the link had its turn
        early = room.of("frozen")
        room.acknowledges = True
        await room.send(type="ack", offset=room.head)
        await until(lambda: room.of("frozen"))

    assert early == []
    assert room.head == 500_000
