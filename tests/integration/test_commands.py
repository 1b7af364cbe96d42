"""Commands as data: what ran in a shared terminal, by whom. Real shells, real rooms."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.attached import Place, place
from vibehq_nb.client.errors import CommandFailedError, TerminalBusyError
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.client.replica import Output
from vibehq_nb.client.session import TerminalSession
from vibehq_nb.client.tables import COMMAND_COLUMNS, commands_frame
from vibehq_nb.client.terminals import AsyncTerminal
from vibehq_nb.core.errors import VibeError
from vibehq_nb.core.ids import Position

pytestmark = pytest.mark.timeout(90)

SHELLS = pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
Row = dict[str, Any]


def path_of(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"needs a package: {shell}")
    return path


async def person(here: Place, user: str, terminal: str) -> AsyncTerminal:
    token = await here.grant(user, "viewer", "operator")
    return AsyncTerminal(HttpApi(Server(here.api.server.url, token)), terminal)


async def until_true(condition: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(30):
        while True:
            try:
                if found := await condition():
                    return found
            except VibeError:
                pass  # the server is away for a moment
            await asyncio.sleep(0.05)


async def rows_of(term: AsyncTerminal, ended: int) -> list[Row]:
    """Return the commands once so many have ended."""

    async def rows() -> list[Row]:
        found = await term.commands(1000)
        is_enough = sum(row["state"] == "ended" for row in found) >= ended
        return found if is_enough else []

    found: list[Row] = await until_true(rows)
    return found


async def printed(term: AsyncTerminal, row: Row) -> bytes:
    """Return the terminal's bytes between the row's two places."""
    start = Position(row["epoch"], row["output_start"])
    length = row["output_end"] - row["output_start"]
    found = bytearray()
    async with TerminalSession(term.api.server, term.id, position=start) as session:

        def keep(event: object) -> None:
            if isinstance(event, Output):
                found.extend(event.content)

        session.listen(keep)
        assert await session.until(lambda: len(found) >= length, 10)
    return bytes(found[:length])


@SHELLS
async def test_t15_what_runs_is_data_with_folder_code_time_and_place(
    tmp_path: Path, shell: str
) -> None:
    async with place(tmp_path, shell=path_of(shell)) as here:
        term = await person(here, "ana", await here.open())
        await term.run("cd /usr")
        await term.run("echo größer; sh -c 'exit 3'", check=False)
        await term.send("sleep 0.5\r")
        rows = await rows_of(term, 3)
        output = await printed(term, rows[1])
        await term.detach()

    assert [row["command"] for row in rows] == [
        "cd /usr",
        "echo größer; sh -c 'exit 3'",
        "sleep 0.5",
    ]
    assert [row["exit_code"] for row in rows] == [0, 3, 0]
    assert [row["cwd"] for row in rows] == [str(tmp_path / "home"), "/usr", "/usr"]
    assert {row["user"] for row in rows} == {"ana"}
    assert output.decode().endswith("größer\r\n")
    assert rows[2]["duration_s"] > 0.1
    assert rows[0]["started_at"] <= rows[1]["started_at"] <= rows[2]["started_at"]
    frame = commands_frame(rows)
    assert {name: str(frame[name].dtype) for name in frame} == COMMAND_COLUMNS


@SHELLS
async def test_t16_run_gives_output_and_exit_code_in_every_shell(
    tmp_path: Path, shell: str
) -> None:
    lines = "for i in 1 2 3\n    echo $i\nend"
    if shell != "fish":
        lines = "for i in 1 2 3; do\n\techo $i\ndone"
    async with place(tmp_path, shell=path_of(shell)) as here:
        term = await person(here, "ana", await here.open())
        empty = await term.run("true")
        plain = await term.run("printf 'no line feed'")
        loop = await term.run(lines)
        two = await term.run("echo one\nsh -c 'exit 4'", check=False)
        many = await term.run("seq 20000")
        with pytest.raises(CommandFailedError, match=r"exited 7 on .*\n  why\n"):
            await term.run("echo why; sh -c 'exit 7'")
        with pytest.raises(CommandFailedError, match="without telling its exit code"):
            await term.run("echo )")
        for number in range(20):
            assert (await term.run(f"echo {number}")).output == str(number)
        newest = (await rows_of(term, 26))[-1]
        await term.detach()

    assert (empty.exit_code, empty.output) == (0, "")
    assert plain.output == "no line feed"
    assert loop.output == "1\n2\n3"
    assert (two.exit_code, two.output) == (4, "one")
    assert many.lines == [str(number) for number in range(1, 20_001)]
    assert not many.used_sentinel
    assert (newest["command"], newest["exit_code"]) == ("echo 19", 0)


async def test_t15_commands_of_two_users_are_each_ones_own(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        terminal = await here.open()
        ana = await person(here, "ana", terminal)
        bob = await person(here, "bob", terminal)
        await ana.run("echo of ana")
        await bob.run("echo of bob")
        await ana.send("sleep 0.5\r")
        await bob.take_control()
        await bob.send("echo again of bob\r")
        rows = await rows_of(ana, 4)
        await ana.detach()
        await bob.detach()

    assert [(row["user"], row["command"]) for row in rows] == [
        ("ana", "echo of ana"),
        ("bob", "echo of bob"),
        ("ana", "sleep 0.5"),
        ("bob", "echo again of bob"),
    ]


async def test_t15_no_command_is_lost_or_doubled_when_the_room_server_is_killed(
    tmp_path: Path,
) -> None:
    paste = "\n".join(f"sleep 0.05; (exit {number})" for number in range(60))
    async with place(tmp_path) as here:
        terminal = await here.open()
        term = await person(here, "ana", terminal)
        await term.run("true")
        await term.send(f"\x1b[200~{paste}\x1b[201~\r")
        for wanted in (10, 30):
            await rows_of(term, wanted)
            await here.server.restart()
            await here.online()
        rows = await rows_of(term, 61)
        log = await term.log()
        await term.detach()

    assert [row["number"] for row in rows] == list(range(1, 62))
    assert [row["exit_code"] for row in rows[1:]] == list(range(60))
    assert {row["user"] for row in rows} <= {"ana", None}
    for kind in ("command-began", "command-done"):
        numbers = [entry["number"] for entry in log if entry["type"] == kind]
        assert numbers == list(range(1, 62))


async def test_t15_the_end_of_a_command_whose_worker_or_shell_died_is_unknown(
    tmp_path: Path,
) -> None:
    async with place(tmp_path) as here:
        term = await person(here, "ana", await here.open())
        other = await person(here, "ana", await here.open("other"))
        await term.run("true")
        await term.send("sleep 60\r")
        await other.run("true")
        await other.send("kill -9 $$\r")

        async def states() -> bool:
            ran = [(await one.commands())[-1]["state"] for one in (term, other)]
            return ran == ["running", "unknown"]

        await until_true(states)
        here.workers[-1].kill()

        async def is_unknown() -> bool:
            return bool((await term.commands())[-1]["state"] == "unknown")

        await until_true(is_unknown)
        rows = await term.commands()
        await here.server.restart()
        again = await term.commands()
        await term.detach()
        await other.detach()

    assert [row["exit_code"] for row in rows] == [0, None]
    assert rows == again


async def test_t16_a_program_in_front_is_named_with_who_runs_it_and_since_when(
    tmp_path: Path,
) -> None:
    async with place(tmp_path) as here:
        terminal = await here.open()
        ana = await person(here, "ana", terminal)
        bob = await person(here, "bob", terminal)
        await bob.run("true")
        await bob.send("sleep 60\r")

        async def sleeps() -> bool:
            return bool((await ana.foreground()).get("name") == "sleep")

        await until_true(sleeps)
        with pytest.raises(TerminalBusyError) as told:
            await ana.run("echo never")
        await bob.send("\x03")
        await ana.detach()
        await bob.detach()

    assert str(told.value).startswith(f"sleep is running in {terminal} (bob, 00:0")


async def test_a_late_viewer_is_told_the_title_and_the_folder(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        terminal = await here.open()
        ana = await person(here, "ana", terminal)
        await ana.run("cd /usr/bin")
        bob = await person(here, "bob", terminal)
        session = TerminalSession(bob.api.server, terminal)
        seen: list[Any] = []
        session.listen(seen.append)
        async with session:
            await session.caught_up()
        await ana.detach()

    told = {type(event).__name__: event for event in seen}
    assert told["Cwd"].path == "/usr/bin"
    assert told["Title"].text.endswith("/usr/bin")
