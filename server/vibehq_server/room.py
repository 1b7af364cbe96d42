"""
A room: one named actor, its connections, and the hooks its author writes.

Hooks and messages of a room run one after another; rooms run side by side. A hook
that raises takes no other connection down, and no trace reaches a client. What a
room of PartyServer has is here under the same names, in Python's spelling.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from vibehq_nb.core.ids import MAX_CONNECTION_ID, RoomKey
from vibehq_nb.core.schedule import ScheduledTask
from vibehq_server.calls import RoomStub
from vibehq_server.connection import Connection
from vibehq_server.deflate import Deflater
from vibehq_server.frames import encode_frame
from vibehq_server.hooks import RoomHooks
from vibehq_server.ledger import Folded, Ledger
from vibehq_server.mailbox import Mailbox
from vibehq_server.members import Members
from vibehq_server.requests import ConnectRequest, HttpRequest, Response
from vibehq_server.storage import Storage
from vibehq_server.wakeups import Wakeups

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

__all__ = ["ConnectRequest", "HttpRequest", "Response", "Room", "ScheduledTask"]

logger = logging.getLogger(__name__)

MAX_TAGS = 9
REST_SECONDS = 10.0
LEAVE_SECONDS = 600.0
STOP_SECONDS = 8.0
"""How long a stop waits for hooks that run, and for the last one."""


class Room(RoomHooks):
    """The base of every room; it sends nothing of its own."""

    def __init__(self, key: RoomKey, hub: "Hub") -> None:
        """Create the room; ``on_start`` runs before anything else."""
        self.key = key
        self.hub = hub
        self.connections = Members()
        self.is_over = False
        self.last_used = hub.monotonic()
        self._mailbox = Mailbox(key, self.committed)
        self._ledger = Ledger(key, hub, self._folded(), self._reload)
        self.wakeups = Wakeups(self, self._ledger)
        self._timers: set[asyncio.TimerHandle] = set()
        self.deflater = Deflater()

    def _folded(self) -> Folded | None:
        return None

    @property
    def name(self) -> str:
        """The raw room name, as it stands in the URL."""
        return self.key.name

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost if the room were forgotten at once."""
        return False

    @property
    def is_busy(self) -> bool:
        """Whether a hook runs, or a timer waits that no log would bring back."""
        return bool(self._timers) or self._mailbox.is_busy

    @property
    def may_rest(self) -> bool:
        """Whether the room can be let go now, to be made anew by the next event."""
        if self.stays or self.is_busy:
            return False
        idle_seconds = self.hub.monotonic() - self.last_used
        if self.hibernate:
            return idle_seconds >= REST_SECONDS
        return not self.connections and idle_seconds >= LEAVE_SECONDS

    @property
    def now(self) -> datetime:
        """The time, aware, in UTC."""
        return datetime.fromtimestamp(self.hub.clock(), UTC)

    # What a hook may use

    @property
    def storage(self) -> Storage:
        """What this room keeps."""
        return self._ledger.storage

    def broadcast(self, message: str | bytes, without: Iterable[str] = ()) -> None:
        """Send *message* to every connection but those with an id in *without*."""
        skipped = frozenset(without)
        chosen: Iterable[Connection] = self.connections
        if skipped:
            chosen = [one for one in chosen if one.id not in skipped]
        self.send_to(chosen, message)

    def send_to(self, chosen: Iterable[Connection], message: str | bytes) -> None:
        """Send *message* to those *chosen*; it is encoded once."""
        binary = isinstance(message, bytes)
        payload = message if isinstance(message, bytes) else message.encode()
        frame = encode_frame(payload, binary=binary)
        for connection in tuple(chosen):
            connection.write(frame)

    def get_connections(self, tag: str | None = None) -> Iterator[Connection]:
        """Iterate over the open connections, or those that carry *tag*."""
        for connection in tuple(self.connections):
            if connection.is_open and (tag is None or tag in connection.tags):
                yield connection

    def get_connection(self, connection_id: str) -> Connection | None:
        """Return the connection with this id; of two, the newer."""
        return self.connections.find(connection_id)

    def get_room(
        self, party: str, name: str, props: Mapping[str, Any] | None = None
    ) -> RoomStub:
        """
        Return another room, to call its methods; it starts with the first call.

        Raises:
            DeniedError: If there can be no such room.
        """
        return RoomStub(self.hub, self.hub.key(party, name), props or {})

    async def set_alarm(self, when: datetime | None) -> None:
        """
        Let :meth:`on_alarm` run at *when*, in place of the alarm before.

        Durable: it rings after a restart too, and what was missed rings at once. A
        hook that raises is tried again, six times in all.
        """
        await self.wakeups.set_alarm(when)

    async def get_alarm(self) -> datetime | None:
        """Return when the alarm rings; None while it rings."""
        return await self.wakeups.alarm()

    async def delete_alarm(self) -> None:
        """Let no alarm ring."""
        await self.wakeups.set_alarm(None)

    async def schedule(
        self, callback: str | Callable[..., Any], **how: Any
    ) -> ScheduledTask:
        """
        Let a method of this room be called later, with the task; durable.

        Args:
            callback: The method, or its name.
            **how: One of ``when`` (aware datetime), ``delay`` (seconds) and ``cron``
                (five fields, read in ``timezone``); without one it only waits to be
                found. Further ``payload``, ``id`` (the same id replaces),
                ``description``, and ``room`` (``party/name``) to call another room's
                method.

        Raises:
            UsageError: If that is no schedule, or the room has 1,000 tasks.
        """
        return await self.wakeups.schedule(callback, **how)

    async def scheduled(self) -> list[ScheduledTask]:
        """Return the tasks that are scheduled, the next one first."""
        return await self.wakeups.tasks()

    async def cancel_scheduled(self, task_id: str) -> bool:
        """Cancel a task; tell whether there was one."""
        return await self.wakeups.cancel(task_id)

    def call_at(self, when: datetime, work: Callable[[], Any]) -> None:
        """Run *work* as the room's actor at *when*; forgotten when the server stops."""
        delay = max(0.0, when.timestamp() - self.hub.clock())
        handle: asyncio.TimerHandle

        def due() -> None:
            self._timers.discard(handle)
            if self.now < when:  # a long wait, or the clock was set back
                self.call_at(when, work)
            else:
                self.hub.spawn(self.run(work), f"timer of {self.key}")

        handle = asyncio.get_running_loop().call_later(min(delay, 3600.0), due)
        self._timers.add(handle)

    # How the server uses a room

    async def start(self, props: Mapping[str, Any]) -> None:
        """Run the first hook."""
        await self.run(self.on_start, props)

    async def _reload(self) -> None:
        await self._ledger.mend()

    async def committed(self) -> None:
        """Wait until what was stored so far is on disk, or raise NotStoredError."""
        await self._ledger.committed()

    async def run(self, work: Callable[..., Any], *args: Any) -> Any:
        """
        Run *work* as the room's actor and return its result.

        Waits for the hooks before it. Raises what *work* raises.
        """
        self.last_used = self.hub.monotonic()
        return await self._mailbox.run(work, *args)

    async def join(self, connection: Connection, request: ConnectRequest) -> None:
        """
        Take a connection in.

        Raises:
            ValueError: If its tags are too many, too long or empty, or if its id is
                another user's by now.
        """
        await self.run(self._enter, connection, request)

    async def _enter(self, connection: Connection, request: ConnectRequest) -> None:
        await self._admit(connection, request)
        connection.outbox.policy = self.slow_policy
        if self.slow_policy == "skip":
            connection.outbox.on_skipped = partial(self._skipped, connection)
        self.connections.add(connection)
        await self.on_connect(connection, request)

    def _skipped(self, connection: Connection, count: int) -> None:
        async def tell() -> None:
            # The room may have been let go meanwhile.
            room = await self.hub.room(*self.key)
            await room._run_safely(room.on_skipped, connection, count)

        self.hub.spawn(tell(), f"skipped in {self.key}")

    async def _admit(self, connection: Connection, request: ConnectRequest) -> None:
        for other in self.get_connections(connection.id):
            if other.id != connection.id:
                continue
            if other.identity.user != connection.identity.user:
                raise ValueError("this connection id is another user's")
            other.probe()  # most likely its own predecessor, half dead
        found = self.get_connection_tags(connection, request)
        tags = await found if isinstance(found, Awaitable) else found
        own = tuple(tag for tag in tags if tag != connection.id)
        if len(own) > MAX_TAGS or not all(_is_tag(tag) for tag in own):
            raise ValueError("a connection has up to 9 tags of 1 to 256 characters")
        connection.tags = (connection.id, *own)

    def deliver_now(self, connection: Connection, message: str | bytes) -> bool:
        """Act on a message at once, where that takes no turn; tell whether it did."""
        return False

    async def deliver(self, connection: Connection, message: str | bytes) -> None:
        """Give a message of *connection* to its hook; a failure stays in here."""
        try:
            await self._hear(connection, message)
        except Exception as error:
            who = f"{connection.identity.user}/{connection.id}"
            logger.exception("%s: a message of %s failed", self.key, who)
            await self._run_safely(self.on_error, connection, error)

    async def _hear(self, connection: Connection, message: str | bytes) -> None:
        await self.run(self.on_message, connection, message)

    async def leave(
        self, connection: Connection, code: int, reason: str, was_clean: bool
    ) -> None:
        """Let a connection go."""
        connection.is_open = False
        self.connections.discard(connection)
        await self._run_safely(self.on_close, connection, code, reason, was_clean)

    async def _run_safely(self, hook: Callable[..., Any], *args: Any) -> None:
        try:
            await self.run(hook, *args)
        except Exception:
            logger.exception("%s: %s failed", self.key, hook.__name__)

    def tick(self) -> None:
        """Run each 15 s; replicated rooms tell their connections how far they are."""

    async def stop(self) -> None:
        """End the room's timers, run its last hook, and let its log go."""
        self._end_timers()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._mailbox.empty()
                await self.run(self.on_stop)
        finally:
            await self._ledger.close()

    async def abandon(self) -> None:
        """Let go of a room that could not start."""
        self._end_timers()
        await self._ledger.close()

    def _end_timers(self) -> None:
        self.is_over = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and 1 <= len(tag) <= MAX_CONNECTION_ID
