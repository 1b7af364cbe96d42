"""Real programs on a real PTY, recorded in the test run, and where to cut them."""

import asyncio
import os
import random
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration.worker_rooms import until
from vibehq_nb.worker.pty import Pty

COLS, ROWS = 100, 30
QUIET_SECONDS = 0.06


class Program(NamedTuple):
    """What to run, and the keys to type one after another; the last of them ends it."""

    command: list[str]
    keys: tuple[bytes, ...]


CURSES = """
import curses
def main(screen):
    curses.start_color()
    curses.init_pair(1, curses.COLOR_RED, curses.COLOR_BLUE)
    screen.scrollok(True)
    screen.setscrreg(3, 20)
    for n in range(60):
        screen.addstr(f"row {n} \\u6f22\\u5b57 ", curses.color_pair(n % 2))
        screen.addstr("x" * (n * 7 % 130) + "\\n", curses.A_BOLD if n % 3 else 0)
        if n % 10 == 0:
            screen.refresh()
    screen.border()
    screen.refresh()
    screen.getch()
curses.wrapper(main)
"""

BASH = (
    b"for n in {1..200}; do printf '\\e[3%dmline %d\\e[0m\\n' $((n % 8)) $n; done\r",
    b"printf '\\e[5;20r\\e[?6h\\e[3;3Hinside'; sleep 0.1; printf '\\e[?6l\\e[r'\r",
    b"printf '\\e[?1049h\\e[2Jalternate\\e[10;10H'; sleep 0.1; printf '\\e[?1049l'\r",
    b"printf '\\e7\\e[1;1Hsaved\\e8 %s' \xe6\xbc\xa2\xe5\xad\x97\xf0\x9f\x98\x80\r",
    b"printf '\\e[44m\\e[K\\e[0m\\n\\e[7minverse\\e[0m\\tafter\\e[4 q\\n'\r",
    b"cat sample.txt\r",
    b"exit\r",
)
VIM = (b"ihello \xf0\x9f\x98\x80\x1b", b"30G", b":split\r", b"dd", b":q!\r", b":q!\r")
TMUX = (b"seq 50\r", b'\x02"', b"cat sample.txt\r", b"\x02o", b"exit\r", b"exit\r")

PROGRAMS = {
    "bash": Program(["bash", "--norc", "-i"], BASH),
    "less": Program(["less", "sample.txt"], (b" ", b"G", b"/tcp\r", b"g", b"q")),
    "vim": Program(["vim", "-u", "NONE", "sample.txt"], VIM),
    "htop": Program(["htop", "-d", "2"], (b"t", b"\x1b[B", b"H", b"q")),
    "tmux": Program(
        ["tmux", "-L", "keyframes", "-f", "/dev/null", "new", "bash --norc"], TMUX
    ),
    "curses": Program([sys.executable, "-c", CURSES], (b"q",)),
}


async def recorded(name: str, folder: Path, keys: int | None = None) -> bytes:
    """
    Run a program in *folder* and return its output.

    Args:
        name: One of `PROGRAMS`.
        folder: Where it finds its files, and its home.
        keys: How many of its keys to type; all if None.
    """
    command, typed = PROGRAMS[name]
    if not shutil.which(command[0]):
        pytest.skip(f"needs a package: {name}")
    (folder / "sample.txt").write_text(sample())
    output, exits = bytearray(), list[object]()
    pty = Pty(command, environment(folder), str(folder), COLS, ROWS, is_shell=False)
    pty.start(output.extend, exits.append)
    for key in typed[:keys]:
        await quiet(output)
        pty.write(key)
    if keys is None:
        await until(lambda: exits)
    else:
        await quiet(output)
    await pty.close()
    assert len(output) > 500
    return bytes(output)


async def quiet(output: bytearray) -> None:
    """Await some output and then none: the program waits for a key."""
    await until(lambda: output)
    before = -1
    while len(output) != before:
        before = len(output)
        await asyncio.sleep(QUIET_SECONDS)


def environment(folder: Path) -> dict[str, str]:
    """Return an environment that no settings of this machine's user reach."""
    own = {"HOME": str(folder), "TMUX_TMPDIR": str(folder), "LESS": "", "PS1": "$ "}
    return {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **own}


def sample() -> str:
    """Return text with wide characters, emoji, tabs and lines that wrap."""
    lines = [f"{n}/tcp\tservice{n}\t漢字 😀 {'é' * (n * 13 % 160)}" for n in range(80)]
    return "\n".join(lines) + "\n"


def cuts(stream: bytes, rng: random.Random, count: int) -> list[int]:
    """Return *count* places to cut: a third in sequences, some in characters."""
    in_sequences = [
        at + 1 + step
        for at, byte in enumerate(stream)
        if byte == 0x1B
        for step in range(3)
    ]
    in_characters = [at for at, byte in enumerate(stream) if byte & 0xC0 == 0x80]
    found = rng.choices(in_sequences, k=count // 3)
    found += rng.choices(in_characters or in_sequences, k=count // 6)
    found += rng.choices(range(len(stream)), k=count - len(found))
    return sorted(min(cut, len(stream)) for cut in found)
