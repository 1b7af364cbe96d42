"""When to try again: partysocket's delays and counter, with jitter on top."""

from dataclasses import dataclass, field

MIN_DELAY = 3.0
MAX_DELAY = 10.0
GROW_FACTOR = 1.3
MIN_UPTIME = 5.0


def reconnect_delay(
    retry: int,
    jitter: float,
    minimum: float = MIN_DELAY,
    maximum: float = MAX_DELAY,
    factor: float = GROW_FACTOR,
) -> float:
    """
    Return the seconds to wait before try number *retry* (0 is the first try).

    Without jitter: 0, then 3.0, 3.9, 5.07 … up to the maximum.
    Source: partysocket 1.3, ``_getNextDelay``.

    Args:
        retry: How many tries failed since the last one that held.
        jitter: A random number in [0, 1); up to a quarter is taken off the delay, so
            that many clients of one server do not come back in the same instant.
        minimum: Seconds before the first retry.
        maximum: Seconds no delay exceeds.
        factor: Growth from one retry to the next.
    """
    if retry <= 0:
        return 0.0
    delay = minimum * factor ** min(retry - 1, 64)
    return min(delay, maximum) * (1.0 - jitter / 4)


@dataclass(slots=True)
class Backoff:
    """
    Counts the tries of one socket; a link that holds long enough starts the count anew.

    Attributes:
        minimum: Seconds before the first retry.
        maximum: Seconds no delay exceeds.
        factor: Growth from one retry to the next.
        min_uptime: Seconds a link has to hold before its loss counts as the first.
        max_retries: Retries before it is given up; None for no end, 0 for one try.
    """

    minimum: float = MIN_DELAY
    maximum: float = MAX_DELAY
    factor: float = GROW_FACTOR
    min_uptime: float = MIN_UPTIME
    max_retries: int | None = None
    _count: int = field(default=-1, init=False)
    _opened_at: float | None = field(default=None, init=False)

    @property
    def is_exhausted(self) -> bool:
        """Whether no further try is allowed."""
        return self.max_retries is not None and self._count >= self.max_retries

    def retry_count(self, now: float) -> int:
        """Return how many retries there were since a link last held."""
        return 0 if self._has_held(now) else max(self._count, 0)

    def begin(self, jitter: float) -> float | None:
        """Count one more try; return the seconds to wait before it, None for no try."""
        if self.is_exhausted:
            return None
        self._count += 1
        return reconnect_delay(
            self._count, jitter, self.minimum, self.maximum, self.factor
        )

    def opened(self, now: float) -> None:
        """Note that the link is up."""
        self._opened_at = now

    def lost(self, now: float) -> None:
        """Note that the link is down, or never came up."""
        if self._has_held(now):
            self._count = 0
        self._opened_at = None

    def reset(self) -> None:
        """Begin anew: the next try is the first, and follows at once."""
        self._count, self._opened_at = -1, None

    def _has_held(self, now: float) -> bool:
        opened_at = self._opened_at
        return opened_at is not None and now - opened_at >= self.min_uptime
