"""How often one address may show a credential that opens nothing."""

from collections import OrderedDict
from collections.abc import Callable

WINDOW_SECONDS = 60.0
MAX_FAILURES = 10
MAX_ADDRESSES = 4096


class FailureLimit:
    """
    Counts failures per address: ten a minute are answered, the next are put off.

    Credentials that open something are never put off, so one misconfigured program
    cannot lock the others on its host out.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Measure the minute with *monotonic*."""
        self._monotonic = monotonic
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def is_over(self, address: str) -> bool:
        """Count one failure of *address* and tell whether it is one too many."""
        now = self._monotonic()
        started, count = self._windows.pop(address, (now, 0))
        if now - started >= WINDOW_SECONDS:
            started, count = now, 0
        self._windows[address] = (started, count + 1)
        while len(self._windows) > MAX_ADDRESSES:
            self._windows.popitem(last=False)
        return count + 1 > MAX_FAILURES
