"""Names and positions: what identifies a room, a connection, a place in a log."""

import re
from typing import NamedTuple, NewType

UserId = NewType("UserId", str)
"""The authenticated human or program behind connections."""

ConnectionId = NewType("ConnectionId", str)
"""One live WebSocket, as its ``_pk`` names it."""

MAX_ROOM_BYTES = 256
MAX_CONNECTION_ID = 256

_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL_ESCAPE = re.compile(r"%(?:[01][0-9A-F]|7F)", re.IGNORECASE)


class Position(NamedTuple):
    """
    Where a replica is: how much it holds of which lifetime of a log.

    ``offset`` counts entries of an event log or bytes of a terminal; 0 = nothing.
    ``epoch`` names one lifetime of the log and is compared for equality only.
    """

    epoch: str
    offset: int


class RoomKey(NamedTuple):
    """One room: its party and its raw, percent-encoded name."""

    party: str
    name: str

    def __str__(self) -> str:
        """Return ``party/name``, the form used in logs and grants."""
        return f"{self.party}/{self.name}"


def decode_position(epoch: str | None, offset: str | None) -> Position | None:
    """Return the position a client gave; half of one counts as none."""
    if not epoch or not offset or not offset.isascii() or not offset.isdigit():
        return None
    if len(epoch) > 64 or len(offset) > 16:
        return None
    return Position(epoch, int(offset))


def is_room_name(raw: str) -> bool:
    """
    Tell whether *raw* is a room name as it stands in a URL.

    1 to 256 bytes, percent-encoded, without a slash, white space or control
    characters, encoded ones included.
    """
    if not raw.isascii() or not 1 <= len(raw) <= MAX_ROOM_BYTES:
        return False
    if any(ord(char) <= 32 or char in '/?#"<>\x7f' for char in raw):
        return False
    return not _PERCENT.search(raw.encode()) and not _CONTROL_ESCAPE.search(raw)


def party_name(class_name: str) -> str:
    """
    Return the kebab-case party of a room class, as PartyServer derives it.

    All-uppercase names are lowered; otherwise each capital starts a new word.
    Source: cloudflare/partykit, ``camelCaseToKebabCase``.
    """
    if class_name == class_name.upper() and class_name != class_name.lower():
        return class_name.lower().replace("_", "-")
    kebab = re.sub(r"[A-Z]", lambda match: "-" + match.group().lower(), class_name)
    kebab = kebab.removeprefix("-").replace("_", "-")
    return kebab.removesuffix("-")


def worker_of(terminal: str) -> str:
    """Return the worker that holds *terminal*: ``{worker}`` or ``{worker}:{name}``."""
    return terminal.partition(":")[0]
