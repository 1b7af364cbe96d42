"""
Keeps a paste from ending itself early.

A program that asked for bracketed paste takes what lies between the two marks as text.
A copied text that holds the end mark itself would go on as if it were typed, and its
next line feed would run it.
"""

START = b"\x1b[200~"
END = b"\x1b[201~"


MAX_SESSIONS = 256


class PasteGuard:
    """Strips end marks inside pastes; remembers whose pastes are open."""

    def __init__(self) -> None:
        """Begin with no paste open."""
        self._open: dict[str, None] = {}  # sessions; full: the oldest is forgotten

    def clean(self, session: str, typed: bytes) -> bytes:
        """
        Return what *session* typed without end marks that others follow.

        The last mark of a frame ends the paste. A paste over several frames is the
        client's to clean: it alone knows the whole.
        """
        if session not in self._open and START not in typed:
            return typed
        is_open = session in self._open
        self._open.pop(session, None)
        parts = []
        for number, part in enumerate(typed.split(START)):
            if number:
                parts.append(START)
                is_open = True
            if is_open:
                part, is_open = _closed(part)
            parts.append(part)
        if is_open:
            self._open[session] = None
            if len(self._open) > MAX_SESSIONS:
                del self._open[next(iter(self._open))]
        return b"".join(parts)


def _closed(part: bytes) -> tuple[bytes, bool]:
    """Return *part* with its last end mark alone, and whether the paste goes on."""
    inner, mark, after = part.rpartition(END)
    if not mark:
        return part, True
    return inner.replace(END, b"") + mark + after, False
