"""Recording a terminal: a scripted worker, a real server, real files."""

import asyncio
import errno
import hashlib
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.integration.house import OPERATOR, House, running
from tests.integration.scripted_worker import KEYFRAME, Worker, work
from tests.integration.worker_rooms import until
from vibehq_nb.core.asciicast import CastEvent, decode_cast
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.recording import (
    SEGMENT_BYTES,
    Begin,
    End,
    Gap,
    Mark,
    Output,
    Record,
    Screen,
    Segment,
)
from vibehq_nb.core.stream import RING_BYTES
from vibehq_server.recordings import files, keeping
from vibehq_server.recordings import pen as pens
from vibehq_server.recordings.cast import cast_of
from vibehq_server.recordings.files import read_records, segment_path
from vibehq_server.recordings.kept import Recording
from vibehq_server.recordings.pen import LOST_MARKS, QUEUE_BYTES, Pen
from vibehq_server.recordings.store import RecordingStore
from vibehq_server.rooms.lobby import LobbyRoom
from vibehq_server.rooms.tape import Tape
from vibehq_server.rooms.terminal import TerminalRoom
from vibehq_server.rooms.terminal_log import TerminalLogRoom

PARTIES = {
    "terminal": TerminalRoom,
    "terminal-log": TerminalLogRoom,
    "lobby": LobbyRoom,
}


@pytest.fixture
def store(tmp_path: Path):
    kept = RecordingStore(tmp_path / "recordings")
    yield kept
    kept.close()


async def room_of(house: House, store: RecordingStore | None) -> Any:
    house.hub.recordings = store
    return await house.hub.room("terminal", "vm")


async def start(room: Any, worker: Worker, user: str = "ana") -> str:
    """Start a recording, whose screen is answered with the usual keyframe."""
    started: str = await room.run(room.recorder.start, user)
    await worker.answer_keyframe()
    return started


def no_space(descriptor: int, data: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def begin_of(name: str) -> Begin:
    about = {"id": name, "terminal": "vm", "epoch": "e1", "by": "ana"}
    return Begin(time=0.0, offset=0, at=1e9, cols=80, rows=24, **about)


class Told:
    """A listener that keeps which segments it was told of."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []

    def on_segment(self, recording_id: str, segment: Segment) -> None:
        self.segments.append(segment)

    def on_failure(self, reason: str) -> None:
        pass

    def on_room(self) -> None:
        pass

    def on_full(self) -> None:
        pass


def records(store: RecordingStore, recording_id: str) -> list[Record]:
    return list(read_records(store.get(recording_id).folder))


def output_of(recording: Recording) -> bytes:
    """The bytes of all output records, as the index places them."""
    return b"".join(
        segment_path(recording.folder, record.segment).read_bytes()[
            record.at : record.at + record.size
        ]
        for record in read_records(recording.folder)
        if isinstance(record, Output)
    )


async def recorded(store: RecordingStore, recording_id: str, cursor: int) -> Recording:
    """Await that output up to *cursor* is in the index."""
    recording = store.get(recording_id)
    await until(lambda: recording.refresh().cursor == cursor)
    return recording


async def ended(store: RecordingStore, recording_id: str) -> Recording:
    recording = store.get(recording_id)
    await until(lambda: recording.refresh().end)
    return recording


def shown(recording: Recording, **how: Any) -> str:
    """What a player of the export prints."""
    lines = b"".join(cast_of(recording, 3, **how)).splitlines(keepends=True)
    events = [event for event in decode_cast(lines) if isinstance(event, CastEvent)]
    return "".join(event.text for event in events if event.code == "o")


async def test_a_recording_begins_with_the_screen_and_holds_what_follows(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        await worker.output(b"before ")
        name = await start(room, worker)
        await worker.output(b"after")
        recording = await recorded(store, name, 12)
        await room.run(room.recorder.stop)
        await ended(store, name)

        assert output_of(recording) == b"after"
        assert shown(recording) == KEYFRAME.decode() + "after"
        assert store.describe(recording)["state"] == "stopped"


async def test_its_files_are_for_their_owner_alone(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        recording = await recorded(store, name, 0)

        modes = {stat.S_IMODE(p.stat().st_mode) for p in recording.folder.iterdir()}
        assert modes == {0o600}
        assert stat.S_IMODE(recording.folder.stat().st_mode) == 0o700


async def test_a_flood_is_recorded_byte_by_byte_in_segments_of_a_mebibyte(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        flood = os.urandom(5 * SEGMENT_BYTES + 12_345)
        await worker.output(flood)
        recording = await recorded(store, name, len(flood))
        await room.run(room.recorder.stop)
        await ended(store, name)

        sizes = [path.stat().st_size for path in recording.folder.glob("*.raw")]
        assert hashlib.sha256(output_of(recording)).digest() == (
            hashlib.sha256(flood).digest()
        )
        assert len(sizes) >= 6
        assert max(sizes) <= SEGMENT_BYTES
        assert all(segment["is_whole"] for segment in store.verify(recording))


async def test_segments_are_hashed_into_the_entry_log_and_a_changed_one_is_found(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(os.urandom(2 * SEGMENT_BYTES))
        recording = await recorded(store, name, 2 * SEGMENT_BYTES)
        await room.run(room.recorder.stop)
        await ended(store, name)
        log = house.hub.log
        key = house.hub.key("terminal-log", "vm")

        async def entries() -> list[dict[str, Any]]:
            await room.notes.flush()
            return [json.loads(entry.body) for entry in await log.read(key, 0, 100)]

        count = len(store.verify(recording))
        async with asyncio.timeout(10):
            while True:
                found = [
                    e for e in await entries() if e["type"].startswith("recording-")
                ]
                if len(found) == count + 2:
                    break
                await asyncio.sleep(0.01)

        noted = {e["sha256"] for e in found if e["type"] == "recording-segment"}
        assert found[0]["type"] == "recording-started"
        assert (found[0]["by"], found[0]["id"]) == ("ana", name)
        assert noted == {segment["sha256"] for segment in store.verify(recording)}
        with segment_path(recording.folder, 1).open("r+b") as segment:
            segment.write(b"!")
        assert [s["is_whole"] for s in store.verify(recording)].index(False) == 0


async def test_everybody_who_watches_is_told_also_who_joins_later(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        early = await house.connect("terminal/vm")
        assert (await early.next())["recording"] is None
        await worker.answer_keyframe()
        await early.read_bytes(len(KEYFRAME))
        name = await start(room, worker, "bob")

        told = await early.until("recording")
        late = await house.connect("terminal/vm", "eve")
        connected, again = await late.next(), await late.next()
        await room.run(room.recorder.stop)
        over = await early.until("recording")

        assert told == {"type": "recording", "is_on": True, "id": name, "by": "bob"}
        assert connected["recording"] == name
        assert again == told
        assert over["is_on"] is False


async def test_a_second_start_is_the_recording_that_runs(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        first = await start(room, worker)

        assert await room.run(room.recorder.start, "bob") == first


async def test_nothing_is_recorded_without_a_worker_or_of_a_shell_that_ended(store):
    async with running(PARTIES) as house:
        room = await room_of(house, store)
        with pytest.raises(DeniedError, match="worker is away"):
            await room.run(room.recorder.start, "ana")
        worker = await work(house)
        await worker.hello(state="exited", code=0)

        with pytest.raises(DeniedError, match="shell has ended"):
            await room.run(room.recorder.start, "ana")
        with pytest.raises(DeniedError, match="not being recorded"):
            await room.run(room.recorder.stop)


async def test_a_size_is_recorded_where_it_changed_and_the_exit_ends_it(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"narrow")
        await worker.peer.send(
            {"type": "resized", "cols": 120, "rows": 40, "offset": 6}
        )
        await worker.output(b"wide")
        exited = {"type": "exited", "offset": 10, "code": 7, "signal": None}
        await worker.peer.send(exited)
        recording = await ended(store, name)

        lines = b"".join(cast_of(recording, 3)).splitlines()
        events = [json.loads(line)[1:] for line in lines[1:]]
        assert events == [
            ["o", KEYFRAME.decode()],
            ["o", "narrow"],
            ["r", "120x40"],
            ["o", "wide"],
            ["x", "7"],
        ]
        assert store.describe(recording)["state"] == "exited"


async def test_after_a_lost_link_it_goes_on_with_the_very_next_byte(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"one ")
        await recorded(store, name, 4)
        await worker.peer.socket.close()
        await until(lambda: not room.is_online)
        again = await work(house)
        again.data = b"one two "
        await again.hello()
        recording = await recorded(store, name, 8)

        assert output_of(recording) == b"one two "
        assert not recording.refresh().gaps


async def test_a_hole_in_the_bytes_is_a_gap_and_then_the_screen(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"one ")
        await recorded(store, name, 4)
        await worker.peer.socket.close()
        await until(lambda: not room.is_online)
        again = await work(house)
        again.data = b"x" * 1000
        await again.hello(oldest=900)
        await again.answer_keyframe(at=950)
        recording = await recorded(store, name, 1000)

        (gap,) = recording.refresh().gaps
        assert (gap.offset, gap.to) == (4, 950)
        assert shown(recording).endswith("one " + KEYFRAME.decode() + "x" * 50)


async def test_a_new_life_of_the_shell_ends_it(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"old")
        await recorded(store, name, 3)
        again = await work(house)
        again.data = b"new shell"
        await again.hello(epoch="e2")
        recording = await ended(store, name)

        assert output_of(recording) == b"old"
        assert store.describe(recording)["state"] == "interrupted"
        assert room.recorder.id is None


async def test_after_a_restart_of_the_server_it_goes_on_whole(store, tmp_path):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"before ")
        await recorded(store, name, 7)
    store.close()
    again = RecordingStore(tmp_path / "recordings")
    async with running(PARTIES) as house:
        room, worker = await room_of(house, again), await work(house)
        worker.data = b"before meanwhile "
        await worker.hello()
        await worker.output(b"after")
        recording = await recorded(again, name, len(worker.data))

        assert room.recorder.id == name
        assert output_of(recording) == b"before meanwhile after"
        assert b"started again" in b"".join(cast_of(recording, 2))
    again.close()


async def test_a_recording_whose_terminal_is_gone_after_a_restart_is_interrupted(
    store, tmp_path
):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"before")
        await recorded(store, name, 6)
    store.close()
    again = RecordingStore(tmp_path / "recordings")
    assert again.describe(again.get(name))["state"] == "interrupted"
    async with running(PARTIES) as house:
        await room_of(house, again)
        worker = await work(house)
        worker.data = b"another shell"
        await worker.hello(epoch="e2")
        recording = await ended(again, name)

        assert output_of(recording) == b"before"
        assert recording.summary.end.reason == "interrupted"
    again.close()


@pytest.mark.parametrize("torn", ["index", "segment", "both"])
async def test_what_a_crash_tore_is_cut_off_and_the_rest_is_whole(
    store, tmp_path, torn
):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        for number in range(20):
            await worker.output(f"{number:04d}".encode())
            await recorded(store, name, 4 * number + 4)
    store.close()
    folder = store.get(name).folder
    index, segment = folder / files.INDEX, segment_path(folder, 1)
    if torn in {"index", "both"}:
        index.write_bytes(index.read_bytes()[:-20])
    if torn in {"segment", "both"}:
        segment.write_bytes(segment.read_bytes()[:-10])
    again = RecordingStore(tmp_path / "recordings")
    recording = again.get(name)
    kept = output_of(recording)

    assert worker.data.startswith(kept)
    assert 0 < len(kept) < 80
    assert recording.refresh().cursor == len(kept)
    async with running(PARTIES) as house:
        await room_of(house, again)
        back = await work(house)
        back.data = worker.data
        await back.hello()
        await back.output(b"end")
        await recorded(again, name, 83)

        assert output_of(recording) == worker.data + b"end"
    again.close()


async def test_a_disk_that_is_full_is_a_gap_once_it_takes_again(store, monkeypatch):
    write = os.write

    def refuse(descriptor: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"kept ")
        recording = await recorded(store, name, 5)
        monkeypatch.setattr(files.os, "write", refuse)
        await worker.output(b"lost ")
        await until(lambda: store._pens[name].is_failing)
        await worker.output(b"x" * (RING_BYTES + 100_000))
        await until(lambda: room.uplink.stream.oldest > 10)
        monkeypatch.setattr(files.os, "write", write)
        room.tick()
        await worker.answer_keyframe()
        await worker.output(b"again")
        await recorded(store, name, len(worker.data))

        (gap,) = recording.refresh().gaps
        assert (gap.offset, gap.to) == (5, len(worker.data) - 5)
        assert "No space left" in gap.reason
        assert output_of(recording) == b"kept again"


@pytest.mark.parametrize("how", ["stopped", "interrupted"])
async def test_an_end_states_what_the_disk_had_refused_before_it(
    store, monkeypatch, how
):
    write, is_refused = os.write, threading.Event()

    def refuse(descriptor: int, data: Any) -> int:
        is_refused.set()
        raise OSError(errno.ENOSPC, "No space left on device")

    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"kept ")
        recording = await recorded(store, name, 5)
        # The room has handed all of it over, and hears of no failure before the end.
        monkeypatch.setattr(Tape, "on_failure", lambda *_: None)
        monkeypatch.setattr(files.os, "write", refuse)
        await worker.output(b"lost ")
        await until(is_refused.is_set)
        monkeypatch.setattr(files.os, "write", write)
        if how == "stopped":
            await room.run(room.recorder.stop)
        else:
            again = await work(house)
            await again.hello(epoch="e2", offset=0)
        await ended(store, name)

        (gap,) = recording.refresh().gaps
        assert (gap.offset, gap.to) == (5, 10)
        assert store.describe(recording)["state"] == how
        assert output_of(recording) == b"kept "


async def test_an_end_that_the_disk_refuses_is_written_once_it_takes_again(
    store, monkeypatch
):
    write = os.write
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"kept ")
        recording = await recorded(store, name, 5)
        pen = store._pens[name]
        monkeypatch.setattr(files.os, "write", no_space)
        await worker.output(b"lost ")
        await until(lambda: pen.is_failing)
        await room.run(room.recorder.stop)
        await until(lambda: pen.last)
        assert store.is_running(recording)  # nothing goes on with it, or removes it
        monkeypatch.setattr(files.os, "write", write)
        await until(lambda: not store.is_running(recording))

        (gap,) = recording.refresh().gaps
        assert (gap.offset, gap.to) == (5, 10)
        assert store.describe(recording)["state"] == "stopped"
        assert pen.files is None


async def test_a_recording_of_which_nothing_was_written_states_all_as_missing(
    store, monkeypatch
):
    write = os.write
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        monkeypatch.setattr(files.os, "write", no_space)
        name = await start(room, worker)
        await worker.output(b"lost ")
        await until(lambda: room.uplink.stream.head == 5)
        await until(lambda: store._pens[name].is_failing)
        await room.run(room.recorder.stop)
        monkeypatch.setattr(files.os, "write", write)
        recording = await ended(store, name)

        assert [(gap.offset, gap.to) for gap in recording.summary.gaps] == [(0, 5)]


async def test_what_was_stopped_does_not_go_on_with_the_next_link(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await room.run(room.recorder.stop)
        await until(lambda: not store.is_running(store.get(name)))
        again = await work(house)
        await again.hello()

        assert room.recorder.id is None


async def test_what_the_disk_refused_beside_output_is_there_once_it_takes_again(
    store, monkeypatch
):
    write = os.write
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"narrow")
        recording = await recorded(store, name, 6)
        # The room hands it over and hears of no failure meanwhile.
        with monkeypatch.context() as deaf:
            deaf.setattr(Tape, "on_failure", lambda *_: None)
            monkeypatch.setattr(files.os, "write", no_space)
            resized = {"type": "resized", "cols": 120, "rows": 40, "offset": 6}
            await worker.peer.send(resized)
            await worker.peer.send({"type": "title", "text": "wide"})
            await until(lambda: room.uplink.names)
            room.recorder.mark(6, "a note")
            await until(lambda: len(store._pens[name].refused) == 2)
        monkeypatch.setattr(files.os, "write", write)
        room.tick()
        await worker.output(b"wide")
        await recorded(store, name, 10)
        await until(lambda: recording.refresh().marks)

        assert (recording.summary.cols, recording.summary.rows) == (120, 40)
        assert recording.summary.title == "wide"
        assert [mark.label for mark in recording.summary.marks] == ["a note"]
        assert output_of(recording) == b"narrowwide"
        assert not recording.summary.gaps


async def test_marks_beyond_what_is_held_for_a_failing_disk_are_stated_as_missing(
    store, monkeypatch
):
    write = os.write
    monkeypatch.setattr(pens, "REFUSED_HELD", 2)
    pen = store.open(begin_of("r1"), Told())
    monkeypatch.setattr(files.os, "write", no_space)
    for number in range(3):
        pen.put(Mark(time=0.0, offset=0, label=str(number)))
    await until(lambda: pen.has_lost)
    monkeypatch.setattr(files.os, "write", write)
    pen.put(End(time=1.0, offset=0, reason="stopped"))
    recording = await ended(store, "r1")

    labels = [mark.label for mark in recording.summary.marks]
    assert labels == ["0", "1", LOST_MARKS]


async def test_each_segment_that_one_write_completes_is_told(store):
    told = Told()
    pen = store.open(begin_of("r1"), told)
    painted = Screen(time=0.0, offset=0, size=0, cols=80, rows=24, reason="start")
    pen.put(painted, os.urandom(3 * SEGMENT_BYTES + 5))
    pen.put(End(time=1.0, offset=0, reason="stopped"))
    await pen.settled()

    assert [segment.number for segment in told.segments] == [1, 2, 3, 4]
    assert told.segments == store.get("r1").refresh().segments


async def test_a_new_life_ends_a_recording_that_has_not_written_all_with_a_gap(
    store, monkeypatch
):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"kept ")
        recording = await recorded(store, name, 5)
        monkeypatch.setattr(Pen, "is_full", True)
        await worker.output(b"late ")
        await until(lambda: room.uplink.stream.head == 10)
        again = await work(house)
        await again.hello(epoch="e2", offset=0)
        await ended(store, name)

        (gap,) = recording.refresh().gaps
        assert (gap.offset, gap.to) == (5, 10)


async def test_what_the_disk_refused_for_a_moment_only_is_not_missing(
    store, monkeypatch
):
    write = os.write

    def refuse(descriptor: int, data: Any) -> int:
        write(descriptor, bytes(data)[:1])  # a part of it even arrives
        raise OSError(errno.ENOSPC, "No space left on device")

    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"one ")
        recording = await recorded(store, name, 4)
        monkeypatch.setattr(files.os, "write", refuse)
        await worker.output(b"two ")
        await until(lambda: store._pens[name].is_failing)
        await worker.output(b"three ")
        monkeypatch.setattr(files.os, "write", write)
        room.tick()
        await recorded(store, name, 14)

        assert output_of(recording) == b"one two three "
        assert not recording.refresh().gaps


async def test_a_disk_that_is_too_slow_holds_nothing_up_and_is_a_gap(
    store, monkeypatch
):
    write, gate = os.write, asyncio.Event()
    loop = asyncio.get_running_loop()

    def stall(descriptor: int, data: Any) -> int:
        if not gate.is_set():
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(20)
        return write(descriptor, data)

    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"first")
        recording = await recorded(store, name, 5)
        monkeypatch.setattr(files.os, "write", stall)
        sending = asyncio.create_task(worker.output(b"y" * (RING_BYTES * 3 // 2)))
        await until(lambda: room.uplink.stream.head == 5 + RING_BYTES * 3 // 2)
        await sending
        pen = store._pens[name]
        assert pen.pending < QUEUE_BYTES + 2 * 64 * 1024
        gate.set()
        await worker.answer_keyframe()
        await recorded(store, name, len(worker.data))

        assert len(recording.refresh().gaps) == 1
        gap = recording.summary.gaps[0]
        whole = output_of(recording)
        assert len(whole) == len(worker.data) - (gap.to - gap.offset)


async def test_a_mark_is_a_place_in_the_output_also_when_it_comes_late(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"$ ls\r\n")
        await recorded(store, name, 6)
        await worker.output(b"file\r\n")
        recording = await recorded(store, name, 12)
        room.recorder.mark(6, "ls", "command")
        room.recorder.mark(12, "ls", "command-end", 0)
        await worker.output(b"$ ")
        await recorded(store, name, 14)
        await until(lambda: len(recording.refresh().marks) == 2)

        lines = b"".join(cast_of(recording, 2)).splitlines()
        events = [json.loads(line)[1:] for line in lines[1:]]
        assert events.index(["m", "ls"]) == events.index(["o", "file\r\n"]) - 1
        assert recording.summary.commands()[0]["exit_code"] == 0


async def test_a_late_part_is_exported_from_the_last_screen_before_it(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"a" * (5 * 1024 * 1024))
        await worker.answer_keyframe(at=5 * 1024 * 1024 - 100)
        recording = await recorded(store, name, len(worker.data))
        await until(
            lambda: any(
                isinstance(r, Screen) and r.reason == "seek"
                for r in records(store, name)
            )
        )
        await worker.output(b"end")
        await recorded(store, name, len(worker.data))

        assert shown(recording, start=1e6) == KEYFRAME.decode() + "a" * 100 + "end"
        assert shown(recording, start=0.0).count("a") == 5 * 1024 * 1024
        assert shown(recording) == KEYFRAME.decode() + worker.data.decode()


async def test_where_all_is_recorded_it_is_from_the_first_byte_on(tmp_path):
    kept = RecordingStore(tmp_path, record="always")
    async with running(PARTIES) as house:
        room, worker = await room_of(house, kept), await work(house)
        worker.data = b"the first "
        await worker.hello()
        await worker.output(b"bytes")
        name = room.recorder.id
        recording = await recorded(kept, name, 15)

        assert recording.begin.by == "policy"
        assert shown(recording) == "the first bytes"
        with pytest.raises(DeniedError, match="--record always"):
            await room.run(room.recorder.stop)
    kept.close()


async def test_where_all_is_recorded_it_goes_on_once_there_is_room(tmp_path):
    kept = RecordingStore(tmp_path, record="always", max_bytes=2 * SEGMENT_BYTES)
    async with running(PARTIES) as house:
        room, worker = await room_of(house, kept), await work(house)
        await worker.hello()
        first = room.recorder.id
        await worker.output(os.urandom(3 * SEGMENT_BYTES))
        await recorded(kept, first, 3 * SEGMENT_BYTES)
        kept.sweep(house.hub.clock())
        kept.tell_full()
        await until(lambda: not kept.is_running(kept.get(first)))
        room.tick()
        assert room.recorder.id is None  # there is no room yet

        kept.sweep(house.hub.clock())
        room.tick()
        assert room.recorder.id not in (None, first)
    kept.close()


async def test_a_short_life_is_recorded_too_and_only_once(tmp_path):
    kept = RecordingStore(tmp_path, record="always")
    async with running(PARTIES) as house:
        await room_of(house, kept)
        for _ in range(2):
            worker = await work(house)
            worker.data = b"last words"
            await worker.hello(state="exited", code=0)
            (recording,) = kept.all()
            await ended(kept, recording.begin.id)

        assert [shown(one) for one in kept.all()] == ["last words"]
    kept.close()


async def test_a_start_reads_no_index_of_what_has_ended(store, tmp_path, monkeypatch):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"12345")
        room.recorder.mark(5, "ls", "command")
        await recorded(store, name, 5)
        await room.run(room.recorder.stop)
        await until(lambda: not store.is_running(store.get(name)))
    told = store.describe(store.get(name))
    with monkeypatch.context() as unread:
        unread.delattr(Recording, "refresh")
        again = RecordingStore(tmp_path / "recordings")

        assert again.describe(again.get(name)) == told
        assert (told["commands"], told["bytes"]) == (1, 5)
    assert again.get(name).refresh().cursor == 5
    again.close()


@pytest.mark.parametrize("content", [None, b'{"torn'])
async def test_an_outline_that_is_not_there_is_made_from_the_index(
    store, tmp_path, content
):
    pen = store.open(begin_of("r1"), Told())
    pen.put(End(time=9.0, offset=0, reason="stopped"))
    await pen.settled()
    path = store.get("r1").folder / files.OUTLINE
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    again = RecordingStore(tmp_path / "recordings")

    assert again.describe(again.get("r1"))["state"] == "stopped"
    assert path.read_bytes() == whole
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again.close()


async def test_a_recording_that_cannot_be_read_keeps_no_other_from_going(
    store, tmp_path, monkeypatch, caplog
):
    for name in ("r1", "r2"):
        pen = store.open(begin_of(name), Told())
        pen.put(End(time=9.0, offset=0, reason="stopped"))
        await pen.settled()
    outline = Recording.outline

    def refuse(recording: Recording) -> Any:
        if recording.begin.id == "r1":
            raise OSError(errno.EIO, "Input/output error")
        return outline(recording)

    monkeypatch.setattr(Recording, "outline", refuse)

    assert store.sweep(2e9) == 1
    assert [one.begin.id for one in store.all()] == ["r1"]
    assert "recording r1: Input/output error" in caplog.text


async def test_a_sweep_that_fails_is_told_and_is_not_the_last(
    store, monkeypatch, caplog
):
    sweeps = []

    def sweep(now: float) -> int:
        sweeps.append(now)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(store, "sweep", sweep)
    monkeypatch.setattr(keeping, "SWEEP_SECONDS", 0.0)
    async with running(PARTIES) as house:
        house.hub.recordings = store
        task = asyncio.create_task(keeping.keep_recordings(house.hub))
        await until(lambda: len(sweeps) > 1)
        task.cancel()
    assert "not kept in bounds: Input/output error" in caplog.text


async def test_a_pin_that_cannot_be_read_keeps_its_recording(store):
    pen = store.open(begin_of("r1"), Told())
    pen.put(End(time=9.0, offset=0, reason="stopped"))
    await pen.settled()
    (store.get("r1").folder / files.PIN).write_bytes(b"")

    assert store.sweep(2e9) == 0


async def test_what_was_full_begins_again_only_where_there_is_some_room(tmp_path):
    bounded = RecordingStore(tmp_path, max_bytes=10_000)
    pen = bounded.open(begin_of("r1"), Told())
    painted = Screen(time=0.0, offset=0, size=0, cols=80, rows=24, reason="start")
    pen.put(painted, b"x" * 9_400)
    await pen.settled()
    bounded.max_bytes = 9_000
    bounded.sweep(0.0)
    assert bounded.is_full
    bounded.max_bytes = 9_800

    bounded.sweep(0.0)
    assert bounded.is_full
    bounded.max_bytes = 12_000
    bounded.sweep(0.0)
    assert not bounded.is_full
    bounded.close()


async def test_old_recordings_go_pinned_and_running_ones_stay(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        names = []
        for number in range(3):
            names.append(await start(room, worker))
            await worker.output(b"12345")
            await recorded(store, names[-1], 5 * number + 5)
            if number < 2:
                await room.run(room.recorder.stop)
                await ended(store, names[-1])
        store.set_pin(store.get(names[1]), "ana", "incident 7", house.hub.clock())
        folder = store.get(names[0]).folder

        assert store.sweep(house.hub.clock() + 29 * 86_400) == 0
        assert store.sweep(house.hub.clock() + 31 * 86_400) == 1
        assert {r.begin.id for r in store.all()} == set(names[1:])
        assert not folder.exists()


async def test_over_the_disk_bound_the_oldest_go_then_nothing_more_is_recorded(
    tmp_path,
):
    kept = RecordingStore(tmp_path, max_bytes=2 * SEGMENT_BYTES)
    async with running(PARTIES) as house:
        room, worker = await room_of(house, kept), await work(house)
        await worker.hello()
        first = await start(room, worker)
        await worker.output(os.urandom(SEGMENT_BYTES))
        await recorded(kept, first, SEGMENT_BYTES)
        await room.run(room.recorder.stop)
        await ended(kept, first)
        second = await start(room, worker)
        await worker.output(os.urandom(3 * SEGMENT_BYTES))
        await recorded(kept, second, 4 * SEGMENT_BYTES)

        assert kept.sweep(house.hub.clock()) == 1
        kept.tell_full()
        await ended(kept, second)

        assert [r.begin.id for r in kept.all()] == [second]
        assert kept.describe(kept.get(second))["state"] == "full"
        with pytest.raises(DeniedError, match="as much disk"):
            await room.run(room.recorder.start, "ana")
    kept.close()


async def test_one_operator_word_is_all_it_takes_to_type_and_nothing_of_it_is_kept(
    store, tmp_path
):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        typist = await house.connect("terminal/vm", "ana", OPERATOR)
        await worker.answer_keyframe()
        await typist.read_bytes(len(KEYFRAME))
        await typist.send(b"hunter2\r")
        await worker.peer.until("input-from")
        await worker.output(b"logged in")
        recording = await recorded(store, name, 9)
        await room.run(room.recorder.stop)
        await ended(store, name)

        content = b"".join(path.read_bytes() for path in recording.folder.iterdir())
        assert b"hunter2" not in content
        assert isinstance(records(store, name)[0].time, float)
        assert not [r for r in records(store, name) if isinstance(r, Gap)]


async def test_what_is_read_at_once_after_an_end_is_whole(store):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        name = await start(room, worker)
        await worker.output(b"last words")
        await until(lambda: room.position.offset == 10 and room.recorder.id == name)
        await until(lambda: room.recorder._tape.cursor == 10)
        await room.run(room.recorder.stop)

        await store.settled(store.get(name))

        assert output_of(store.get(name)) == b"last words"
        assert store.describe(store.get(name))["state"] == "stopped"
        assert not store.is_running(store.get(name))
