"""
How far a sender may run ahead: of its peer, and of the one who types.

All acknowledgements are absolute offsets: a lost, repeated, late or forged one does no
harm, and the next honest one makes up for it.
"""

CREDIT_BYTES = 256 * 1024
"""What a worker may send that its room has not taken."""

WINDOW_BYTES = 512 * 1024
"""What a viewer that acknowledges may be sent that it has not parsed."""

PATIENCE_SECONDS = 1.0
"""A viewer whose acknowledgements stand still for so long is waited for no more."""


class Credit:
    """
    A window over a byte stream, moved by acknowledgements.

    An acknowledgement ahead of what was sent counts as far as was sent.
    """

    def __init__(self, start: int, window_bytes: int = CREDIT_BYTES) -> None:
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


class Pace:
    """
    How far one viewer has parsed, and whether a terminal waits for it.

    The terminal waits for the viewer of whoever types, as long as it is more than a
    window behind and its acknowledged offset advances within a second. One that stood
    still is waited for again only after a further advance, so that a sleeping tab
    never stops a job.

    Attributes:
        acked: Bytes it has parsed; None until it first says so.
    """

    def __init__(self) -> None:
        """Begin without a word from the viewer."""
        self.acked: int | None = None
        self._since: float | None = None  # behind, and no advance since then
        self._is_asleep = False

    def acknowledge(self, offset: int) -> None:
        """Note that the viewer has parsed everything up to *offset*."""
        if self.acked is None or offset > self.acked:
            self.acked, self._since, self._is_asleep = offset, None, False

    def move(self, offset: int) -> None:
        """Count from *offset* on: a keyframe stands for all before it."""
        if self.acked is not None:
            self.acked = offset

    def behind(self, offset: int) -> int:
        """Return how many bytes up to *offset* are not parsed; 0 if it never says."""
        return 0 if self.acked is None else offset - self.acked

    def is_behind(self, offset: int) -> bool:
        """Tell whether more than a window up to *offset* is not parsed."""
        return self.behind(offset) > WINDOW_BYTES

    def patience(self, head: int, now: float) -> float:
        """
        Return for how many seconds a terminal at *head* waits if nothing changes.

        0: it does not wait. *now* is seconds of any clock that never goes back; the
        second begins when this is first asked of a viewer that is behind.
        """
        if not self.is_behind(head):
            self._since = None
            return 0.0
        if self._since is None:
            self._since = now
        left = self._since + PATIENCE_SECONDS - now
        self._is_asleep = self._is_asleep or left <= 0
        return 0.0 if self._is_asleep else left
