"""What ``docs/write-a-room.md`` shows runs, and the names it lists are there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import vibehq_server
from tests.integration.app_server import send
from tests.integration.house import running
from vibehq_server import Connection, Room, Rooms
from vibehq_server.storage import Storage

PAGE = (Path(__file__).parents[2] / "docs" / "write-a-room.md").read_text()


def example() -> str:
    found = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_room_on_the_page_does_what_the_page_says(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(example(), "polls.py", "exec"), names)
    rooms: Rooms = names["ROOMS"]
    time = [1_000_000.0]
    async with running(
        rooms.parties(), clock=lambda: time[0], sql_folder=tmp_path
    ) as house:
        ana = await house.connect("poll/lunch", _pk="ana")
        screen = await house.connect("poll/lunch", _pk="s", screen="1")
        assert [await ana.next(), await screen.next()] == [{}, {}]

        await ana.send("soup")

        assert [await ana.next(), await screen.next()] == [{"ana": "soup"}] * 2
        port = int(house.url.rpartition(":")[2])
        assert (await send(port, "GET", "/parties/poll/lunch")).json() == {
            "ana": "soup"
        }
        room = await house.hub.room("poll", "lunch")
        assert await room.storage.get("votes") == {"ana": "soup"}
        time[0] += 3600
        await room.wakeups.ring()
        assert await screen.socket.recv() == "closed"
        await ana.send("salad")
        assert json.loads(await ana.socket.recv()) == {"ana": "salad"}


def test_the_room_on_the_page_is_short() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 26


def _our_names() -> list[str]:
    table = re.findall(r"^\|.*\| `([^`|]+)` \|.*\|$", PAGE, re.MULTILINE)
    return [re.split(r"[( ]", name)[0] for name in table]


@pytest.mark.parametrize("name", _our_names())
def test_a_name_on_the_page_is_there(name: str) -> None:
    owner, _, rest = name.rpartition(".")
    homes = {"connection": Connection, "self": Room, "self.storage": Storage, "": Room}

    assert hasattr(homes[owner], rest) or rest in vibehq_server.__all__


def test_the_page_lists_the_names() -> None:
    assert len(_our_names()) > 20
