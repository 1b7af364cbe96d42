"""
What a terminal answers by itself, told from what a person types.

With many viewers, each of them would answer a program's question and the shell would
get the answers as typed text. So answers count only from whoever holds the input
lease. Formats: xterm's control sequences (``ctlseqs``).
"""

import re

_ONE = (
    rb"(?:\x1b\[\?[\d;]*(?:\$y|[cnRu])"  # attributes, status, modes, kitty's keyboard
    rb"|\x1b\[[>=][\d;]*c|\x1b\[0n|\x1b\[\d+;\d+R|\x1b\[[\d;]+\$y"
    rb"|\x1b\[(?:[1-9]|[1-4]\d)(?:;\d+)*t"  # the window's state and size
    rb"|\x1b\[[IO]"  # focus
    rb"|\x1bP[^\x1b]*\x1b\\"  # status strings, terminfo
    rb"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\))"  # colours, clipboard
)
_REPLY, _REPLIES = re.compile(_ONE), re.compile(_ONE + b"+")
_SHIFTED_F3 = re.compile(rb"\x1b\[1;[2-8]R")

MAX_REPLY_BYTES = 4096
"""A longer frame is no answer to a question; it is not looked at."""


def is_reply(typed: bytes) -> bool:
    """Tell whether *typed* is nothing but answers of a terminal."""
    if not typed.startswith(b"\x1b") or len(typed) > MAX_REPLY_BYTES:
        return False
    return bool(_REPLIES.fullmatch(typed)) and not _SHIFTED_F3.fullmatch(typed)


def without_replies(typed: bytes) -> bytes:
    """Return *typed* without the answers of a terminal in it."""
    return _REPLY.sub(
        lambda found: found[0] if _SHIFTED_F3.fullmatch(found[0]) else b"", typed
    )
