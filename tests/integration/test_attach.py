"""``vibehq terminal attach``: a real terminal around it, a real server and worker."""

import asyncio
import hashlib
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.attached import VIBEHQ, Place, place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Place]:
    async with place(tmp_path) as running:
        yield running


async def test_keys_go_in_output_comes_out_and_the_terminal_is_as_it_was_before(
    here: Place,
) -> None:
    name = await here.open()
    async with here.attach(name) as mine:
        before = mine.modes()
        await mine.prompts()
        mine.type("echo sum=$((40+2))\r")
        await mine.shows("sum=42")
        assert mine.modes() != before
        mine.type(b"\x1d")
        code = await mine.ended()
        assert mine.modes() == before
        await mine.shows("w runs on")

    assert code == 0
    found = await here.call("GET", "/api/terminals/w")
    assert found["state"] == "running"


async def test_every_line_is_there_once_over_a_kill_and_return_of_the_server(
    here: Place,
) -> None:
    name = await here.open()
    async with here.attach(name, rows=30) as mine:
        await mine.prompts()
        mine.type("for i in {1..1500}; do echo line-$i; sleep 0.004; done\r")
        await mine.until(lambda: b"line-200" in mine.output)
        here.server.kill()
        await mine.says("the connection is lost")
        await here.server.start()
        await mine.says("connected again", 30)
        await mine.shows("line-1500", 30)
        mine.type(b"\x1d")
        await mine.ended()

        printed = [line for line in mine.lines if line.startswith("line-")]
        assert printed == [f"line-{number}" for number in range(1, 1501)]


async def test_the_exit_code_of_the_shell_is_the_commands(here: Place) -> None:
    seven = await here.open("seven", command=["sh", "-c", "echo up; read x; exit 7"])
    killed = await here.open("killed", command=["sh", "-c", "echo in; sleep 60"])
    async with here.attach(seven) as mine:
        await mine.shows("up")
        mine.type("\r")
        assert await mine.ended() == 7
        await mine.shows("w:seven ended with code 7")
    async with here.attach(killed) as mine:
        await mine.shows("in")
        await here.call("POST", f"/api/terminals/{killed}/signal", {"signal": "KILL"})
        assert await mine.ended() == 128 + signal.SIGKILL
        await mine.shows("ended by signal KILL")


async def test_another_key_can_leave_and_the_usual_one_is_typed_then(
    here: Place,
) -> None:
    name = await here.open("od", command=["sh", "-c", "echo up; od -An -c -w1"])
    async with here.attach(name, "--detach-key", "ctrl-p") as mine:
        await mine.shows("up")
        mine.type(b"\x1d\r\x04")
        await mine.shows("035")
        mine.type(b"\x10")
        assert await mine.ended() == 0


async def test_who_types_is_told_and_a_key_takes_control(here: Place) -> None:
    name = await here.open()
    token = await here.grant("ana", "viewer", "operator")
    async with here.attach(name, token=token) as hers, here.attach(name) as mine:
        await hers.prompts()
        await mine.prompts()
        hers.type("echo by-ana\r")
        await mine.shows("by-ana")
        mine.type("x")
        await mine.says("ana is typing here; nothing of yours was typed. Ctrl-T takes")
        mine.type(b"\x14")
        await mine.says("you type here now")
        mine.type("echo by-me\r")
        await hers.shows("by-me")
        assert "xecho" not in hers.screen.text()


async def test_one_who_may_only_watch_types_nothing_and_sets_no_size(
    here: Place,
) -> None:
    name = await here.open()
    token = await here.grant("eve", "viewer")
    async with here.attach(name) as mine:
        await mine.prompts()
        mine.type("stty size\r")
        await mine.shows("24 80")
        async with (
            here.attach(name, token=token, cols=60, rows=10) as hers,
            here.attach(name, "--read-only", cols=61, rows=11) as watching,
        ):
            for one in (hers, watching):
                await one.shows("stty size")
                one.type("rm -rf x\r")
                await one.says("read-only, nothing was typed; Ctrl-] leaves")
                one.resize(50, 9)
        mine.type("clear; stty size\r")
        await mine.until(lambda: mine.screen.text().count("24 80") == 1)
        assert "rm -rf" not in mine.screen.text()


async def test_the_size_of_the_one_who_types_counts(here: Place) -> None:
    name = await here.open()
    async with here.attach(name, cols=100, rows=33) as mine:
        await mine.prompts()
        mine.type("stty size\r")
        await mine.shows("33 100")
        mine.resize(90, 20)
        await mine.until(lambda: "size" in mine.screen.text())
        async with asyncio.timeout(10):
            while True:
                found = await here.call("GET", "/api/terminals/w")
                if (found["cols"], found["rows"]) == (90, 20):
                    break


async def test_answers_of_the_terminal_are_typed_by_the_writer_alone(
    here: Place,
) -> None:
    name = await here.open()
    token = await here.grant("ana", "viewer", "operator")
    async with here.attach(name) as mine, here.attach(name, token=token) as other:
        for one, row in ((mine, 7), (other, 9)):
            await one.prompts()
            one.answers[b"\x1b[6n"] = b"\x1b[%d;1R" % row
            one.answers[b"\x1b[c"] = b"\x1b[?6%dc" % row
        mine.type("stty -echo; printf '\\e[6n'; IFS= read -rsdR a; ")
        mine.type("printf '\\e[c'; IFS= read -rsdc b; stty echo; declare -p a b\r")
        await mine.shows("declare -- b=")
        mine.type("echo done\r")
        await other.shows("done")

        text = other.screen.text()
        assert "[7;1" in text
        assert "?67" in text
        assert "[9;1" not in text
        assert "?69" not in text


async def test_a_frozen_terminal_is_shown_as_frozen(here: Place) -> None:
    name = await here.open()
    async with here.attach(name) as mine:
        await mine.prompts()
        await here.call("POST", f"/api/terminals/{name}/freeze")
        await mine.says("frozen: it takes no keys until it thaws")
        mine.type("x")
        await mine.says("frozen: nothing was typed")
        await here.call("POST", f"/api/terminals/{name}/thaw")
        await mine.says("it goes on")
        mine.type("echo awake\r")
        await mine.shows("awake")


async def test_a_paste_of_a_megabyte_arrives_whole(here: Place) -> None:
    line = "0123456789abcdef" * 4
    name = await here.open(
        "sum", command=["sh", "-c", "stty raw -echo; echo up; head -c 1000000 | md5sum"]
    )
    text = (line * 20_000)[:1_000_000].encode()
    async with here.attach(name) as mine:
        await mine.shows("up")
        for at in range(0, len(text), 4096):
            await asyncio.to_thread(mine.type, text[at : at + 4096])
        # In the scrollback: the shell ends with this, and the screen moves up then.
        wanted = f"{hashlib.md5(text).hexdigest()}  -"
        await mine.until(lambda: any(wanted in line for line in mine.lines), 30)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("attach", "w"), "attach needs a terminal to type in and to show what comes"),
        (("attach", "ww"), "There is no terminal 'ww'. Did you mean w?"),
        (("attach", "w", "--detach-key", "enter"), "say one like ctrl-] or ctrl-p"),
    ],
)
async def test_what_cannot_be_attached_is_one_sentence(
    here: Place, words: tuple[str, ...], sentence: str
) -> None:
    await here.open()
    done = await asyncio.to_thread(
        subprocess.run,
        [*VIBEHQ, "terminal", *words, "--data", str(here.data)],
        env=here.environment(),
        input=b"ls\n",
        capture_output=True,
        check=False,
    )

    assert sentence in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert done.returncode in (1, 2)


async def test_a_terminal_is_opened_and_attached_in_one_command(here: Place) -> None:
    async with here.cli("terminal", "open", "--name", "new", "--attach") as mine:
        await mine.prompts()
        mine.type("exit 3\r")
        assert await mine.ended() == 3


async def test_a_server_that_stops_taking_the_grant_ends_it_with_its_reason(
    here: Place,
) -> None:
    name = await here.open()
    token = await here.grant("ana", "viewer", "operator")
    async with here.attach(name, token=token) as hers:
        before = hers.modes()
        await hers.prompts()
        grants = (await here.call("GET", "/api/grants"))["grants"]
        await here.call("DELETE", f"/api/grants/{grants[0]['id']}")
        assert await hers.ended() == 1
        await hers.shows("vibehq: ")
        assert hers.modes() == before
