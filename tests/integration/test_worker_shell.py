"""The marks a shell leaves, seen by a worker's room: real bash, zsh and fish."""

import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.worker_rooms import (
    TerminalRoom,
    WorkerRooms,
    running_agent,
    until,
)

MARK = re.compile(rb"\x1b\]133;([ABCD])(?:;(\d+))?(;[^\x07]*)?\x07")
LINE = re.compile(rb"\x1b\]133;C;cmdline_url=([^;\x07]*)")


@pytest.fixture
async def rooms() -> AsyncIterator[WorkerRooms]:
    rooms = WorkerRooms()
    await rooms.start()
    yield rooms
    await rooms.stop()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of a user of bash, zsh and fish."""
    for name in ("ZDOTDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LANG", "C.UTF-8")
    (tmp_path / ".zshrc").touch()
    use("bash", monkeypatch)
    return tmp_path


def use(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker open this shell; skip where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs a package: {name}")
    monkeypatch.setenv("SHELL", path)


class Shell:
    """Types commands one after another, each when the prompt is there."""

    def __init__(self, room: TerminalRoom) -> None:
        self.room = room
        self._typed = 0
        self._seen = 0
        # fish tells where its prompt begins, and no more.
        is_fish = os.environ["SHELL"].endswith("fish")
        self._last = re.compile(
            rb"\x1b\]133;%s[^\x07]*\x07" % (b"A" if is_fish else b"B")
        )

    async def prompt(self) -> bytes:
        """Await the end of the next prompt; returns what came before it."""
        found = await until(lambda: self._last.search(self.room.output, self._seen))
        before = bytes(self.room.output[self._seen : found.end()])
        self._seen = found.end()
        return before

    async def run(self, command: str) -> bytes:
        self._typed = await self.room.type(command + "\r", self._typed)
        return await self.prompt()


async def opened(rooms: WorkerRooms) -> tuple[Shell, bytes]:
    shell = Shell(await rooms.spawn(cwd="/"))
    return shell, await shell.prompt()


def marks(output: bytes) -> list[tuple[bytes, bytes | None]]:
    return [(found[1], found[2] or None) for found in MARK.finditer(output)]


def output_of(ran: bytes) -> bytes:
    begin = re.search(rb"\x1b\]133;C[^\x07]*\x07", ran)
    assert begin is not None
    return ran[begin.end() :].partition(b"\x1b]133;D")[0]


def line_of(ran: bytes) -> bytes | None:
    found = LINE.search(ran)
    return found[1] if found else None


BASHRCS = {
    "nothing": "",
    "a prompt command that ends in a semicolon": "PROMPT_COMMAND='true;'",
    "an array": "PROMPT_COMMAND=(true 'echo hook >/dev/null')",
    "a failing one": "PROMPT_COMMAND='false'",
    "a prompt made anew each time": "PROMPT_COMMAND='PS1=\"[$RANDOM] \"'",
    "a prompt that shows the status": "PS1='$? > '",
    "its own ps0": "PS0='begin '",
    "strict modes": "set -u; shopt -s extglob nocasematch",
    "a debug trap": "trap 'true' DEBUG",
    "times in the history": "HISTTIMEFORMAT='%F %T '",
}


@pytest.mark.parametrize("bashrc", BASHRCS.values(), ids=BASHRCS.keys())
async def test_marks_tell_output_and_status_whatever_the_bashrc_does(
    rooms: WorkerRooms, home: Path, bashrc: str
) -> None:
    (home / ".bashrc").write_text(bashrc + "\n")
    async with running_agent(rooms, home):
        shell, first = await opened(rooms)
        good = await shell.run("echo one; echo two")
        bad = await shell.run("(exit 3)")
        empty = await shell.run("")
        status = await shell.run("echo status=$?")

    assert marks(first) == [(b"A", None), (b"B", None)]
    assert line_of(good) == b"echo%20one%3B%20echo%20two"
    assert marks(good) == [(b"C", None), (b"D", b"0"), (b"A", None), (b"B", None)]
    assert output_of(good) == b"one\r\ntwo\r\n"
    assert marks(bad)[1] == (b"D", b"3")
    assert marks(empty) == [(b"A", None), (b"B", None)]
    assert output_of(status) == b"status=3\r\n"


async def test_marks_go_on_when_the_prompt_command_is_replaced(
    rooms: WorkerRooms, home: Path
) -> None:
    async with running_agent(rooms, home):
        shell, _ = await opened(rooms)
        await shell.run("PROMPT_COMMAND=")
        ran = await shell.run("echo x; (exit 4)")

    assert marks(ran)[-4:] == [(b"C", None), (b"D", b"4"), (b"A", None), (b"B", None)]


async def test_folder_and_title_are_told(rooms: WorkerRooms, home: Path) -> None:
    folder = home / "a b%é"
    folder.mkdir()
    async with running_agent(rooms, home):
        shell, _ = await opened(rooms)
        ran = await shell.run(f"cd '{folder}'")
        await until(lambda: any("a b%é" in m["text"] for m in shell.room.of("title")))

    assert b"/a%20b%25%C3%A9\x07" in ran
    assert b"\x1b]7;file://" in ran


async def test_the_rcfile_is_private(rooms: WorkerRooms, home: Path) -> None:
    async with running_agent(rooms, home):
        await opened(rooms)
        mode = (home / "run" / "bashrc").stat().st_mode

    assert mode & 0o777 == 0o600


async def test_a_line_kept_out_of_the_history_is_not_told_by_bash(
    rooms: WorkerRooms, home: Path
) -> None:
    (home / ".bashrc").write_text("HISTCONTROL=ignoreboth\n")
    async with running_agent(rooms, home):
        shell, _ = await opened(rooms)
        first = await shell.run("echo one")
        again = await shell.run("echo one")
        hidden = await shell.run(" echo hidden")
        lines = await shell.run("for i in 1 2; do\r echo $i\rdone")
        count = len(shell.room.of("command-ended")) + 3
        await shell.run("\x1b[200~echo a\n(exit 4)\necho b\x1b[201~")
        await until(lambda: len(shell.room.of("command-ended")) == count)
        pasted = bytes(shell.room.output[shell.room.output.rindex(b"(exit 4)") :])

    assert line_of(first) == b"echo%20one"
    assert line_of(again) is None
    assert line_of(hidden) is None
    assert line_of(lines) is not None
    assert output_of(lines) == b"1\r\n2\r\n"
    # A paste may show its prompt anew; its lines are commands one after another.
    assert [mark for mark in marks(pasted) if mark[0] in b"CD"] == [
        *((b"C", None), (b"D", b"0")),
        *((b"C", None), (b"D", b"4")),
        *((b"C", None), (b"D", b"0")),
    ]


@pytest.mark.parametrize(
    ("shell_name", "file", "setting"),
    [
        ("bash", ".bashrc", "HISTCONTROL=ignoreboth"),
        ("bash", ".bashrc", "HISTIGNORE='*secret*'"),
        ("zsh", ".zshrc", "setopt hist_ignore_space"),
        ("zsh", ".zshrc", "HISTORY_IGNORE='*secret*'"),
        ("fish", ".config/fish/config.fish", ""),
    ],
)
async def test_what_is_kept_out_of_the_history_is_in_no_record_of_commands(
    rooms: WorkerRooms,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    shell_name: str,
    file: str,
    setting: str,
) -> None:
    use(shell_name, monkeypatch)
    (home / file).parent.mkdir(parents=True, exist_ok=True)
    (home / file).write_text(setting + "\n")
    async with running_agent(rooms, home):
        shell, _ = await opened(rooms)
        for line in ("echo one", "echo one", " echo secret", "echo two"):
            await shell.run(line)
        await until(lambda: len(shell.room.of("command-ended")) == 4)

    told = [one["command"] for one in shell.room.of("command-started")]
    assert told == ["echo one", "echo one", "", "echo two"]


ZSHRCS = {
    "nothing": "",
    "hooks of its own": "precmd() { : }; precmd_functions=(true)",
    "arrays from zero": "setopt ksh_arrays sh_word_split",
    "a prompt made anew each time": 'precmd() { PROMPT="[$RANDOM] " }',
    "a prompt that shows the status": "PROMPT='%? > '; setopt prompt_subst",
    "a prompt without escapes": "unsetopt prompt_percent; PROMPT='> '",
    "no mark at the line's end": "unsetopt prompt_sp",
    "a mark of its own at the line's end": "PROMPT_EOL_MARK='<'",
    "strict modes": "setopt no_unset warn_create_global err_return",
    "an alias for everything": "alias local=false builtin=false -g C=false",
    "its own folder": "[[ $ZDOTDIR = $HOME/zsh ]] && PROMPT='z '",
}


@pytest.mark.parametrize("zshrc", ZSHRCS.values(), ids=ZSHRCS.keys())
async def test_marks_tell_output_and_status_whatever_the_zshrc_does(
    rooms: WorkerRooms, home: Path, monkeypatch: pytest.MonkeyPatch, zshrc: str
) -> None:
    use("zsh", monkeypatch)
    (home / ".zshrc").write_text(zshrc + "\n")
    if "ZDOTDIR" in zshrc:
        monkeypatch.setenv("ZDOTDIR", str(home / "zsh"))
        (home / "zsh").mkdir()
        (home / ".zshrc").rename(home / "zsh" / ".zshrc")
    async with running_agent(rooms, home):
        shell, first = await opened(rooms)
        good = await shell.run("print -n one; print -n two")
        bad = await shell.run("(exit 3)")
        empty = await shell.run("")
        status = await shell.run("echo status=$?")
        left = await shell.run("echo ${ZDOTDIR-}.${VIBEHQ_ZDOTDIR-}.")

    assert marks(first) == [(b"A", None), (b"B", None)]
    assert line_of(good) == b"print%20-n%20one%3B%20print%20-n%20two"
    assert marks(good) == [(b"C", None), (b"D", b"0"), (b"A", None), (b"B", None)]
    assert output_of(good) == b"onetwo"
    assert marks(bad)[1] == (b"D", b"3")
    assert marks(empty) == [(b"A", None), (b"B", None)]
    assert output_of(status) == b"status=3\r\n"
    folder = str(home / "zsh").encode() if "ZDOTDIR" in zshrc else b""
    assert output_of(left) == folder + b"..\r\n"


async def test_a_zshenv_may_move_the_rest_and_nothing_is_written(
    rooms: WorkerRooms, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use("zsh", monkeypatch)
    (home / ".zshrc").unlink()
    (home / ".zshenv").write_text("export ZDOTDIR=$HOME/moved; echo env read\n")
    (home / "moved").mkdir()
    (home / "moved" / ".zshrc").write_text("echo rc read in $ZDOTDIR\n")
    before = files_in(home)
    async with running_agent(rooms, home):
        shell, first = await opened(rooms)
        ran = await shell.run("zsh -ic 'echo inner $ZDOTDIR'")

    assert b"env read" in first
    assert b"rc read in %s/moved" % bytes(home) in first
    assert b"inner %s/moved\r\n" % bytes(home) in output_of(ran)
    mine = {home / "endpoint.json", home / "run"} | files_in(home / "run")
    assert files_in(home) - mine == before


def files_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


FISHES = {
    "nothing": "",
    "a prompt of its own": "function fish_prompt; echo $status '> '; end",
    "a greeting": "function fish_greeting; echo hello; end",
    "hooks of its own": "function x --on-event fish_prompt; false; end",
}


@pytest.mark.parametrize("config", FISHES.values(), ids=FISHES.keys())
async def test_marks_tell_output_and_status_whatever_the_config_of_fish_does(
    rooms: WorkerRooms, home: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    use("fish", monkeypatch)
    (home / ".config" / "fish").mkdir(parents=True)
    (home / ".config" / "fish" / "config.fish").write_text(config + "\n")
    async with running_agent(rooms, home):
        shell, first = await opened(rooms)
        good = await shell.run("printf one; printf two")
        bad = await shell.run("sh -c 'exit 3'")
        empty = await shell.run("")
        status = await shell.run("echo status=$status")

    assert marks(first) == [(b"A", None)]
    assert line_of(good) == b"printf%20one%3B%20printf%20two"
    assert marks(good) == [(b"C", None), (b"D", b"0"), (b"A", None)]
    assert output_of(good).endswith(b"\ronetwo")
    assert marks(bad)[1] == (b"D", b"3")
    assert marks(empty) == [(b"A", None)]
    assert output_of(status).endswith(b"\rstatus=3\r\n")


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
async def test_a_shell_in_the_shell_is_what_it_always_was(
    rooms: WorkerRooms, home: Path, monkeypatch: pytest.MonkeyPatch, shell_name: str
) -> None:
    use(shell_name, monkeypatch)
    async with running_agent(rooms, home):
        shell, _ = await opened(rooms)
        inner = await shell.run(
            f"{shell_name} -ic 'echo inner; env' | grep -ci vibehq_"
        )

        await shell.room.type(f"exec {shell_name}\r", shell._typed)
        await until(lambda: b"C;cmdline_url=exec" in shell.room.output)
        begin = shell.room.output.index(b"C;cmdline_url=exec") + 40
        await shell.room.type("echo ou''ter\r", shell._typed + 6 + len(shell_name))
        await until(lambda: b"outer\r\n" in shell.room.output)
        after = bytes(shell.room.output[begin:])

    assert output_of(inner).endswith(b"1\r\n")  # VIBEHQ_TERMINAL
    assert marks(after) == []


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
async def test_folders_and_long_lines_are_told_by_every_shell(
    rooms: WorkerRooms, home: Path, monkeypatch: pytest.MonkeyPatch, shell_name: str
) -> None:
    use(shell_name, monkeypatch)
    folder = home / "a b%é"
    folder.mkdir()
    async with running_agent(rooms, home):
        shell, _ = await opened(rooms)
        await shell.run(f"cd '{folder}'")
        await until(lambda: {"type": "cwd", "path": str(folder)} in shell.room.messages)
        await shell.run(f"echo 'größe {'x' * 9000}'")
        await until(lambda: len(shell.room.of("command-ended")) == 2)

    first, second = shell.room.of("command-started")
    assert first["command"] == f"cd '{folder}'"
    assert (first["cwd"], second["cwd"]) == ("/", str(folder))
    assert second["command"].startswith("echo 'größe xxx")
    assert second["command"].endswith("…")
    assert len(second["command"].encode()) <= 4096


async def test_commands_are_told_at_their_place_and_again_to_who_has_not_recorded_them(
    rooms: WorkerRooms, home: Path
) -> None:
    async with running_agent(rooms, home):
        shell, _ = await opened(rooms)
        room = shell.room
        await shell.run("seq 3; seq 100000")
        await shell.run("(exit 5)")
        await until(lambda: len(room.of("command-ended")) == 2)
        first = commands_told(room)
        room.recorded = first[1]["at_byte"]
        rooms.die()
        await rooms.start()
        await until(lambda: len(room.of("command-ended")) == 3)
        again = commands_told(room)[len(first) :]

    for told in first:
        assert room.heads[room.messages.index(told)] == told["at_byte"]
    start, end = first[0]["at_byte"], first[1]["output_end"]
    assert room.output[start:end].startswith(b"1\r\n2\r\n3\r\n1\r\n")
    assert room.output[start:end].endswith(b"\n100000\r\n")
    assert [told["number"] for told in again] == [2, 2]
    assert again[0]["age_s"] > first[2]["age_s"]
    assert again[1] == first[3]


def commands_told(room: TerminalRoom) -> list[dict[str, object]]:
    return [told for told in room.messages if told["type"].startswith("command-")]
