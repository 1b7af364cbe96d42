"""
The input lease of a terminal: one writer at a time, seen by all.

Typing takes a free lease by itself; it is renewed by typing, can be taken and given,
and is gone with its holder or after 30 s without a key.
"""

from dataclasses import dataclass

LEASE_SECONDS = 30.0


@dataclass(slots=True)
class Lease:
    """
    Who may type now.

    Times are seconds of one clock, given by the caller.
    """

    holder: str | None = None
    renewed_at: float = 0.0

    def writer(self, now: float) -> str | None:
        """Return who holds the lease, or None when it is free."""
        if self.holder is not None and now - self.renewed_at >= LEASE_SECONDS:
            self.holder = None
        return self.holder

    def idle_seconds(self, now: float) -> float:
        """Return how long the holder has not typed."""
        return 0.0 if self.holder is None else max(0.0, now - self.renewed_at)

    def type(self, user: str, now: float) -> bool:
        """Renew or take the lease by typing; tell whether *user* may type."""
        if self.writer(now) not in (None, user):
            return False
        self.holder, self.renewed_at = user, now
        return True

    def take(self, user: str, now: float) -> str | None:
        """Give the lease to *user* whoever holds it; return the one who lost it."""
        lost = self.writer(now)
        self.holder, self.renewed_at = user, now
        return lost if lost != user else None

    def give(self, user: str) -> bool:
        """Free the lease if *user* holds it; tell whether it did."""
        if self.holder != user:
            return False
        self.holder = None
        return True
