"""A terminal with a program in it, as a person has it: real PTY, real screen."""

import asyncio
import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.integration.worker_rooms import until
from vibehq_nb.client.screen import make_screen

NOTICE = re.compile(rb"\x1b7\x1b\[\?6l\x1b\[1;1H\x1b\[0;7m vibehq: (.*?)\x1b\[K")


class LocalTerminal:
    """Shows what the program prints, and types into it."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int) -> None:
        self.process = process
        self.output = bytearray()
        self.screen: Any = make_screen(80, 24)
        self.answers: dict[bytes, bytes] = {}
        """What the terminal says by itself when a program asks."""
        self._master = master

    def read(self) -> None:
        try:
            content = os.read(self._master, 65536)
        except OSError:
            content = b""
        if not content:
            asyncio.get_running_loop().remove_reader(self._master)
            return
        self.output += content
        self.screen.feed(content)
        for question, answer in self.answers.items():
            for _ in range(content.count(question)):
                self.type(answer)

    def type(self, keys: str | bytes) -> None:
        os.write(self._master, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, cols: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, cols, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
        self.screen.resize(cols, rows)

    def modes(self) -> list[Any]:
        return termios.tcgetattr(self._master)

    @property
    def lines(self) -> list[str]:
        """What scrolling up shows, without blanks at the ends."""
        return [line.rstrip() for line in self.screen.text(20_000).splitlines()]

    @property
    def notices(self) -> list[str]:
        return [found.decode() for found in NOTICE.findall(bytes(self.output))]

    async def shows(self, text: str, seconds: float = 15.0) -> None:
        await self.until(lambda: text in self.screen.text(), seconds)

    async def prompts(self) -> None:
        """Await a shell's prompt on the last line."""
        await self.until(lambda: self.screen.text().rstrip().endswith("$"))

    async def says(self, text: str, seconds: float = 15.0) -> None:
        """Await a notice with *text* in it."""
        await self.until(lambda: any(text in one for one in self.notices), seconds)

    async def until(self, condition: Callable[[], Any], seconds: float = 15.0) -> None:
        try:
            await until(condition, seconds)
        except TimeoutError:
            raise AssertionError(self.screen.text()) from None

    async def ended(self, seconds: float = 15.0) -> int:
        await self.until(lambda: self.process.poll() is not None, seconds)
        return int(self.process.wait())


@asynccontextmanager
async def running(
    command: Sequence[str], cols: int = 80, rows: int = 24, **environment: str
) -> AsyncIterator[LocalTerminal]:
    """Run *command* in a terminal of its own until the block ends."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
    login = (
        "import os, sys; os.login_tty(int(sys.argv[1])); "
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", login, str(slave), *command],
        env={**os.environ, "TERM": "xterm-256color", **environment},
        pass_fds=(slave,),
        stdin=subprocess.DEVNULL,
    )
    terminal = LocalTerminal(process, master)
    terminal.screen = make_screen(cols, rows)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, terminal.read)
    try:
        yield terminal
    finally:
        loop.remove_reader(master)
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
