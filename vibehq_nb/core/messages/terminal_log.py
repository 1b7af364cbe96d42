"""
Entries of a terminal's log: who wrote when, who had the keyboard, what ran, and more.

Kept beside the bytes, never sent on the terminal's socket. ``offset`` counts entries,
as in every log; ``at_byte`` with ``epoch`` is where in the terminal it happened.
"""

from typing import Literal

from vibehq_nb.core.messages.base import Cells, Count, Message, Text


class Wrote(Message):
    """
    Keys of one user that the terminal took; the keys themselves are not kept.

    One entry per change of writer, 4 KiB or 1 s of typing.
    """

    offset: Count
    epoch: str
    at_byte: Count
    user: str
    bytes: Count
    session: str
    """The input session, and …"""
    total: Count
    """… how many of its bytes were taken so far."""


class WriterChanged(Message):
    """The input lease passed to ``user``; null: it is free."""

    offset: Count
    epoch: str
    at_byte: Count
    user: str | None
    lost: str | None
    """Who had it before."""
    how: Literal["typed", "taken", "given", "left", "expired"]


class Sized(Message):
    """From here on the terminal has this size."""

    offset: Count
    epoch: str
    at_byte: Count
    cols: Cells
    rows: Cells


class SizePolicyChanged(Message):
    """From here on this policy decides the size."""

    offset: Count
    policy: Literal["writer", "fixed", "smallest"]
    cols: Cells
    rows: Cells
    by: str


class CommandBegan(Message):
    """A command began; its output begins at ``at_byte``."""

    offset: Count
    epoch: str
    at_byte: Count
    number: Count
    command: Text
    cwd: Text
    user: str | None
    """Who ran it; null where that is not known any more."""
    started_at: str


class CommandDone(Message):
    """A command ended."""

    offset: Count
    epoch: str
    at_byte: Count
    number: Count
    exit_code: int | None
    """Null: the shell did not tell."""
    output_end: Count
    duration_s: float


class RecordingStarted(Message):
    """A recording began, because ``by`` asked for it, or by ``policy``."""

    offset: Count
    epoch: str
    at_byte: Count
    id: str
    by: str


class RecordingSegment(Message):
    """A file of a recording is complete: output from ``start`` to ``end``."""

    offset: Count
    id: str
    number: Count
    start: Count
    end: Count
    sha256: str


class RecordingEnded(Message):
    """A recording ended, for this reason."""

    offset: Count
    epoch: str
    at_byte: Count
    id: str
    reason: Text


class NotesLost(Message):
    """So many entries before this one were not stored, and why."""

    offset: Count
    count: Count
    reason: Text
