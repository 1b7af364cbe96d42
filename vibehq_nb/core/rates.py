"""How often something may happen: a token bucket that is told the time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """
    So many a second over a long time, and *burst* at once.

    Attributes:
        per_second: What comes back each second.
        burst: What a bucket that rested holds.
    """

    per_second: float
    burst: int


class Bucket:
    """
    Counts against one :class:`Rate`.

    What is refused costs nothing: a sender over its rate gets on at that rate. A
    clock that goes back gives nothing and takes nothing.
    """

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: Rate) -> None:
        """Begin full."""
        self._rate = rate
        self._left = float(rate.burst)
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Take one at *now*, in seconds; False when the bucket is empty."""
        if self._at is not None and now > self._at:
            gained = (now - self._at) * self._rate.per_second
            self._left = min(self._left + gained, float(self._rate.burst))
        self._at = now if self._at is None else max(now, self._at)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
