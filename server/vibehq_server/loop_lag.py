"""How late the event loop runs what is due: the one figure that slows all rooms."""

import asyncio
from bisect import bisect_left
from collections import deque

SAMPLE_SECONDS = 0.25
WINDOW_SAMPLES = int(60 / SAMPLE_SECONDS)
BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds; upper bounds of the histogram's buckets."""


class LoopLag:
    """Samples of one event loop."""

    def __init__(self) -> None:
        """Begin without a sample."""
        self.last = 0.0
        self.total = 0.0
        self._counts = [0] * (len(BOUNDS) + 1)
        self._recent: deque[float] = deque(maxlen=WINDOW_SAMPLES)  # the oldest go

    @property
    def worst(self) -> float:
        """The largest of the last minute, in seconds."""
        return max(self._recent, default=0.0)

    def note(self, seconds: float) -> None:
        """Take one sample in."""
        self.last = seconds
        self.total += seconds
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._recent.append(seconds)

    def buckets(self) -> list[tuple[str, float]]:
        """Return upper bound and count of all samples up to it, ``+Inf`` last."""
        found, count = [], 0
        for bound, more in zip((*BOUNDS, None), self._counts, strict=True):
            count += more
            found.append(("+Inf" if bound is None else str(bound), float(count)))
        return found

    async def watch(self) -> None:
        """Sample four times a second; ends with its task."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + SAMPLE_SECONDS
            await asyncio.sleep(SAMPLE_SECONDS)
            self.note(max(0.0, clock() - due))
