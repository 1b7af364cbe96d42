"""What is told of recordings: to those who watch, and to a terminal's entry log."""

from msgspec import UNSET, UnsetType

from vibehq_nb.core.messages.base import Count, Message, Text


class Recording(Message):
    """The terminal is being recorded from now on, or no longer."""

    is_on: bool
    id: str
    by: str
    """Who asked for it; ``policy`` where the server records everything."""


class RecordingStarted(Message):
    """A recording began; its output follows this offset of the terminal."""

    id: str
    by: str
    at: float
    """Seconds since 1970."""
    position: Count
    """Where in the terminal's output it was asked for."""
    offset: Count | UnsetType = UNSET


class RecordingSegment(Message):
    """A segment of a recording is complete: terminal output from start to end."""

    id: str
    number: Count
    start: Count
    end: Count
    sha256: str
    offset: Count | UnsetType = UNSET


class RecordingEnded(Message):
    """A recording ended; why is one word."""

    id: str
    reason: Text
    offset: Count | UnsetType = UNSET
