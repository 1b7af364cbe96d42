"""What a keyboard sends: the key that leaves, and what the terminal itself says."""

import re
from typing import Self

from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.replies import without_replies

_NAME = re.compile(r"(?:ctrl-|\^)([a-z@\[\\\]^_])", re.IGNORECASE)

_MOUSE = re.compile(rb"\x1b\[<(\d+);\d+;\d+[Mm]")
_MOTION_OR_WHEEL = 32 | 64


class CtrlKey:
    """
    A key held with Ctrl, however the terminal writes it.

    Attributes:
        name: As people read it: ``Ctrl-]``.
    """

    def __init__(self, char: str) -> None:
        """Take the key that is held with Ctrl."""
        self.name = f"Ctrl-{char.upper()}"
        code = ord(char.lower())
        plain = bytes([ord(char.upper()) & 0x1F])
        # The second and third come where a program has asked for key protocols.
        forms = (plain, b"\x1b[%d;5u" % code, b"\x1b[27;5;%d~" % code)
        self._pattern = re.compile(b"|".join(map(re.escape, forms)))

    @classmethod
    def named(cls, text: str) -> Self:
        """
        Return the key called *text*, as ``ctrl-p`` or ``^]``.

        Raises:
            UsageError: If there is no such key.
        """
        found = _NAME.fullmatch(text)
        if found is None:
            raise UsageError(f"{text!r} is no key; say one like ctrl-] or ctrl-p")
        return cls(found[1])

    def split(self, typed: bytes) -> tuple[bytes, bool]:
        """Return what was typed before this key, and whether it was typed."""
        found = self._pattern.search(typed)
        return (typed, False) if found is None else (typed[: found.start()], True)


def without_reports(typed: bytes) -> bytes:
    """
    Return *typed* without what the terminal says by itself.

    Those are its answers to what a program asks, focus, and a mouse that only moves:
    from somebody who does not type here, they are no keystrokes.
    """
    return _MOUSE.sub(_pressed, without_replies(typed))


def _pressed(mouse: re.Match[bytes]) -> bytes:
    return b"" if int(mouse[1]) & _MOTION_OR_WHEEL else mouse[0]
