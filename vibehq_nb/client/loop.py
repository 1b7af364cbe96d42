"""
The one background event loop that all sockets of this process live on.

A cell blocks the kernel's own loop; a daemon thread of ours goes on reading, so a
terminal stays live while a cell computes. A forked child gets a loop of its own.
"""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from vibehq_nb.core.errors import UsageError, VibeError

T = TypeVar("T")

CLEAN_UP_SECONDS = 5.0
"""How long an interrupted call may take to clean up, such as to send ^C."""


class LoopThread:
    """An event loop on a daemon thread."""

    def __init__(self) -> None:
        """Start the thread and wait until its loop runs."""
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._serve, name="vibehq-client", daemon=True
        )
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start *work* on the loop and return its future."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """
        Run *work* on the loop and wait for its result.

        A KeyboardInterrupt cancels the work, waits for its clean-up and goes on.

        Raises:
            UsageError: If called on the loop itself, where it would wait for ever.
            TimeoutError: If it takes longer than *timeout* seconds; it is cancelled.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise UsageError("This call blocks: use vibehq_nb.aio in async code.")
        ended = threading.Event()
        future = self.submit(_announced(work, ended))
        try:
            return future.result(timeout)
        except BaseException:
            if not future.done() or future.cancelled():
                future.cancel()
                ended.wait(CLEAN_UP_SECONDS)
            raise

    def stop(self) -> None:
        """Stop the loop and wait for the thread; for tests."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(CLEAN_UP_SECONDS)
        if not self._thread.is_alive():
            self.loop.close()


async def _announced(work: Coroutine[Any, Any, T], ended: threading.Event) -> T:
    # A cancelled concurrent future is done at once; only this tells when the
    # coroutine behind it has cleaned up.
    try:
        return await work
    finally:
        ended.set()


_lock = threading.Lock()
_shared: LoopThread | None = None


def shared() -> LoopThread:
    """Return the loop thread of this process, started on first use."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = LoopThread()
        return _shared


def run(work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
    """
    Run *work* on the shared loop and wait; see :meth:`LoopThread.run`.

    An error of ours is raised without the frames that led to it.
    """
    try:
        return shared().run(work, timeout)
    except VibeError as error:
        # Its sentence says what to do: what the loop did meanwhile would bury it.
        raise error.with_traceback(None) from None


def _forget() -> None:
    # Threads do not survive a fork: the child starts over when it needs one.
    global _shared, _lock
    _lock = threading.Lock()
    _shared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
