"""How far a sender may run ahead of what its peer has taken."""

WINDOW_BYTES = 1024 * 1024


class Credit:
    """
    A window over a byte stream, moved by acknowledgements.

    Acknowledgements are absolute offsets: a lost, repeated or late one does no harm,
    and one ahead of what was sent counts as far as was sent.
    """

    def __init__(self, start: int, window_bytes: int = WINDOW_BYTES) -> None:
        """Begin at *start* with nothing outstanding."""
        self.sent = start
        self._acknowledged = start
        self._window_bytes = window_bytes

    @property
    def left(self) -> int:
        """How many bytes may be sent now."""
        return max(self._window_bytes - (self.sent - self._acknowledged), 0)

    def spend(self, count: int) -> None:
        """Note that *count* bytes were sent."""
        self.sent += count

    def acknowledge(self, offset: int) -> None:
        """Note that the peer has taken everything up to *offset*."""
        self._acknowledged = max(self._acknowledged, min(offset, self.sent))
