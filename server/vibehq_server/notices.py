"""What an operator is told, beside being counted: why a client has a gap or is away."""

import logging
import time
from typing import TYPE_CHECKING

from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import Resume
from vibehq_nb.core.messages import Close, Gap
from vibehq_server.connection import Connection
from vibehq_server.logs import clip

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

logger = logging.getLogger(__name__)

UNTOLD = frozenset({1000, Close.RESTART})
"""Codes that the server closes with in the course of things."""


def note_resume(
    hub: "Hub", room: RoomKey, connection: Connection, resume: Resume, reason: str
) -> None:
    """Count how a connection was answered; tell it where something is missing."""
    hub.counters.note_resume(room, resume)
    if resume in ("snapshot", "reset"):
        logger.info("%s: %s answered %s, %s", room, who(connection), resume, reason)


def note_gap(room: RoomKey, connection: Connection, gap: Gap) -> None:
    """Tell what a connection will never be sent."""
    logger.info(
        "%s: %s has a gap (%d, %d], %s",
        room,
        who(connection),
        gap.from_,
        gap.to,
        gap.reason,
    )


def note_close(
    hub: "Hub", room: RoomKey, connection: Connection, code: int, reason: str
) -> None:
    """Count a slow consumer that is closed; tell why any connection is."""
    if code == Close.SLOW:
        hub.counters.slow[room.party] += 1
    if code not in UNTOLD:
        logger.info("%s: %s closed with %d, %s", room, who(connection), code, reason)


def note_forbidden(room: RoomKey, connection: Connection, kind: str) -> None:
    """Tell who sent what that one's role may not send; a minute has one such line."""
    if connection.meter.allows_telling(time.monotonic()):
        may_not = "%s: %s may not send %s: refused"
        logger.info(may_not, room, who(connection), clip(kind))


def note_refused(hub: "Hub", path: str, code: str, request_id: str) -> None:
    """Count and tell a handshake that is refused."""
    hub.counters.note_refused(code)
    logger.info(
        "%s: handshake refused, %s", clip(path), code, extra={"request_id": request_id}
    )


def who(connection: Connection) -> str:
    """Return user and connection id as one log line may hold them."""
    return f"{clip(connection.identity.user)}/{clip(connection.id)}"
