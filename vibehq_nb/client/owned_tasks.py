"""The tasks of one object, none of which ends unnoticed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class OwnedTasks:
    """Runs tasks, keeps them alive, and tells if one fails."""

    def __init__(self, on_failure: Callable[[BaseException], object]) -> None:
        """Tell *on_failure* what a task raised, cancellation excepted."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_failure = on_failure

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run *work* in a task of its own."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def wait(self) -> None:
        """Wait until all there are have ended."""
        if self._tasks:
            # Not awaited themselves: their cancellation would look like the caller's.
            await asyncio.wait(self._tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)
