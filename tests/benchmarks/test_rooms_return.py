"""
How a server with a long log and 1,000 clients comes back after kill -9.

Prints one line of JSON per figure. Of a time only the promise is asserted: every
client is back within 15 s, and resumes.
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.trust.crowd import crowd, kill_and_await_all
from tests.trust.server_process import served
from vibehq_nb.core.codec import encode
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import EventLog
from vibehq_nb.core.messages import Event
from vibehq_server.room_logs.sqlite import SqliteRoomLog

GUESTS = 1000
EVENTS = 100_000
ROOM = RoomKey("ops", "main")


@pytest.mark.timeout(300)
async def test_a_thousand_clients_are_back_within_15_seconds_of_a_kill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    await fill(tmp_path / "data" / "rooms.sqlite3")
    async with served(tmp_path) as server, crowd(server, GUESTS) as guests:
        begun = time.monotonic()
        seen = await kill_and_await_all(server, guests)
        assert time.monotonic() - begun < 60
    figures = {name: round(value, 2) for name, value in asdict(seen).items()}
    with capsys.disabled():
        line = {"figure": "rooms-return", "clients": GUESTS, "events": EVENTS}
        sys.stdout.write(json.dumps(line | figures) + "\n")

    assert seen.resumed == GUESTS
    assert seen.all_back_seconds < 15


async def fill(path: Path) -> None:
    """Write a log of 100,000 events, its state saved a little before its end."""
    log = SqliteRoomLog(path)
    opened = await log.open(ROOM)
    term = await log.claim(ROOM)
    tail = EventLog(str(ROOM), opened.epoch)
    for start in range(0, EVENTS, 1000):
        batch = [
            tail.append(
                encode(Event(name="e", data={"n": n}, by="ana", at="", offset=n + 1)),
                0,
            )
            for n in range(start, start + 1000)
        ]
        await log.append(ROOM, term, batch)
    await log.save(ROOM, EVENTS - 250, b'{"state":{},"answers":{}}')
    await log.close()
