"""The two processes of a fan-out: a server, and those who read from it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil


class Program:
    """A child process that answers each line of JSON with one."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first = self.answer()

    def tell(self, **asked: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    @property
    def rss(self) -> int:
        """Bytes of memory it holds now."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class FanOut:
    """A server of one kind, and its readers."""

    def __init__(self, server: Program) -> None:
        self.server = server
        self.readers: Program | None = None

    def connect(self, count: int, stalled: int = 0) -> None:
        """Connect *count* clients, of which the last *stalled* never read."""
        url = self.server.first["url"]
        module = "tests.benchmarks.fan_out_readers"
        self.readers = Program(module, url, str(count), str(stalled))

    def run(self, messages: int, size: int, **how: Any) -> tuple[dict[str, Any], Any]:
        """Send, and wait until all have it; return what server and readers say."""
        assert self.readers is not None
        self.readers.tell(messages=messages, size=size)
        self.server.tell(messages=messages, size=size, **how)
        return self.server.answer(), self.readers.answer()


@contextmanager
def fan_out(kind: str) -> Iterator[FanOut]:
    """Run a server of *kind* until the block ends."""
    running = FanOut(Program("tests.benchmarks.fan_out_server", kind))
    try:
        yield running
    finally:
        if running.readers is not None:
            running.readers.end()
        running.server.end()
