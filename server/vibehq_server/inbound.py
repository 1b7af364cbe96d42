"""
Messages on their way into a replicated room: decoded, authorised, acted on, answered.

A message with an ``id`` has one effect, however often it comes: its answer is an entry
of the log, appended with what it did.
"""

import logging
import secrets
from typing import TYPE_CHECKING

from vibehq_nb.core.answers import Answered
from vibehq_nb.core.codec import Decoder
from vibehq_nb.core.errors import DecodeError, DeniedError, NotStoredError
from vibehq_nb.core.messages import FROM_WORKER, UPSTREAM, Accepted, Message, type_of
from vibehq_nb.core.roles import BINARY, Role
from vibehq_server.connection import Connection
from vibehq_server.ledger import Ledger
from vibehq_server.notices import note_forbidden

if TYPE_CHECKING:
    from vibehq_server.replicated import ReplicatedRoom

logger = logging.getLogger(__name__)

NOT_STORED = "This could not be stored, so nothing of it happened. Try again."


class Inbound:
    """What the clients of one replicated room send."""

    def __init__(self, room: "ReplicatedRoom", ledger: Ledger) -> None:
        """Hand on to *room*; the answers are kept in *ledger*."""
        self._room, self._ledger = room, ledger
        party = room.key.party
        self._of_workers = Decoder(room.accepts or FROM_WORKER.get(party, ()))
        self._of_others = Decoder(room.accepts or UPSTREAM.get(party, ()))

    async def take(self, connection: Connection, message: str | bytes) -> None:
        """Act on one message; a refusal is one ``error``, and so is a failure."""
        message_id: str | None = None
        refuse = self._room.refuse
        try:
            if isinstance(message, bytes):
                self._authorise(connection, BINARY)
                await self._room.on_bytes(connection, message)
                return
            decoded, message_id = self._decode(connection, message)
            await self._act(connection, decoded, message_id)
        except (DecodeError, DeniedError) as error:
            refuse(connection, error.code, error.reason, message_id)
            if error.code == "unknown-type":
                connection.count_unknown()
        except NotStoredError:
            refuse(connection, "not-stored", NOT_STORED, message_id)
        except Exception as error:
            await self.fail(connection, error, message_id)

    def _decode(
        self, connection: Connection, message: str
    ) -> tuple[Message, str | None]:
        is_worker = connection.identity.has(Role.WORKER)
        decoder = self._of_workers if is_worker else self._of_others
        decoded = decoder.decode(message)
        self._authorise(connection, type_of(decoded))
        return decoded, None if is_worker else getattr(decoded, "id", None) or None

    def _authorise(self, connection: Connection, kind: str) -> None:
        if not self._room.may_send(connection, kind):
            note_forbidden(self._room.key, connection, kind)
            raise DeniedError("forbidden", "Your role may not send this here.")

    async def _act(
        self, connection: Connection, message: Message, message_id: str | None
    ) -> None:
        gate = self._ledger.appender.gate

        def refuse() -> None:
            self._room.refuse(connection, "not-stored", NOT_STORED, message_id)

        if message_id is None:
            if await self._room.receive(connection, message) is not None:
                gate.do(lambda: None, refuse)
            return
        result = await self._act_once(connection, message, message_id)
        accepted = Accepted(id=message_id, offset=result)
        gate.do(lambda: connection.send_message(accepted), refuse)

    async def _act_once(
        self, connection: Connection, message: Message, message_id: str
    ) -> int:
        sender = f"{connection.identity.user}/{connection.id}"
        known = self._ledger.answers.find(sender, message_id)
        if known is not None:
            return known
        result = await self._room.receive(connection, message)
        if result is None:
            return self._room.log.head  # nothing is stored: again is harmless
        answered = Answered(sender=sender, message_id=message_id, result=result)
        self._ledger.append(answered)
        return result

    async def fail(
        self, connection: Connection, error: Exception, message_id: str | None
    ) -> None:
        """Say that something failed here, and no more: the log has the trace."""
        reference = secrets.token_hex(4)
        logger.error("%s: failure %s", self._room.key, reference, exc_info=error)
        text = f"The server failed on this message (reference {reference})."
        self._room.refuse(connection, "internal", text, message_id)
        await self._room.on_error(connection, error)
