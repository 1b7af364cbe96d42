"""
Keeps a paste from ending itself early.

A program that asked for bracketed paste takes what lies between the two marks as text.
A copied text that holds the end mark itself would go on as if it were typed, and its
next line feed would run it.
"""

START = b"\x1b[200~"
END = b"\x1b[201~"


class PasteGuard:
    """Strips end marks inside the pastes of one input session."""

    def __init__(self) -> None:
        """Begin outside a paste."""
        self._is_open = False

    def clean(self, typed: bytes) -> bytes:
        """
        Return *typed* without end marks that others follow in the same paste.

        The last mark of a frame ends the paste. A paste over several frames is the
        client's to clean: it alone knows the whole.
        """
        if not self._is_open and START not in typed:
            return typed
        parts = []
        for number, part in enumerate(typed.split(START)):
            if number:
                parts.append(START)
                self._is_open = True
            parts.append(self._closed(part) if self._is_open else part)
        return b"".join(parts)

    def _closed(self, part: bytes) -> bytes:
        inner, mark, after = part.rpartition(END)
        if not mark:
            return part
        self._is_open = False
        return inner.replace(END, b"") + mark + after
