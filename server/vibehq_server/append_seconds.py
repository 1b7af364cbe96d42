"""How long appends take until they are stored, for ``/metrics``."""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class AppendSeconds(Collector):
    """
    The histogram ``vibehq_append_seconds``; for the event loop's thread alone.

    Without the lock of the stock one: it is fed once for every entry of every room.
    """

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one entry that was stored *seconds* after it was appended."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterable[Metric]:
        """Yield the histogram."""
        names = [*map(str, BOUNDS), "+Inf"]
        yield HistogramMetricFamily(
            "vibehq_append_seconds",
            "From an entry's append to its being on disk.",
            buckets=list(zip(names, accumulate(self._counts), strict=True)),
            sum_value=self._sum,
        )
