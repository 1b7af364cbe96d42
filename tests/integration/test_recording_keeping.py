"""How recordings are found again, how long they stay, and when there is room."""

import asyncio
import errno
import os
import stat
from typing import Any

import pytest

from tests.integration.house import running
from tests.integration.scripted_worker import work
from tests.integration.taping import (
    PARTIES,
    Told,
    begin_of,
    ended,
    recorded,
    room_of,
    start,
    taping,
)
from tests.integration.worker_rooms import until
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.recording import (
    SEGMENT_BYTES,
    End,
    Screen,
)
from vibehq_server.recordings import files, keeping
from vibehq_server.recordings.kept import Recording
from vibehq_server.recordings.store import RecordingStore


async def test_a_start_reads_no_index_of_what_has_ended(store, tmp_path, monkeypatch):
    async with taping(store) as (_, room, worker, name):
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
