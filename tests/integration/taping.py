"""Recordings under a scripted worker: how a test begins one and reads its files."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.integration.house import House, running
from tests.integration.scripted_worker import Worker, work
from tests.integration.worker_rooms import until
from vibehq_nb.core.asciicast import CastEvent, decode_cast
from vibehq_nb.core.recording import (
    Begin,
    Output,
    Record,
    Segment,
)
from vibehq_server.recordings.cast import cast_of
from vibehq_server.recordings.files import read_records, segment_path
from vibehq_server.recordings.kept import Recording
from vibehq_server.recordings.store import RecordingStore
from vibehq_server.rooms.lobby import LobbyRoom
from vibehq_server.rooms.terminal import TerminalRoom
from vibehq_server.rooms.terminal_log import TerminalLogRoom

PARTIES = {
    "terminal": TerminalRoom,
    "terminal-log": TerminalLogRoom,
    "lobby": LobbyRoom,
}


async def room_of(house: House, store: RecordingStore | None) -> Any:
    house.hub.recordings = store
    return await house.hub.room("terminal", "vm")


async def start(room: Any, worker: Worker, user: str = "ana") -> str:
    """Start a recording, whose screen is answered with the usual keyframe."""
    started: str = await room.run(room.recorder.start, user)
    await worker.answer_keyframe()
    return started


@asynccontextmanager
async def taping(
    store: RecordingStore,
) -> AsyncIterator[tuple[House, Any, Worker, str]]:
    """A server whose terminal is recorded, its room, its worker and the recording."""
    async with running(PARTIES) as house:
        room, worker = await room_of(house, store), await work(house)
        await worker.hello()
        yield house, room, worker, await start(room, worker)


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
