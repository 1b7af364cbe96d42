"""
Calls from one room to another, and from the server's own code to a room.

A call has a deadline, does not hold the caller's mailbox, and is refused where the
called room already waits for the caller. Any public method of a room can be called.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from vibehq_nb.core.errors import DeniedError, UsageError
from vibehq_nb.core.ids import RoomKey
from vibehq_server.mailbox import current_turn

if TYPE_CHECKING:
    from vibehq_server.hub import Hub
    from vibehq_server.requests import HttpRequest, Response

CALL_SECONDS = 5.0


class RoomStub:
    """
    Another room, as a room sees it: ``await stub.method(…)`` runs it over there.

    The room is started first if need be. A call raises what the method raised, and
    DeniedError with the code ``call-cycle``, ``busy`` if it did not begin within 5 s,
    ``timeout`` if it began and has not ended by then, or why there is no such room.
    """

    def __init__(self, hub: "Hub", key: RoomKey, props: Mapping[str, Any]) -> None:
        """Reach the room *key*; it starts with *props* if this is its first use."""
        self._hub = hub
        self._props = props
        self.key = key

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name.startswith("_") or name in _NOT_CALLED:
            raise AttributeError(f"a room cannot be asked for {name}")

        def method(*args: Any, **named: Any) -> Awaitable[Any]:
            return self._call(name, args, named)

        return method

    async def fetch(self, request: "HttpRequest") -> "Response":
        """Return what the room answers to *request*."""
        answer: Response = await self._call("on_request", (request,), {})
        return answer

    async def _call(
        self, name: str, args: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        turn = current_turn()
        if turn is not None and self.key in turn.chain:
            raise DeniedError(
                "call-cycle", f"{self.key} already waits in this chain of calls."
            )
        async with AsyncExitStack() as stack:
            if turn is not None:
                await stack.enter_async_context(turn.stepping_aside())
            call = _Call(self._hub, self.key, self._props)
            return await call.finish(call.start(name, args, named))


class _Call:
    """One call under way; what has begun over there runs to its end."""

    def __init__(self, hub: "Hub", key: RoomKey, props: Mapping[str, Any]) -> None:
        self._hub, self._key, self._props = hub, key, props
        self._has_begun = False

    def start(
        self, name: str, args: tuple[Any, ...], named: dict[str, Any]
    ) -> asyncio.Task[Any]:
        return self._hub.own(
            asyncio.create_task(
                self._run(name, args, named), name=f"{self._key}.{name}"
            )
        )

    async def _run(
        self, name: str, args: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        room = await self._hub.room(*self._key, props=self._props)
        method = getattr(room, name, None)
        if not callable(method):
            raise UsageError(f"{self._key} has no method {name}")

        def begin() -> Any:
            self._has_begun = True
            return method(*args, **named)

        return await room.run(begin)

    async def finish(self, task: asyncio.Task[Any]) -> Any:
        done, _ = await asyncio.wait([task], timeout=CALL_SECONDS)
        if done:
            return task.result()
        if not self._has_begun:
            task.cancel()
        code, outcome = "busy", "it did not begin"
        if self._has_begun:
            code, outcome = "timeout", "it may still happen"
        text = f"{self._key} did not answer in {CALL_SECONDS:.0f} s; {outcome}."
        raise DeniedError(code, text)


_NOT_CALLED = frozenset(
    {
        "broadcast",
        "call_at",
        "deliver",
        "get_connection",
        "get_connections",
        "join",
        "leave",
        "run",
        "start",
        "stop",
        "storage",
    }
)
"""Of a room's public names, those that only its own code may use."""
