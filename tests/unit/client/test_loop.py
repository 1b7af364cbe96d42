"""The background loop: results, interrupts, forks."""

import asyncio
import os
import threading
import traceback
from collections.abc import Iterator

import pytest

from vibehq_nb.client import loop
from vibehq_nb.client.loop import LoopThread
from vibehq_nb.core.errors import UsageError, VibeError


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    own = LoopThread()
    yield own
    own.stop()


async def answer() -> int:
    return 42


def test_it_returns_results_and_raises_errors(thread: LoopThread) -> None:
    async def fail() -> None:
        raise ValueError("no")

    assert thread.run(answer()) == 42
    with pytest.raises(ValueError, match="no"):
        thread.run(fail())


def test_an_error_of_ours_shows_no_inner_frames() -> None:
    async def fail() -> None:
        try:
            raise OSError("the cause")
        except OSError:
            raise VibeError("what to do")  # noqa: B904

    with pytest.raises(VibeError) as caught:
        loop.run(fail())

    text = "".join(traceback.format_exception(caught.value))
    assert "what to do" in text
    assert "the cause" not in text
    assert "in fail" not in text
    assert "run_forever" not in text


def test_a_timeout_cancels_the_work_and_waits_for_its_clean_up(
    thread: LoopThread,
) -> None:
    cleaned = threading.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned.set()

    with pytest.raises(TimeoutError):
        thread.run(work(), timeout=0.05)

    assert cleaned.is_set()


def test_blocking_on_the_loop_itself_is_refused(thread: LoopThread) -> None:
    async def nested() -> None:
        thread.run(answer())

    with pytest.raises(UsageError, match="aio"):
        thread.run(nested())


def test_a_loop_is_shared() -> None:
    assert loop.shared() is loop.shared()
    assert loop.run(answer()) == 42


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_gets_a_loop_of_its_own() -> None:
    loop.run(answer())
    reader, writer = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(writer, str(loop.run(answer(), 5)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)

    assert told == "42"
