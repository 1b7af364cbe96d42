"""
One thing at a time: how the hooks of a room take turns, and who waits for whom.

A turn is one hook run. While a hook waits for another room it lets the next turn of
its own room begin, so rooms that call each other cannot block each other; a chain of
calls that would come back to a room in it is refused.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar, Token
from typing import Any

from vibehq_nb.core.ids import RoomKey

_current: ContextVar["Turn | None"] = ContextVar("turn", default=None)


class Turn:
    """
    One hook run of one room.

    Attributes:
        chain: The rooms that wait for this turn, and its own, outermost first.
        is_over: Whether the hook has returned; a task it left behind has no turn.
    """

    def __init__(self, mailbox: "Mailbox", chain: tuple[RoomKey, ...]) -> None:
        """Begin, holding *mailbox*."""
        self.chain = chain
        self.is_over = False
        self._mailbox = mailbox
        self._away = 0
        self._holds = True
        self._coming_back = asyncio.Lock()

    @asynccontextmanager
    async def stepping_aside(self) -> AsyncIterator[None]:
        """
        Let other turns of the room run within the block.

        Of several such blocks at once, the last to end waits for the room again; one
        that ends after the hook has nothing to come back to.
        """
        await self._mailbox.before_leaving()
        self._away += 1
        self._let_go()
        try:
            yield
        finally:
            self._away -= 1
            await self._come_back()

    def _let_go(self) -> None:
        if self._holds:
            self._holds = False
            self._mailbox.lock.release()

    async def _come_back(self) -> None:
        async with self._coming_back:
            if self._holds or not self._is_wanted():
                return
            await self._mailbox.lock.acquire()
            self._holds = True
            if not self._is_wanted():  # the hook has ended or gone again meanwhile
                self._let_go()

    def _is_wanted(self) -> bool:
        return not self.is_over and not self._away

    def end(self) -> None:
        """Let the next turn begin."""
        self.is_over = True
        self._let_go()


def current_turn() -> Turn | None:
    """Return the turn the caller runs in, if it runs in one."""
    turn = _current.get()
    return None if turn is None or turn.is_over else turn


def without_turn() -> Token["Turn | None"]:
    """Enter a task that belongs to no turn; for its own context only."""
    return _current.set(None)


class Mailbox:
    """
    The turns of one room, first come, first served.

    Not bounded itself: a connection has one message in it, and reads no further.
    """

    def __init__(self, key: RoomKey, before_leaving: Callable[[], Awaitable[None]]):
        """
        Serve the room *key*.

        Args:
            key: The room.
            before_leaving: Awaited before a turn steps aside: what the hook did so
                far has to be stored before another room hears of it.
        """
        self.key = key
        self.before_leaving = before_leaving
        self.lock = asyncio.Lock()
        self._present = 0
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    @property
    def is_busy(self) -> bool:
        """Whether a hook runs, waits for its turn, or waits for another room."""
        return self._present > 0

    async def empty(self) -> None:
        """Wait until no hook runs and none waits."""
        await self._is_empty.wait()

    async def run(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run *work* in a turn of its own and return its result; awaits it."""
        self._present += 1
        self._is_empty.clear()
        try:
            return await self._take_turn(work, *args)
        finally:
            self._present -= 1
            if not self._present:
                self._is_empty.set()

    async def _take_turn(self, work: Callable[..., Any], *args: Any) -> Any:
        outer = current_turn()
        await self.lock.acquire()
        turn = Turn(self, (*(outer.chain if outer else ()), self.key))
        token = _current.set(turn)
        try:
            result = work(*args)
            return await result if inspect.isawaitable(result) else result
        finally:
            _current.reset(token)
            turn.end()
