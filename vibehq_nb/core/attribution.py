"""Who typed how much when: keys counted into stretches, never kept."""

from typing import NamedTuple

STRETCH_BYTES = 4096
STRETCH_SECONDS = 1.0


class Stretch(NamedTuple):
    """
    Keys of one session in a row.

    ``at_byte`` is where the terminal was when the first of them was taken, ``total``
    the session's count after the last.
    """

    user: str
    session: str
    at_byte: int
    bytes: int
    total: int
    since: float


class Attribution:
    """
    Adds taken keys up to stretches: one per session in a row, 4 KiB or 1 s.

    Times are seconds of one clock, given by the caller.
    """

    def __init__(self) -> None:
        """Begin with nothing typed."""
        self._open: Stretch | None = None

    def take(
        self, user: str, session: str, count: int, total: int, at_byte: int, now: float
    ) -> list[Stretch]:
        """Count *count* keys of *session*, *total* so far; return what is complete."""
        ended = []
        if self._open is not None and (
            self._open.session != session or now - self._open.since >= STRETCH_SECONDS
        ):
            ended += self.end()
        if self._open is None:
            self._open = Stretch(user, session, at_byte, 0, total, now)
        self._open = self._open._replace(bytes=self._open.bytes + count, total=total)
        if self._open.bytes >= STRETCH_BYTES:
            ended += self.end()
        return ended

    def end(self) -> list[Stretch]:
        """Return the open stretch, if there is one, as complete."""
        ended = [] if self._open is None else [self._open]
        self._open = None
        return ended

    @property
    def is_open(self) -> bool:
        """Whether a stretch waits for its end."""
        return self._open is not None
