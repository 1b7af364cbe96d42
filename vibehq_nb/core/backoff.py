"""Reconnect delays, as partysocket computes them, with jitter on top."""

MIN_DELAY = 3.0
MAX_DELAY = 10.0
GROW_FACTOR = 1.3


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
