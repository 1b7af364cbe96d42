"""
Rooms whose clients hold replicas: positions, resume, snapshots and the output gate.

A subclass says what its log holds (``entries``), how one entry changes its state
(``apply``), what the whole state is (``state``, ``load``) and what it does with a
message (``receive``). Everything a client sees is stored first.
"""

import inspect
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from vibehq_nb.core.codec import encode
from vibehq_nb.core.errors import DeniedError, NotStoredError
from vibehq_nb.core.ids import RoomKey, decode_position
from vibehq_nb.core.log import Entry, EventLog, Resume
from vibehq_nb.core.messages import (
    PROTOCOL,
    Connected,
    Error,
    Message,
    Tick,
)
from vibehq_nb.core.rates import Rate
from vibehq_nb.core.roles import Role, may_send
from vibehq_server.connection import Connection, ConnectRequest
from vibehq_server.follower import Followers
from vibehq_server.frames import encode_frame
from vibehq_server.inbound import Inbound
from vibehq_server.ledger import Folded
from vibehq_server.room import Room

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

logger = logging.getLogger(__name__)


class ReplicatedRoom(Room):
    """A room that is a log: ordered, stored, then sent."""

    max_message_bytes: ClassVar[int] = 64 * 1024
    message_rate: ClassVar[Rate | None] = Rate(per_second=50, burst=200)
    entries: ClassVar[tuple[type[Message], ...]] = ()
    """What the log holds; each has an ``offset`` field."""
    accepts: ClassVar[tuple[type[Message], ...]] = ()
    """What clients may send, in rooms that are not built in."""
    is_logged: ClassVar[bool] = True
    """Whether there is a log at all."""

    def __init_subclass__(cls) -> None:
        """Refuse a policy that would lose entries without a word."""
        super().__init_subclass__()
        if cls.slow_policy == "latest":
            raise TypeError("the slow_policy of a replicated room is close or skip")

    def __init__(self, key: RoomKey, hub: "Hub") -> None:
        """Create the room; its log is opened before ``on_start``."""
        super().__init__(key, hub)
        self._appender = self._ledger.appender
        self._followers = Followers(self)
        self._props: Mapping[str, Any] = {}
        self._inbound = Inbound(self, self._ledger)

    def _folded(self) -> Folded:
        return self

    # What a subclass says

    def state(self) -> dict[str, Any]:
        """Return the whole state as plain data."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state that :meth:`state` returned; ``{}`` is the first."""

    def apply(self, message: Message, at_ms: int) -> None:
        """Fold one entry into the state; the same for a new one and in replay."""

    async def receive(self, connection: Connection, message: Message) -> int | None:
        """
        Act on a decoded message the sender may send; return what was appended.

        Append last: what is awaited after an append parts it from the answer that keeps
        a repeated message from acting twice.

        Raises:
            DeniedError: To refuse it with a code and a sentence.
        """
        return None

    async def on_bytes(self, connection: Connection, data: bytes) -> None:
        """Act on a binary frame the sender may send."""
        raise DeniedError("bad-message", "This room takes no binary frames.")

    def wants(self, connection: Connection, message: Message) -> bool:
        """Tell whether *connection* is sent this message."""
        return True

    def on_entry(self, message: Message) -> None:
        """Act on an entry the moment it is stored; must not append."""

    def may_send(self, connection: Connection, kind: str) -> bool:
        """Tell whether *connection* may send messages of this type."""
        roles = connection.identity.roles
        if self.accepts:
            return self.access == "open" or Role.OPERATOR in roles
        return may_send(self.key.party, kind, roles)

    # Log and state

    @property
    def log(self) -> EventLog:
        """The tail of the log that is in memory."""
        return self._appender.log

    @property
    def stored(self) -> int:
        """Offset of the last entry that is stored."""
        return self._appender.gate.stored

    def served(self, connection: Connection) -> int:
        """Return up to which offset *connection* was served."""
        return self._followers.served(connection)

    @property
    def is_busy(self) -> bool:
        """Whether a hook runs, a timer waits, or a connection is being caught up."""
        return super().is_busy or len(self._followers) > 0

    async def start(self, props: Mapping[str, Any]) -> None:
        """Open the log, fold what it holds into the state, run the first hook."""
        self._props = props
        await super().run(self._begin)
        await self.committed()

    async def _begin(self) -> None:
        if self.is_logged:
            await self._ledger.open()
        await self.on_start(self._props)

    async def _reload(self) -> None:
        await super().run(self._turn, lambda: None)

    async def _turn(self, work: Callable[..., Any], *args: Any) -> Any:
        # No hook ever sees what the log refused: the room is made anew before it.
        if self._appender.is_stale:
            await self._begin()
        result = work(*args)
        return await result if inspect.isawaitable(result) else result

    def append(self, message: Message) -> int:
        """
        Give *message* the next offset, fold it in, and store it; then it is sent.

        Raises:
            NotStoredError: If the log is failing, or too much waits to be stored.
        """
        return self._ledger.append(message)

    def on_stored(self, entry: Entry, message: Message) -> None:
        """Send an entry that is stored to everybody who wants it."""
        if entry.is_internal:
            return
        self.on_entry(message)
        frame = encode_frame(entry.body, binary=False)
        self._followers.deliver(message, frame, entry.offset)

    async def run(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run *work* as the room's actor; return once what it appended is stored."""
        result = await super().run(self._turn, work, *args)
        await self.committed()
        return result

    # Output, behind the gate

    def send(self, connection: Connection, message: Message) -> None:
        """Send an ephemeral message, after everything appended before it."""
        self._appender.gate.do(lambda: connection.send_message(message))

    def broadcast_message(self, message: Message) -> None:
        """
        Send an ephemeral message to all, after everything appended before it.

        Those who are behind the log are not sent it.
        """

        def now() -> None:
            self._followers.deliver(
                message, encode_frame(encode(message), binary=False)
            )

        self._appender.gate.do(now)

    def tick(self) -> None:
        """Tell every connection how far it was served."""
        self.broadcast_message(Tick(offset=self.log.head))
        self._followers.tick()

    # Connections

    async def join(self, connection: Connection, request: ConnectRequest) -> None:
        """Take a connection in; it follows the log once it is served."""
        await super().run(self._turn, self._enter, connection, request)

    async def _enter(self, connection: Connection, request: ConnectRequest) -> None:
        await self._admit(connection, request)
        await self.on_connect(connection, request)

    async def on_connect(self, connection: Connection, request: ConnectRequest) -> None:
        """Answer the resume, then let the connection follow the log."""
        await self.committed()
        position = decode_position(
            request.query.get("epoch"), request.query.get("offset")
        )
        await self._followers.admit(connection, position)

    async def leave(
        self, connection: Connection, code: int, reason: str, was_clean: bool
    ) -> None:
        """Let a connection go."""
        self._followers.forget(connection)
        await super().leave(connection, code, reason, was_clean)

    def connected(
        self, connection: Connection, resume: Resume, reason: str, **more: Any
    ) -> Connected:
        """Return the first message of a connection."""
        place: dict[str, Any] = {"epoch": self.log.epoch, "offset": self.log.head}
        return Connected(
            protocol=PROTOCOL,
            version=self.hub.version,
            connection=connection.id,
            user=connection.identity.user,
            roles=sorted(connection.identity.roles),
            resume=resume,
            reason=reason,
            **({"oldest": self._ledger.oldest} | place | more),
        )

    # Messages

    async def _hear(self, connection: Connection, message: str | bytes) -> None:
        with suppress(NotStoredError):  # the gate tells the sender, once
            await super()._hear(connection, message)

    async def on_message(self, connection: Connection, message: str | bytes) -> None:
        """Decode, authorise, act, answer; a refusal is one ``error`` message."""
        await self._inbound.take(connection, message)

    def refuse(
        self,
        connection: Connection,
        code: str,
        reason: str,
        message_id: str | None = None,
    ) -> None:
        """Answer with an ``error``, after everything appended before it."""
        refusal = Error(code=code, message=reason, id=message_id or msgspec.UNSET)

        def tell() -> None:
            connection.send_message(refusal)

        self._appender.gate.do(tell, tell)  # also if what came before is not stored
