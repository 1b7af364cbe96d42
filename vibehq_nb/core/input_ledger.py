"""
Which keystrokes a terminal has taken, by input session.

So that a keystroke is taken at most once over any number of broken links: every
session counts the bytes it ever sent, the ledger counts the bytes taken of each.
"""

from collections import OrderedDict

MAX_SESSIONS = 256


class InputLedger:
    """Counts taken bytes of at most *capacity* sessions, the idlest forgotten first."""

    def __init__(self, capacity: int = MAX_SESSIONS) -> None:
        """Begin with no session known; unknown ones count as 0."""
        self._capacity = capacity
        self._taken: OrderedDict[str, int] = OrderedDict()  # full: the idlest goes

    def taken(self, session: str) -> int:
        """Return how many bytes of *session* were taken so far."""
        return self._taken.get(session, 0)

    def fresh(self, session: str, offset: int, data: bytes) -> bytes | None:
        """
        Return the part of *data* not taken before, or None when bytes are missing.

        Args:
            session: Whose input it is.
            offset: How many bytes the session had sent before *data*.
            data: What it sent now.
        """
        taken = self.taken(session)
        if offset > taken:
            return None
        return data[taken - offset :]

    def take(self, session: str, count: int) -> int:
        """Note that *count* more bytes were taken and return the new total."""
        total = self.taken(session) + count
        self._taken[session] = total
        self._taken.move_to_end(session)
        while len(self._taken) > self._capacity:
            self._taken.popitem(last=False)
        return total

    def counts(self) -> dict[str, int]:
        """Return the bytes taken of every session that is remembered."""
        return dict(self._taken)
