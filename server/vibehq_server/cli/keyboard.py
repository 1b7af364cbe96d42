"""What a keyboard sends: the key that leaves, and what the terminal itself says."""

import re
from typing import Self

from vibehq_nb.core.errors import UsageError

_NAME = re.compile(r"(?:ctrl-|\^)([a-z@\[\\\]^_])", re.IGNORECASE)

_REPORT = re.compile(
    rb"\x1b\[[?>=]?[\d;]*[cnRtx]"  # device attributes, status, cursor, window
    rb"|\x1b\[\??[\d;]*\$y|\x1b\[\?\d*u"  # modes, keyboard protocol
    rb"|\x1b[P\]_^][^\x07\x1b]*(?:\x07|\x1b\\)"  # colours, settings, versions
    rb"|\x1b\[[IO]"  # focus
    rb"|\x1b\[<(?P<button>\d+);\d+;\d+[Mm]"
)
_SHIFT_F3 = re.compile(rb"\x1b\[1;[2-8]R")
_MOTION_OR_WHEEL = 32 | 64


class Key:
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
    return _REPORT.sub(_kept, typed)


def _kept(found: re.Match[bytes]) -> bytes:
    button = found["button"]
    is_press = button is not None and not int(button) & _MOTION_OR_WHEEL
    return found[0] if is_press or _SHIFT_F3.fullmatch(found[0]) else b""
