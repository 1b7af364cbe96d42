"""Messages of every replicated room."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from vibehq_nb.core.messages.base import Cells, Count, Message, Object


class Connected(Message):
    """The first frame: what the room is, who you are in it, and what comes next."""

    protocol: int
    version: str
    connection: str
    user: str
    roles: list[str]
    epoch: str
    offset: Count
    oldest: Count
    resume: Literal["fresh", "resumed", "snapshot", "reset", "waiting"]
    reason: str = ""
    cols: int | UnsetType = UNSET
    rows: int | UnsetType = UNSET
    screen: Literal["vt", "tail"] | UnsetType = UNSET
    input: int | UnsetType | None = UNSET
    """Bytes of this input session that were accepted; null while nobody can tell."""
    writer: str | UnsetType | None = UNSET
    recording: str | UnsetType | None = UNSET
    """The id of a terminal's recording that runs; null where none does."""
    state: str | UnsetType = UNSET
    """A terminal's: running, exited or frozen."""
    size_policy: Literal["writer", "fixed", "smallest"] | UnsetType = UNSET


class Gap(Message):
    """The half-open range ``(from, to]`` will never be sent."""

    from_: Count = msgspec.field(name="from")
    to: Count
    reason: str


class StateSnapshot(Message, tag="snapshot"):
    """The whole state of an event room at a position."""

    epoch: str
    offset: Count
    state: Object


class TerminalSnapshot(Message, tag="snapshot"):
    """A keyframe at a position; binary frames totalling ``bytes`` follow."""

    epoch: str
    offset: Count
    cols: Cells
    rows: Cells
    bytes: Count


class Tick(Message):
    """How far this connection was served, filters included."""

    offset: Count


class Accepted(Message):
    """The message with this id is stored."""

    id: str
    offset: Count


class Error(Message):
    """A refusal; the connection stays. Never echoes input, never holds a trace."""

    code: str
    message: str
    id: str | UnsetType = UNSET


class Presence(Message):
    """Somebody joined or left a room."""

    event: Literal["joined", "left"]
    who: str
    roles: list[str]
    room: str
