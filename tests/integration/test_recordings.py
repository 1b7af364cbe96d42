"""Recording a terminal: a scripted worker, a real server, real files."""

import asyncio
import hashlib
import json
import os
import stat
from typing import Any

import pytest

from tests.integration.house import OPERATOR, running
from tests.integration.scripted_worker import KEYFRAME, work
from tests.integration.taping import (
    PARTIES,
    ended,
    output_of,
    recorded,
    records,
    room_of,
    shown,
    start,
    taping,
)
from tests.integration.worker_rooms import until
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.recording import (
    SEGMENT_BYTES,
    Gap,
    Screen,
)
from vibehq_server.recordings import files
from vibehq_server.recordings.cast import cast_of
from vibehq_server.recordings.files import segment_path
from vibehq_server.recordings.store import RecordingStore


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
    async with taping(store) as (_, _, _, name):
        recording = await recorded(store, name, 0)

        modes = {stat.S_IMODE(p.stat().st_mode) for p in recording.folder.iterdir()}
        assert modes == {0o600}
        assert stat.S_IMODE(recording.folder.stat().st_mode) == 0o700


async def test_a_flood_is_recorded_byte_by_byte_in_segments_of_a_mebibyte(store):
    async with taping(store) as (_, room, worker, name):
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
    async with taping(store) as (house, room, worker, name):
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
    async with taping(store) as (_, _, worker, name):
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
    async with taping(store) as (house, room, worker, name):
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
    async with taping(store) as (house, room, worker, name):
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
    async with taping(store) as (house, room, worker, name):
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
    async with taping(store) as (house, room, worker, name):
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
    async with taping(store) as (house, _, worker, name):
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
    async with taping(store) as (house, _, worker, name):
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


async def test_a_mark_is_a_place_in_the_output_also_when_it_comes_late(store):
    async with taping(store) as (_, room, worker, name):
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
    async with taping(store) as (_, _, worker, name):
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


async def test_one_operator_word_is_all_it_takes_to_type_and_nothing_of_it_is_kept(
    store, tmp_path
):
    async with taping(store) as (house, room, worker, name):
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
    async with taping(store) as (_, room, worker, name):
        await worker.output(b"last words")
        await until(lambda: room.position.offset == 10 and room.recorder.id == name)
        await until(lambda: room.recorder._tape.cursor == 10)
        await room.run(room.recorder.stop)

        await store.settled(store.get(name))

        assert output_of(store.get(name)) == b"last words"
        assert store.describe(store.get(name))["state"] == "stopped"
        assert not store.is_running(store.get(name))
