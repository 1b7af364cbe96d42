"""Commands in a shared terminal: a real server, a real worker, real shells."""

import asyncio
import getpass
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pandas as pd
import pytest

from vibehq_nb import aio
from vibehq_nb.client import loop
from vibehq_nb.client.errors import (
    CommandFailedError,
    CommandTimeoutError,
    NotWriterError,
    TerminalBusyError,
    TerminalEndedError,
)
from vibehq_nb.client.hq import HQ, connect
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.client.replica import Output, Redraw
from vibehq_nb.client.tables import LOG_COLUMNS
from vibehq_nb.client.terminal import Terminal
from vibehq_nb.client.terminals import AsyncTerminal
from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.vt import plain_text
from vibehq_nb.testing import ThrowAwayServer

pytestmark = pytest.mark.timeout(60)

USER = getpass.getuser()


@pytest.fixture(scope="module")
def server() -> Iterator[ThrowAwayServer]:
    with ThrowAwayServer() as running:
        yield running


@pytest.fixture(scope="module")
def hq(server: ThrowAwayServer) -> Iterator[HQ]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        yield connect()


@pytest.fixture
def term(hq: HQ) -> Iterator[Terminal]:
    terminal = hq.terminal(new=True)
    yield terminal
    terminal.close()


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)


def wait_for_job(term: Terminal, name: str) -> None:
    eventually(lambda: loop.run(term._terminal.foreground()).get("name") == name)


@pytest.mark.parametrize(
    ("command", "code", "output"),
    [
        ("echo hello", 0, "hello"),
        ("false", 1, ""),
        ("(exit 42)", 42, ""),
        ("printf 'no line feed'", 0, "no line feed"),
        ("printf '\\033[31mred\\033[0m\\n'", 0, "red"),
        ("printf '10%%\\r100%%\\n'", 0, "100%"),
        ("echo 'größe 日本 😀'", 0, "größe 日本 😀"),
        ("echo one\necho two", 0, "one\ntwo"),
        ("for i in 1 2 3; do\n\techo $i\ndone", 0, "1\n2\n3"),
        ("cat <<'END'\n$HOME\nEND", 0, "$HOME"),
        ("echo to stderr >&2; (exit 7)", 7, "to stderr"),
        ("sleep 0.1 | cat; echo done", 0, "done"),
    ],
)
def test_a_command_gives_its_exit_code_and_its_output_and_nothing_else(
    hq: HQ, command: str, code: int, output: str
) -> None:
    result = hq.terminal(name="shared").run(command, check=False)

    assert (result.exit_code, result.output) == (code, output)


def test_a_long_line_is_not_wrapped_and_much_output_is_whole(term: Terminal) -> None:
    result = term.run("printf 'x%.0s' {1..500}; echo; seq 50000")

    first, *rest = result.lines
    assert first == "x" * 500
    assert rest == [str(number) for number in range(1, 50_001)]


def test_a_failure_raises_with_the_last_lines(term: Terminal) -> None:
    with pytest.raises(CommandFailedError) as caught:
        term.run("echo why; (exit 3)")

    assert caught.value.result.exit_code == 3
    assert '"echo why; (exit 3)" exited 3 on ' in str(caught.value)
    assert "\n  why\n" in str(caught.value)


@pytest.mark.parametrize("line", ["echo )", "if"])
def test_a_line_the_shell_cannot_read_fails_and_the_next_one_runs(
    term: Terminal, line: str
) -> None:
    with pytest.raises(CommandFailedError, match="without telling its exit code"):
        term.run(f"{line}; )")

    assert term.run("echo fine").output == "fine"


def test_more_than_a_viewer_can_follow_is_cut_and_its_end_is_known(
    term: Terminal,
) -> None:
    result = term.run("seq 1500000; (exit 3)", check=False)

    assert result.is_cut
    assert result.exit_code == 3
    assert len(result.output) <= 8 * 1024 * 1024
    assert term.run("echo next").output == "next"


def test_state_of_the_shell_stays_from_run_to_run(term: Terminal) -> None:
    term.run("cd /usr && answer=42")

    assert term.run('echo "$PWD $answer"').output == "/usr 42"


def test_everybody_sees_what_runs(hq: HQ, term: Terminal) -> None:
    term.run("echo visible to all")

    other = Terminal(AsyncTerminal(hq._hq.api, term.id))
    try:
        assert "visible to all" in other.screen()
        assert "visible to all" in other.static()._repr_html_()
    finally:
        other.detach()


def test_what_was_left_on_the_line_is_not_run(term: Terminal) -> None:
    term.run("true")
    term.send("echo left over")

    assert term.run("echo clean").output == "clean"


def test_a_running_program_is_named_instead_of_typed_into(term: Terminal) -> None:
    term.run("true")
    term.send("sleep 50\r")
    wait_for_job(term, "sleep")

    with pytest.raises(TerminalBusyError, match=r"^sleep is .*00:\d\d\). Use new=True"):
        term.run("echo never")

    term.send("\x03")


def test_a_builtin_that_waits_is_busy_too(term: Terminal) -> None:
    term.run("true")
    term.send("echo ask''ing; read answer\r")
    eventually(lambda: "asking" in term.screen())

    with pytest.raises(TerminalBusyError, match=rf'^"echo ask.* \({USER}, 00:\d\d\)'):
        term.run("echo never")

    term.send("\x03")


def test_a_mark_in_the_output_does_not_end_the_command(term: Terminal) -> None:
    result = term.run(
        "printf '\\033]133;D;0\\007early'; sleep 0.5; echo late; (exit 4)", check=False
    )

    assert result.exit_code == 4
    assert result.output == "earlylate"


@pytest.mark.parametrize("shell", ["bash", "zsh", "sh"])
@pytest.mark.parametrize("how", ["typed", "run"])
def test_a_shell_that_took_the_place_of_one_with_marks_is_asked_for_them(
    term: Terminal, shell: str, how: str
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs a package: {shell}")
    before = term.run("echo before")
    if how == "typed":
        term.send(f"exec {shell}\r")
        wait_for_job(term, shell)
    else:
        replaced = term.run(f"exec {shell}", check=False)
        assert replaced.exit_code is None

    results = [term.run("echo after; (exit 3)", check=False) for _ in range(2)]

    assert not before.used_sentinel
    assert [(one.exit_code, one.output) for one in results] == [(3, "after")] * 2
    assert all(one.used_sentinel for one in results)


def test_a_shell_without_marks_is_asked_for_them(hq: HQ) -> None:
    body = {"name": "plain", "command": ["sh"]}
    opened = hq._hq.api.request("POST", "/api/terminals", body)
    term = Terminal(AsyncTerminal(hq._hq.api, opened["id"]))
    try:
        result = term.run("echo 'it''s'\necho two; (exit 9)", check=False)

        assert (result.exit_code, result.output) == (9, "its\ntwo")
        assert result.used_sentinel
        assert repr(result).endswith(" exited 9, told by a sentinel>")
        (row,) = term.commands().to_dict("records")
        assert (row["command"], row["exit_code"]) == (result.command, 9)
    finally:
        term.close()


def test_a_shell_without_marks_is_asked_again_by_everybody(
    server: ThrowAwayServer, hq: HQ
) -> None:
    body = {"name": "plain-shared", "command": ["sh"]}
    opened = hq._hq.api.request("POST", "/api/terminals", body)
    term = Terminal(AsyncTerminal(hq._hq.api, opened["id"]))
    token = server.grant("ana", ["viewer", "operator"])
    theirs = Terminal(AsyncTerminal(HttpApi(Server(server.url, token)), term.id))
    try:
        for one in (term, theirs, term):
            result = one.run("echo again")

            assert result.output == "again"
            assert result.used_sentinel
    finally:
        theirs.detach()
        term.close()


def test_after_its_time_a_command_runs_on_and_the_message_says_so(
    term: Terminal,
) -> None:
    with pytest.raises(
        CommandTimeoutError, match=r"not done on .* after 0\.5 s"
    ) as told:
        term.run("sleep 50; echo slept", timeout=0.5)

    assert "It runs on: term.commands() tells" in str(told.value)
    wait_for_job(term, "sleep")
    newest = term.commands().iloc[-1]
    assert (newest["command"], newest["state"]) == ("sleep 50; echo slept", "running")
    with pytest.raises(TerminalBusyError, match=rf"^sleep .*\({USER}, 00:\d\d\)"):
        term.run("echo never")

    term.signal("INT")
    wait_for_job(term, "bash")
    assert term.run("echo on").output == "on"
    assert list(term.commands()["exit_code"])[-2:] == [130, 0]


def test_interrupting_the_cell_interrupts_the_command(term: Terminal) -> None:
    term.run("true")
    timer = threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()

    with pytest.raises(KeyboardInterrupt):
        term.run("sleep 50")

    timer.join()
    wait_for_job(term, "bash")
    assert term.run("echo on").output == "on"


def test_a_link_that_breaks_meanwhile_costs_nothing(term: Terminal) -> None:
    term.run("true")
    session = loop.run(term._terminal.attach())
    socket = session._socket.socket
    socket._backoff.minimum = 0.05

    def cut() -> None:
        if socket._link is not None:
            loop.shared().loop.call_soon_threadsafe(socket._link.abort)

    timers = [threading.Timer(0.3 * number, cut) for number in (1, 2, 3)]
    for timer in timers:
        timer.start()

    result = term.run("for i in $(seq 300); do echo $i; sleep 0.001; done")

    for timer in timers:
        timer.join()
    assert result.lines == [str(number) for number in range(1, 301)]
    assert not result.is_cut


def test_offline_drops_the_link_for_the_block_and_brings_what_it_missed(
    server: ThrowAwayServer, hq: HQ, term: Terminal
) -> None:
    token = server.grant("ana", ["viewer", "operator"])
    theirs = Terminal(AsyncTerminal(HttpApi(Server(server.url, token)), term.id))
    theirs.screen()
    heard: list[bytes] = []

    def hear(event: object) -> None:
        assert not isinstance(event, Redraw)
        if isinstance(event, Output):
            heard.append(event.content)

    loop.run(term._terminal.attach()).listen(hear)
    with term.offline():
        eventually(lambda: list(term.members()["user"]) == ["ana"])
        printed = theirs.run("seq 700000")
        assert b"".join(heard).count(b"\n") == 0

    assert b"".join(heard).count(b"\n") >= 700_000
    assert plain_text(b"".join(heard)).count(printed.output) == 1
    table = term.members()
    assert table.to_dict("records") == [
        {"user": user, "roles": ["operator", "viewer"], "connections": 1}
        for user in sorted(["ana", USER])
    ]
    theirs.detach()


def test_a_second_person_connects_with_a_token_of_their_own(
    server: ThrowAwayServer, hq: HQ, term: Terminal
) -> None:
    bob = connect(token=server.grant("bob", ["viewer", "operator"]))

    theirs = bob.terminal(name=term.id.partition(":")[2])

    assert (bob.me.user, theirs.id) == ("bob", term.id)
    theirs.run("true")
    term.send("echo half a li")
    term.give_control("bob")
    theirs.run("echo mine")
    assert list(term.commands(2)["user"]) == ["bob", "bob"]
    log = term.log()
    assert dict(log.dtypes) == {
        n: pd.Series(dtype=d).dtype for n, d in LOG_COLUMNS.items()
    }
    assert log[log["how"] == "given"].iloc[-1]["user"] == "bob"
    theirs.detach()


def test_two_runs_at_once_take_turns(hq: HQ, term: Terminal) -> None:
    async def both() -> list[str]:
        results = await asyncio.gather(
            *(term._terminal.run(f"echo {word}; sleep 0.1") for word in ("a", "b"))
        )
        return [result.output for result in results]

    assert loop.run(both()) == ["a", "b"]


def test_an_object_that_is_dropped_takes_its_socket_along(
    hq: HQ, term: Terminal
) -> None:
    term.run("true")

    def viewers() -> int:
        found = hq._hq.api.request("GET", f"/api/terminals/{term.id}")
        return int(found["viewers"])

    eventually(lambda: viewers() == 1)
    second = Terminal(AsyncTerminal(hq._hq.api, term.id))
    second.screen()
    eventually(lambda: viewers() == 2)

    del second

    eventually(lambda: viewers() == 1)


def test_somebody_else_who_types_is_named(
    server: ThrowAwayServer, hq: HQ, term: Terminal
) -> None:
    token = server.grant("ana", ["viewer", "operator"])
    theirs = Terminal(AsyncTerminal(HttpApi(Server(server.url, token)), term.id))
    theirs.send("echo ana was here")

    with pytest.raises(NotWriterError, match=r"^ana is typing in .*take_control"):
        term.run("echo never")

    term.take_control()
    assert term.run("echo mine").output == "mine"
    theirs.detach()


def test_the_keyboard_is_free_after_a_run(
    server: ThrowAwayServer, hq: HQ, term: Terminal
) -> None:
    token = server.grant("ana", ["viewer", "operator"])
    theirs = Terminal(AsyncTerminal(HttpApi(Server(server.url, token)), term.id))

    term.run("echo one")
    assert theirs.run("echo two").output == "two"

    theirs.detach()


def test_a_shell_that_ends_is_said_so(hq: HQ) -> None:
    term = hq.terminal(new=True)
    term.run("true")

    with pytest.raises(TerminalEndedError):
        term.run("exit 0")

    term.detach()


@pytest.mark.parametrize("command", ["", " ", "a\x1bb"])
def test_what_cannot_be_a_command_is_refused(term: Terminal, command: str) -> None:
    with pytest.raises(UsageError):
        term.run(command)


def test_a_new_terminal_takes_the_first_free_number(hq: HQ) -> None:
    first, second = hq.terminal(new=True), hq.terminal(new=True)
    try:
        assert first.id != second.id
        assert repr(first) == f"<terminal {first.id} (local)>"
    finally:
        first.close()
        second.close()


async def test_the_same_calls_can_be_awaited(hq: HQ) -> None:
    there = await aio.connect()
    term = await there.terminal(name="awaited")

    result = await term.run("echo awaited")

    assert result.output == "awaited"
    assert "awaited" in await term.screen()
    await term.close()
