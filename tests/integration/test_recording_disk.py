"""What a recording says of a disk that refuses, or is slow."""

import asyncio
import errno
import os
import threading
from typing import Any

import pytest

from tests.integration.house import running
from tests.integration.scripted_worker import work
from tests.integration.taping import (
    PARTIES,
    Told,
    begin_of,
    ended,
    output_of,
    recorded,
    room_of,
    start,
    taping,
)
from tests.integration.worker_rooms import until
from vibehq_nb.core.recording import (
    SEGMENT_BYTES,
    End,
    Mark,
    Screen,
)
from vibehq_nb.core.stream import RING_BYTES
from vibehq_server.recordings import files
from vibehq_server.recordings import pen as pens
from vibehq_server.recordings.pen import LOST_MARKS, QUEUE_BYTES, Pen
from vibehq_server.rooms.tape import Tape


class Disk:
    """The disk of the recordings: takes all, or refuses what is written."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._write = os.write
        self.has_refused = threading.Event()

    def refuse(self, after: int = 0) -> None:
        """Refuse everything, though *after* bytes of it may arrive."""

        def write(descriptor: int, data: Any) -> int:
            self._write(descriptor, bytes(data)[:after])
            self.has_refused.set()
            raise OSError(errno.ENOSPC, "No space left on device")

        self._patch.setattr(files.os, "write", write)

    def take(self) -> None:
        """Take all again."""
        self._patch.setattr(files.os, "write", self._write)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def test_a_disk_that_is_full_is_a_gap_once_it_takes_again(store, disk):
    async with taping(store) as (_, room, worker, name):
        await worker.output(b"kept ")
        recording = await recorded(store, name, 5)
        disk.refuse()
        await worker.output(b"lost ")
        await until(lambda: store._pens[name].is_failing)
        await worker.output(b"x" * (RING_BYTES + 100_000))
        await until(lambda: room.uplink.stream.oldest > 10)
        disk.take()
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
    store, monkeypatch, how, disk
):
    async with taping(store) as (house, room, worker, name):
        await worker.output(b"kept ")
        recording = await recorded(store, name, 5)
        # The room has handed all of it over, and hears of no failure before the end.
        monkeypatch.setattr(Tape, "on_failure", lambda *_: None)
        disk.refuse()
        await worker.output(b"lost ")
        await until(disk.has_refused.is_set)
        disk.take()
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


async def test_an_end_that_the_disk_refuses_is_written_once_it_takes_again(store, disk):
    async with taping(store) as (_, room, worker, name):
        await worker.output(b"kept ")
        recording = await recorded(store, name, 5)
        pen = store._pens[name]
        disk.refuse()
        await worker.output(b"lost ")
        await until(lambda: pen.is_failing)
        await room.run(room.recorder.stop)
        await until(lambda: pen.last)
        assert store.is_running(recording)  # nothing goes on with it, or removes it
        disk.take()
        await until(lambda: not store.is_running(recording))

        (gap,) = recording.refresh().gaps
        assert (gap.offset, gap.to) == (5, 10)
        assert store.describe(recording)["state"] == "stopped"
        assert pen.files is None


async def test_a_recording_of_which_nothing_was_written_states_all_as_missing(
    store, disk
):
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        disk.refuse()
        name = await start(room, worker)
        await worker.output(b"lost ")
        await until(lambda: room.uplink.stream.head == 5)
        await until(lambda: store._pens[name].is_failing)
        await room.run(room.recorder.stop)
        disk.take()
        recording = await ended(store, name)

        assert [(gap.offset, gap.to) for gap in recording.summary.gaps] == [(0, 5)]


async def test_what_was_stopped_does_not_go_on_with_the_next_link(store):
    async with taping(store) as (house, room, _, name):
        await room.run(room.recorder.stop)
        await until(lambda: not store.is_running(store.get(name)))
        again = await work(house)
        await again.hello()

        assert room.recorder.id is None


async def test_what_the_disk_refused_beside_output_is_there_once_it_takes_again(
    store, monkeypatch, disk
):
    async with taping(store) as (_, room, worker, name):
        await worker.output(b"narrow")
        recording = await recorded(store, name, 6)
        # The room hands it over and hears of no failure meanwhile.
        with monkeypatch.context() as deaf:
            deaf.setattr(Tape, "on_failure", lambda *_: None)
            disk.refuse()
            resized = {"type": "resized", "cols": 120, "rows": 40, "offset": 6}
            await worker.peer.send(resized)
            await worker.peer.send({"type": "title", "text": "wide"})
            await until(lambda: room.uplink.names)
            room.recorder.mark(6, "a note")
            await until(lambda: len(store._pens[name].refused) == 2)
        disk.take()
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
    store, monkeypatch, disk
):
    monkeypatch.setattr(pens, "REFUSED_HELD", 2)
    pen = store.open(begin_of("r1"), Told())
    disk.refuse()
    for number in range(3):
        pen.put(Mark(time=0.0, offset=0, label=str(number)))
    await until(lambda: pen.has_lost)
    disk.take()
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
    async with taping(store) as (house, room, worker, name):
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


async def test_what_the_disk_refused_for_a_moment_only_is_not_missing(store, disk):
    async with taping(store) as (_, room, worker, name):
        await worker.output(b"one ")
        recording = await recorded(store, name, 4)
        disk.refuse(after=1)
        await worker.output(b"two ")
        await until(lambda: store._pens[name].is_failing)
        await worker.output(b"three ")
        disk.take()
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

    async with taping(store) as (_, room, worker, name):
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
