"""
For tests of one's own rooms: served on real sockets, with a clock moved by hand.

    clock = Clock()
    async with serve_rooms([DeployLock], data=tmp_path, clock=clock) as url:
        where = {"host": url, "party": "deploy-lock", "room": "web"}
        async with PartySocket(**where, headers=as_user("ana")) as ana:
            ana.send("take")
            ...
            await clock.move(minutes=30)  # what is due by then has run

The same *data* and *clock* in a second block are a restart. Everybody is who they say
they are here: this is for tests alone.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

import tornado.web
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets

from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.roles import Role
from vibehq_server.hub import Hub
from vibehq_server.identity import Identity
from vibehq_server.mount import Identify, Mount
from vibehq_server.parties import Rooms
from vibehq_server.room import Room

__all__ = ["Clock", "as_user", "believe", "serve_rooms"]

_SCHEME = "Bearer "


class Clock:
    """
    The rooms' clock: it stands still until it is moved.

    Alarms and scheduled tasks go by it. What a room begins with ``call_at`` waits for
    real time as well.

    Attributes:
        now: The time, aware.
    """

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        """
        Stand at *now*.

        Raises:
            UsageError: If *now* has no time zone.
        """
        if now.tzinfo is None:
            raise UsageError("a time needs its time zone: datetime(…, tzinfo=UTC)")
        self.now = now
        self._hubs: list[Hub] = []

    def __call__(self) -> float:
        """Return the seconds since 1970."""
        return self.now.timestamp()

    async def move(self, **by: float) -> None:
        """
        Move on; return once everything that was due on the way has run, in order.

        Each alarm and task runs at its own time, those set on the way too. While
        nothing is served, only the time changes.

        Args:
            **by: As for timedelta: ``minutes=20``. Nothing rings what is due now.

        Raises:
            UsageError: If that is back in time.
        """
        until = self.now + timedelta(**by)
        if until < self.now:
            raise UsageError("a clock moves on, never back")
        while (due := self._next_due()) is not None and due <= until.timestamp():
            self.now = max(self.now, datetime.fromtimestamp(due, UTC))
            for hub in tuple(self._hubs):
                await hub.alarms.ring_due()
        self.now = until

    def _next_due(self) -> float | None:
        dues = (hub.alarms.next_due() for hub in self._hubs)
        return min((due for due in dues if due is not None), default=None)

    @asynccontextmanager
    async def _driving(self, hub: Hub) -> AsyncIterator[None]:
        self._hubs.append(hub)
        try:
            await self.move()  # what was missed while nothing was served
            yield
        finally:
            self._hubs.remove(hub)


def as_user(name: str, *roles: str) -> dict[str, str]:
    """
    Return the headers of a client that is *name*.

    Args:
        name: Who it is.
        *roles: What it may do; viewer and operator if none is named.
    """
    held = ",".join(Role(role).value for role in roles or ("viewer", "operator"))
    return {"Authorization": f"{_SCHEME}{quote(name, safe='')} {held}"}


def believe(request: HTTPServerRequest) -> Identity | None:
    """Take whoever comes with the headers of :func:`as_user` for that one."""
    shown = request.headers.get("Authorization", "")
    name, _, held = shown.removeprefix(_SCHEME).partition(" ")
    if not shown.startswith(_SCHEME) or not held:
        return None
    roles = frozenset(Role(role) for role in held.split(","))
    return Identity(unquote(name), "person", roles, "test")


@asynccontextmanager
async def serve_rooms(
    rooms: Rooms | Mapping[str, type[Room]] | Sequence[type[Room]],
    *,
    data: Path | None = None,
    identify: Identify | None = believe,
    clock: Clock | None = None,
) -> AsyncIterator[str]:
    """
    Serve *rooms* on a free port of this host, in this event loop, for one block.

    Args:
        rooms: Room classes, or room class by party name, or both with a prefix.
        data: The folder of their logs; None keeps them in memory.
        identify: Says who is asking; by default everybody is believed.
        clock: The rooms' clock; by default it is the real one.

    Yields:
        The base address, such as ``http://127.0.0.1:49152``.

    Raises:
        UsageError: If *rooms* are none.
        FolderInUseError: If another server has *data*.
    """
    found = rooms if isinstance(rooms, Rooms) else Rooms(rooms)
    mount = Mount(found, data=data, identify=identify, clock=clock)
    application = tornado.web.Application(
        mount.handlers(), log_function=lambda _handler: None
    )
    server = HTTPServer(application)
    try:
        await mount.start()
        listening = bind_sockets(0, "127.0.0.1")
        server.add_sockets(listening)
        url = f"http://127.0.0.1:{listening[0].getsockname()[1]}"
        if clock is None:
            yield url
        else:
            async with clock._driving(mount.hub):
                yield url
    finally:
        server.stop()
        await mount.stop()
        await server.close_all_connections()
