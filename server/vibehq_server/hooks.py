"""
What the author of a room writes: settings as class attributes, and hooks.

All hooks do nothing by themselves. What they may use is in
:class:`vibehq_server.room.Room`.
"""

from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, ClassVar, Literal

from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.rates import Rate
from vibehq_nb.core.roles import may_join
from vibehq_server.connection import Connection
from vibehq_server.identity import Identity
from vibehq_server.outbox import SlowPolicy
from vibehq_server.requests import ConnectRequest, HttpRequest, Response


class RoomHooks:
    """
    The settings and hooks of a room.

    Attributes:
        access: ``session``: the server's authentication, nothing anonymous; or
            ``open``: the room's own hooks decide.
        max_message_bytes: The bound of one message.
        message_rate: How many messages one connection may send, workers excepted; one
            that sends more is closed with 4429. None is any number.
        cors: Lets pages of other origins ask over HTTP: True for all of them, or a
            table of headers.
        hibernate: Lets an idle room's object go while its sockets stay; the next
            event makes it anew: ``on_start`` runs again, and connections keep id,
            tags, URL and state.
        names: The only rooms there are of this party; None for any name.
        stays: Keeps the room in memory while nobody is in it.
        is_sink: Other rooms write to this one while they stop: it stops after them.
        slow_policy: What happens when a connection owes more than 512 KiB. ``close``:
            it is closed with 4408, to come back. ``skip``: it is sent nothing until
            the rest has gone, then ``on_skipped`` runs. ``latest``: what it owes is
            dropped, and the newest message sent when it can take it.
        compression: Lets clients ask for permessage-deflate. A message to many is
            compressed once; it costs CPU, and saves bytes on slow links.
    """

    access: ClassVar[Literal["session", "open"]] = "session"
    max_message_bytes: ClassVar[int] = 1024 * 1024
    cors: ClassVar[bool | Mapping[str, str]] = False
    hibernate: ClassVar[bool] = False
    message_rate: ClassVar[Rate | None] = None
    names: ClassVar[frozenset[str] | None] = None
    stays: ClassVar[bool] = False
    is_sink: ClassVar[bool] = False
    slow_policy: ClassVar[SlowPolicy] = "close"
    compression: ClassVar[bool] = False

    # Who may come in

    @classmethod
    def admits(cls, party: str, identity: Identity) -> bool:
        """Tell whether *identity* may join, as far as roles decide it."""
        return cls.access == "open" or may_join(party, identity.roles)

    @classmethod
    async def on_before_connect(
        cls, request: ConnectRequest, room: RoomKey
    ) -> ConnectRequest | Response | None:
        """
        Judge a handshake before the room is started.

        A Response refuses with its status, a request replaces the one that came, None
        lets it in.
        """
        return None

    @classmethod
    async def on_before_request(
        cls, request: HttpRequest, room: RoomKey
    ) -> HttpRequest | Response | None:
        """Judge a plain request before the room is started; as for a handshake."""
        return None

    # Hooks

    async def on_start(self, props: Mapping[str, Any]) -> None:
        """Run once, before every other hook; a failure is retried by the next use."""

    async def on_stop(self) -> None:
        """Run once, when the room is let go or the server stops."""

    async def on_connect(self, connection: Connection, request: ConnectRequest) -> None:
        """Run when a connection is accepted."""

    async def on_message(self, connection: Connection, message: str | bytes) -> None:
        """Run for each message."""

    async def on_close(
        self, connection: Connection, code: int, reason: str, was_clean: bool
    ) -> None:
        """Run when a connection is gone; it is no longer among the connections."""

    async def on_error(self, connection: Connection, error: Exception) -> None:
        """Run when a hook raised; the connection stays."""

    async def on_skipped(self, connection: Connection, count: int) -> None:
        """Run when a slow connection is free again, after *count* skipped messages."""

    async def on_request(self, request: HttpRequest) -> Response:
        """Answer a plain HTTP request."""
        return Response("There is nothing here.", 404)

    async def on_alarm(self) -> None:
        """Run when the alarm rings; at least once, also after a kill."""

    def get_connection_tags(
        self, connection: Connection, request: ConnectRequest
    ) -> Iterable[str] | Awaitable[Iterable[str]]:
        """Return up to nine names, of 1 to 256 characters, it can be found by."""
        return ()
