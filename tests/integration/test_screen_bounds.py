"""Whatever is printed: bounded memory, bounded keyframes, and a screen that goes on."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from tests.integration.worker_rooms import until
from vibehq_nb.client.screen import OPEN_SEQUENCE_BYTES, GhosttyScreen
from vibehq_nb.core.screen import KEYFRAME_BYTES, MAX_KEYFRAME_BYTES, TailScreen
from vibehq_nb.worker.painter import BEHIND_BYTES, SLICE_BYTES
from vibehq_nb.worker.pty import Pty
from vibehq_nb.worker.terminal import Terminal

PEAK_MIB = 128
"""What a worker's memory may grow by for any of these: two screens of 500 by 500."""

MEASURE = """
import json, re
from vibehq_nb.client.screen import GhosttyScreen

def peak():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\\s+(\\d+)", status.read())[1]) // 1024

def colored(seed, text):
    for start in range(0, 250_000, 5_000):
        yield b"".join(
            b"\\x1b[38;2;%d;%d;%dm\\x1b[48;2;%d;%d;%dm%b"
            % (n % 256, n // 3 % 256, n * seed % 256, n % 255, n % 254, n % 253, text)
            for n in range(start, start + 5_000)
        )

def hostile():
    for _ in range(320):
        yield b"x" * 131_072
    yield b"\\r\\n\\x1b]0;" + b"t" * 1_000_000
    yield b"\\x18\\x1bP" * 10_000 + b"q" * 5_000_000
    for _ in range(5):
        yield b"\\x18\\x1b_Ga=T,f=24,s=1000,v=1000;" + b"A" * 4_000_000 + b"\\x1b\\\\"
    yield from colored(1, b"x")
    yield b"\\x1b[?1049h"
    yield from colored(2, "\\u6f22".encode())

GhosttyScreen(2, 2).keyframe()
before, sizes = peak(), []
screen = GhosttyScreen(500, 500)
for number, output in enumerate(hostile()):
    screen.feed(output)
    if number % 50 == 0:
        sizes.append(len(screen.keyframe()))
sizes.append(len(screen.keyframe()))
print(json.dumps({"grown": peak() - before, "sizes": sizes}))
"""


def test_no_output_costs_more_than_bounded_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, check=True, timeout=25
    )

    found = json.loads(done.stdout)
    sys.stdout.write(f"{found['grown']} MiB, keyframes up to {max(found['sizes'])}\n")
    assert found["grown"] < PEAK_MIB
    assert max(found["sizes"]) <= MAX_KEYFRAME_BYTES


def fed(*outputs: bytes, cols: int = 100, rows: int = 30) -> GhosttyScreen:
    screen = GhosttyScreen(cols, rows)
    for output in outputs:
        screen.feed(output)
    return screen


def test_a_screen_that_alone_is_too_big_is_painted_as_text() -> None:
    colors = b"".join(
        b"\x1b[38;2;%d;%d;%dm%c" % (n % 256, n // 256, n % 7, 65 + n % 26)
        for n in range(300 * 500)
    )
    screen = fed(colors, cols=500, rows=300)

    frame = screen.keyframe()

    assert len(frame) <= MAX_KEYFRAME_BYTES
    assert frame.count(b"\x1b[38;2;") < 5  # the cursor's style alone
    joined = fed(frame, cols=500, rows=300)
    assert (joined.text(), joined.cursor) == (screen.text(), screen.cursor)


def test_a_keyframe_after_100_megabytes_is_small() -> None:
    screen = GhosttyScreen(100, 30)
    lines = b"".join(b"%d some words of a log\r\n" % n for n in range(40_000))
    for _ in range(100_000_000 // len(lines)):
        screen.feed(lines)

    assert len(screen.keyframe()) <= KEYFRAME_BYTES


LONG = b"x" * OPEN_SEQUENCE_BYTES


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (b"\x1b]52;c;" + LONG, b"\x07"),
        (b"\x1b]0;" + LONG, b"\x1b\\"),
        (b"\x1bPq" + LONG, b"\x07still\x1b\\"),
        (b"\x1bP$q" + LONG, b"m\x1b\\"),
        (b"\x1b_G" + LONG, b"\x07still\x1b\\"),
        (b"\x1b^" + LONG, b"\x07still\x1b\\"),
        (b"\x1bX" + LONG, b"\x07still\x1b\\"),
        (b"\x1b[" + b"1;" * OPEN_SEQUENCE_BYTES, b"1m"),
    ],
    ids=["OSC 52", "OSC 0", "DCS", "DECRQSS", "APC", "PM", "SOS", "CSI"],
)
def test_the_rest_of_a_sequence_too_long_to_keep_is_not_shown(
    start: bytes, end: bytes
) -> None:
    screen = fed(b"shown ", start)

    frame = screen.keyframe()
    joined = fed(frame, LONG[:100] if start[1:2] != b"[" else b"2;", end, b"after")

    assert len(frame) < 1000
    assert joined.text() == fed(b"shown ", start, end, b"after").text() == "shown after"


class SlowScreen(TailScreen):
    """Takes output when it is let."""

    def __init__(self) -> None:
        super().__init__(80, 24)
        self.gate = threading.Event()

    def feed(self, output: bytes) -> None:
        self.gate.wait(20)
        super().feed(output)


@asynccontextmanager
async def flooding(screen: SlowScreen) -> AsyncIterator[Terminal]:
    """A terminal in which `yes` runs, with *screen*."""
    pty = Pty(["yes"], dict(os.environ), "/", 80, 24, is_shell=False)
    with ThreadPoolExecutor(1) as executor:
        terminal = Terminal("t", pty, 80, 24, executor, make=lambda *_: screen)
        task = asyncio.ensure_future(terminal.run())
        try:
            yield terminal
        finally:
            screen.gate.set()
            await pty.close()
            task.cancel()
            await asyncio.wait([task])


async def test_a_program_waits_while_the_screen_is_4_mib_behind() -> None:
    screen = SlowScreen()
    async with flooding(screen) as terminal:
        await until(lambda: terminal.is_waiting)
        stood = terminal.stream.head
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert terminal.stream.head == stood  # nothing was read meanwhile
        assert BEHIND_BYTES < terminal.painter.behind <= BEHIND_BYTES + SLICE_BYTES
        screen.gate.set()
        await until(lambda: terminal.stream.head > stood + BEHIND_BYTES)

        assert terminal.painter.behind <= BEHIND_BYTES + SLICE_BYTES
