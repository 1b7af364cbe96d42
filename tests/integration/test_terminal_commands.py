"""What a terminal's room makes of what its worker tells of commands."""

from typing import Any

from tests.integration.house import House, running
from tests.integration.scripted_worker import Worker, work
from tests.integration.worker_rooms import until
from vibehq_nb.core.messages import PROTOCOL
from vibehq_server.rooms.terminal import TerminalRoom
from vibehq_server.rooms.terminal_log import TerminalLogRoom, log_key

PARTIES = {"terminal": TerminalRoom, "terminal-log": TerminalLogRoom}
NOW = 1_800_000_000.0
HELLO = {
    "type": "hello",
    "protocol": PROTOCOL,
    "epoch": "e1",
    "oldest": 0,
    "offset": 0,
    "cols": 80,
    "rows": 24,
    "state": "running",
    "screen": "vt",
    "inputs": {},
}


def started(number: int, at_byte: int, **changes: Any) -> dict[str, Any]:
    message = {
        "type": "command-started",
        "number": number,
        "at_byte": at_byte,
        "command": f"echo {number}",
        "cwd": "/srv",
        "session": "",
        "age_s": 0.0,
    }
    return message | changes


def ended(number: int, at_byte: int, **changes: Any) -> dict[str, Any]:
    message = {
        "type": "command-ended",
        "number": number,
        "at_byte": at_byte,
        "exit_code": 0,
        "output_end": at_byte - 3,
        "duration_s": 1.5,
    }
    return message | changes


async def rows(house: House, count: int, live: str | None = "e1") -> list[Any]:
    """Return the commands once so many entries of them are stored."""
    room: Any = await house.hub.room("terminal", "vm")
    log: Any = await house.hub.room(*log_key("vm"))
    await until(lambda: log.log.head >= count)
    await room.notes.flush()
    found: list[Any] = await log.run(log.board.rows, 1000, live, NOW)
    return found


async def told(worker: Worker, *messages: dict[str, Any]) -> None:
    for message in messages:
        await worker.peer.send(message)


async def test_times_are_the_servers_whatever_the_clock_of_the_worker() -> None:
    async with running(PARTIES, clock=lambda: NOW) as house:
        worker = await work(house)
        await worker.hello()
        await told(worker, started(1, 10, age_s=90.5), ended(1, 20, duration_s=-3.0))
        await told(worker, started(2, 30, age_s=-1e9), ended(2, 40))
        await told(worker, started(3, 50, age_s=1e300))
        found = await rows(house, 5)

    assert [row["started_at"] for row in found] == [
        "2027-01-15T07:58:29.500Z",
        "2027-01-15T08:00:00.000Z",
        "1970-01-01T00:00:00.000Z",
    ]
    assert [row.get("duration_s") for row in found] == [0.0, 1.5, None]
    assert [row["state"] for row in found] == ["ended", "ended", "running"]
    assert found[2]["running_s"] == NOW


async def test_what_was_recorded_is_neither_asked_for_nor_recorded_again() -> None:
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        await told(worker, started(1, 10), ended(1, 20), started(2, 30))
        await rows(house, 3)
        await worker.peer.socket.close()
        again = await work(house)
        await again.peer.send(HELLO)
        since = await again.peer.until("since")
        await told(again, started(1, 10), ended(1, 20), started(2, 30), ended(2, 40))
        found = await rows(house, 4)

    assert since["commands"] == 30
    assert [(row["number"], row["state"]) for row in found] == [
        (1, "ended"),
        (2, "ended"),
    ]


async def test_what_another_life_of_the_terminal_left_is_unknown() -> None:
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        await told(worker, started(1, 10))
        await rows(house, 1)
        await worker.hello(epoch="e2")
        await told(worker, started(1, 10), ended(1, 20), started(2, 30))
        found = await rows(house, 4, live="e2")
        away = await rows(house, 4, live=None)

    assert [(row["epoch"], row["state"]) for row in found] == [
        ("e1", "unknown"),
        ("e2", "ended"),
        ("e2", "running"),
    ]
    assert away[-1]["state"] == "unknown"


async def test_the_log_keeps_the_newest_thousand_commands_at_hand() -> None:
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        for number in range(1, 1101):
            await told(worker, started(number, 10 * number))
            if number % 275 == 0:
                await rows(house, number)
        found = await rows(house, 1100)

    assert [row["number"] for row in found] == list(range(101, 1101))
    assert {row["state"] for row in found[:-1]} == {"unknown"}
