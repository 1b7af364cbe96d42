"""Messages on a worker's terminal socket."""

from typing import Annotated, Literal

from msgspec import Meta

from vibehq_nb.core.messages.base import Cells, Count, Message, Name, Text


class Hello(Message):
    """A worker's first frame on a terminal socket: what it holds."""

    protocol: int
    epoch: Annotated[str, Meta(min_length=1, max_length=64)]
    oldest: Count
    offset: Count
    cols: Cells
    rows: Cells
    state: Literal["running", "exited", "frozen"]
    screen: Literal["vt", "tail"]
    inputs: Annotated[dict[Name, Count], Meta(max_length=256)]
    """Accepted bytes by input session."""
    target: Text = "local"
    """Where it runs: ``local``, ``docker:web-1`` …"""
    code: int | None = None
    signal: Name | None = None


class Since(Message):
    """
    Send what follows this offset (down), or: that is what comes from here on (up).

    The room's first is the answer to a hello; a later one fetches what is older.
    """

    offset: Count
    commands: Count = 0
    """What ran is recorded up to this offset of the stream."""


class Keyframe(Message):
    """Send a snapshot."""


class Watched(Message):
    """How many viewers the terminal has now."""

    count: Count


class InputFrom(Message):
    """The next binary frame is input of this session, starting at this count."""

    session: Name
    offset: Count
    number: Count = 0
    """Counts the frames of one link, so that an answer names what it answers."""


class CommandStarted(Message):
    """A command began whose output begins at this place of the stream."""

    number: Count
    """Counts the commands of the terminal; one that is missing was left out."""
    at_byte: Count
    command: Text
    cwd: Text
    session: str
    """Who pressed Enter for it; empty if nobody did."""
    age_s: float
    """Seconds since it began: the worker's clock may be wrong."""


class CommandEnded(Message):
    """The command with this number ended."""

    number: Count
    at_byte: Count
    """Where the shell told so."""
    exit_code: int | None
    output_end: Count
    duration_s: float


class Frozen(Message):
    """The terminal's processes were stopped, or go on."""

    is_frozen: bool
