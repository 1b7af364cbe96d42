"""What a failed opening has begun elsewhere: it is found by its mark and ended."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.providers.remote import (
    NEXT_STAT,
    Leader,
    RemoteSession,
    await_mark,
)

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
"""How long the end of the worker waits for the end of what was left."""
READ_SECONDS = 2.0
"""How long a mark that was printed may take to be read."""

Run = Callable[..., Awaitable[str]]

# The mark comes in two halves, so that this script is not what it finds.
FIND = f"""
mark=$1$2
for file in /proc/[0-9]*/cmdline; do
  line=
  {{ read -r line < "$file"; }} 2>/dev/null
  case $line in *"$mark"*) ;; *) continue;; esac
  for file in "${{file%cmdline}}stat"; do {NEXT_STAT}; leader=$4; done
  for file in /proc/$leader/stat; do {NEXT_STAT}; echo "$leader ${{20}}"; exit 0; done
done
"""


class Leftovers:
    """Ends what was left, each in a task; these are ours."""

    def __init__(self) -> None:
        """Know of nothing that was left."""
        self._tasks: set[asyncio.Task[None]] = set()  # each ends by its own deadlines

    def end(self, ending: Coroutine[Any, Any, None]) -> None:
        """Run *ending* whatever becomes of the caller."""
        task = asyncio.create_task(ending)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for 5 s at most until all are ended."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in late:
                logger.warning("what an opening has left may run on")
                task.cancel()


async def end_begun(
    run: Run, mark: str, read: Callable[[], Awaitable[bytes]], where: str
) -> None:
    """
    End the session that *mark* was given to; what cannot be ended is logged.

    Args:
        run: Runs a script of ``sh`` with arguments there, and returns its output.
        mark: What ``opening_command`` was given.
        read: Returns what the session prints next; empty is its end.
        where: The place in a sentence: ``in container web-1``.
    """
    try:
        leader = await _leader(run, mark, read)
        if leader is not None:
            await RemoteSession(run, leader, is_shell=False).end()
    except DeniedError as error:
        logger.warning("what was begun %s may run on: %s", where, error.reason)
    except TimeoutError:
        logger.warning("what was begun %s may run on: it is not found", where)


async def _leader(
    run: Run, mark: str, read: Callable[[], Awaitable[bytes]]
) -> Leader | None:
    """Return who leads the session, None when that is over."""
    half = len(mark) // 2
    found = re.match(r"(\d+) (\d+)", await run(FIND, mark[:half], mark[half:]))
    if found:
        return Leader(int(found[1]), found[2])
    async with asyncio.timeout(READ_SECONDS):  # it may have gone on to its command
        began = await await_mark(read, mark)
    return began.leader if began else None
