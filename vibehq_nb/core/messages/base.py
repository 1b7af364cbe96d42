"""What all messages share: their base, their bounded fields, the close codes."""

from enum import IntEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

PROTOCOL = 1
"""The version of these messages; a server speaks this one and the one before."""

Cells = Annotated[int, Meta(ge=1, le=500)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
MessageId = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=4096)]
Words = Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=64)]
Object = dict[str, Any]


class Close(IntEnum):
    """
    Why an open socket is closed. Below 4500: come back and resume; from 4500: do not.

    Source of the split: Centrifuge's ``disconnect.go``.
    """

    RESTART = 1012
    TOO_BIG = 1009
    INTERNAL = 1011
    SLOW = 4408
    MOVED = 4409
    RATE = 4429
    SIGNED_OUT = 4501
    FORBIDDEN = 4503
    NO_SUCH_ROOM = 4504
    REPLACED = 4509
    ENDED = 4510
    PROTOCOL = 4511


def _tag(class_name: str) -> str:
    return "".join(
        f"-{char.lower()}" if char.isupper() and index else char.lower()
        for index, char in enumerate(class_name)
    )


FROZEN: Any = {"frozen": True}
"""Apart, because type checkers want ``frozen`` repeated on every subclass."""


class Message(
    msgspec.Struct, kw_only=True, tag_field="type", tag=_tag, gc=False, **FROZEN
):
    """One message; its ``type`` is the class's name in kebab-case or as given."""
