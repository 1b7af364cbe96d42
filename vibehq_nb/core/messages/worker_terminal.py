"""Messages on a worker's terminal socket."""

from typing import Literal

from vibehq_nb.core.messages.base import Cells, Count, Message, Name


class Hello(Message):
    """A worker's first frame on a terminal socket: what it holds."""

    protocol: int
    epoch: str
    oldest: Count
    offset: Count
    cols: Cells
    rows: Cells
    state: Literal["running", "exited", "frozen"]
    screen: Literal["vt", "tail"]
    inputs: dict[str, int]
    """Accepted bytes by input session."""
    code: int | None = None
    signal: str | None = None


class Since(Message):
    """Send what follows this offset."""

    offset: Count


class Keyframe(Message):
    """Send a snapshot."""


class InputFrom(Message):
    """The next binary frame is input of this session, starting at this count."""

    session: Name
    offset: Count
    number: Count = 0
    """Counts the frames of one link, so that an answer names what it answers."""


class Frozen(Message):
    """The terminal's processes were stopped, or go on."""

    is_frozen: bool
