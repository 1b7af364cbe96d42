"""Messages between a terminal room and its viewers."""

from typing import Literal

from msgspec import UNSET, UnsetType

from vibehq_nb.core.messages.base import Cells, Count, Message, Name, Text


class Ack(Message):
    """Bytes up to this offset are parsed (viewer) or taken (room to worker)."""

    offset: Count


class InputAck(Message):
    """Keystrokes of a session up to this count are in the terminal's queue."""

    offset: Count
    session: Name | UnsetType = UNSET
    """Which input session; this and what follows between worker and room only."""
    number: Count | UnsetType = UNSET
    """The input frame that is answered."""
    refused: Name | UnsetType = UNSET
    """Why nothing of that frame was taken: frozen, busy, gap or exited."""


class InputAt(Message):
    """
    What is typed from here on begins at this count, the one that was told last.

    Who says so once says it after each count: what was typed before it, and crossed
    it on the way, is dropped, for it is sent again.
    """

    offset: Count


class Resize(Message):
    """What would fit this screen, in character cells; the size policy decides."""

    cols: Cells
    rows: Cells
    hidden: bool = False
    """The screen is not seen now: its size does not count."""


class AskSizePolicy(Message, tag="size-policy"):
    """Let this policy decide the size; ``fixed`` at the size given."""

    policy: Literal["writer", "fixed", "smallest"]
    cols: Cells | UnsetType = UNSET
    rows: Cells | UnsetType = UNSET


class SizePolicyNow(Message, tag="size-policy"):
    """This policy decides the size, since ``by`` chose it."""

    policy: Literal["writer", "fixed", "smallest"]
    by: str


class Resized(Message):
    """From this offset on, output is meant for this size."""

    cols: Cells
    rows: Cells
    offset: Count


class TakeWriter(Message, tag="writer"):
    """Take the input lease, or give it: back, or to somebody who is here."""

    action: Literal["take", "give"]
    to: Name | UnsetType = UNSET


class Writer(Message):
    """Who holds the input lease; null when it is free."""

    user: str | None
    idle_seconds: float = 0.0


class Title(Message):
    """The terminal's title as its program set it."""

    text: Text


class Cwd(Message):
    """The folder the shell is in, as it told last."""

    path: Text


class Recording(Message):
    """The output is being recorded, from now on or no longer; keys never are."""

    is_on: bool
    id: str
    by: str
    """Who asked for it; ``policy`` where the server records everything."""


class Exited(Message):
    """The shell ended; the offset is the end of its output."""

    offset: Count
    code: int | None = None
    signal: Name | None = None


class ContainerConnected(Message):
    """The worker that holds this terminal is there."""

    worker: str


class ContainerDisconnected(Message):
    """The worker that holds this terminal is away; its shell may well run on."""

    worker: str
    reason: str
