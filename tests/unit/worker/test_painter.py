"""The painter keeps up with a stream, and survives its screen."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Literal

import pytest

from vibehq_nb.core.screen import Screen, TailScreen
from vibehq_nb.core.stream import ByteStream
from vibehq_nb.worker import painter
from vibehq_nb.worker.painter import Painter


class Counting(TailScreen):
    """Counts keyframes, and notes what came in which order."""

    def __init__(self) -> None:
        super().__init__(80, 24)
        self.keyframes = 0
        self.calls: list[object] = []

    def feed(self, output: bytes) -> None:
        self.calls.append(len(output))
        super().feed(output)

    def resize(self, cols: int, rows: int) -> None:
        self.calls.append((cols, rows))

    def keyframe(self, scrollback_lines: int = 2000) -> bytes:
        self.keyframes += 1
        return super().keyframe(scrollback_lines)


class Failing(TailScreen):
    """A library that fails on its first output."""

    kind: Literal["vt", "tail"] = "vt"

    def feed(self, output: bytes) -> None:
        raise RuntimeError("out of memory")


@asynccontextmanager
async def painting(stream: ByteStream, screen: Screen) -> AsyncIterator[Painter]:
    with ThreadPoolExecutor(1) as executor:
        found = Painter(stream, screen, executor, lambda: None)
        task = asyncio.ensure_future(found.run())
        yield found
        task.cancel()
        await asyncio.wait([task])


async def test_sizes_reach_the_screen_between_the_right_bytes() -> None:
    stream, screen = ByteStream(80, 24), Counting()
    async with painting(stream, screen) as found:
        stream.append(b"abc")
        stream.resize(100, 30)
        stream.append(b"de")
        stream.resize(90, 20)
        painted = await found.keyframe()

    assert screen.calls == [3, (100, 30), 2, (90, 20)]
    assert painted == (5, 90, 20, b"\x1bcabcde")


async def test_keyframes_within_the_pause_are_one() -> None:
    stream, screen = ByteStream(), Counting()
    async with painting(stream, screen) as found:
        first = await found.keyframe()
        stream.append(b"x")
        both = await asyncio.gather(found.keyframe(), found.keyframe())

    assert screen.keyframes == 2
    assert first.offset == 0
    assert [one.offset for one in both] == [1, 1]


async def test_keyframes_are_at_most_twenty_a_second() -> None:
    stream, screen = ByteStream(), Counting()
    clock = asyncio.get_running_loop().time
    async with painting(stream, screen) as found:
        await found.keyframe()
        started, count = clock(), screen.keyframes
        while clock() < started + 0.3:
            stream.append(b"x")
            await found.keyframe()
        seconds = clock() - started

    # On a busy machine fewer: only too many is wrong.
    assert screen.keyframes - count <= seconds / painter.KEYFRAME_SECONDS + 1


async def test_a_large_backlog_is_fed_in_slices() -> None:
    stream, screen = ByteStream(), Counting()
    async with painting(stream, screen) as found:
        stream.append(b"x" * (3 * painter.SLICE_BYTES + 1))
        await found.keyframe()

    assert screen.calls == [painter.SLICE_BYTES] * 3 + [1]


async def test_a_screen_that_fails_is_replaced_by_a_tail(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = ByteStream()
    async with painting(stream, Failing(80, 24)) as found:
        stream.append(b"one\r\ntwo")
        painted = await found.keyframe()

    assert painted.frame == b"\x1bcone\r\ntwo"
    assert found.kind == "tail"
    assert "keyframes are tails" in caplog.text
