"""
How much one peer may ask for: messages of a connection, sockets of an address.

The counting is pure (:mod:`vibehq_nb.core.rates`); here are the figures, and what is
said to who is over them.
"""

from collections import Counter

from vibehq_nb.core.rates import Bucket, Rate
from vibehq_server.refusals import Refusal

UNKNOWN_TYPES = Rate(per_second=9 / 60, burst=9)
"""Messages of a type the room does not know: the tenth in a row closes with 1008."""

TOLD_REFUSALS = Rate(per_second=1 / 60, burst=1)
"""Log lines about what one connection may not send."""

NEW_SOCKETS = Rate(per_second=500, burst=500)
"""Handshakes of the whole server; what is over them is told when to come back."""

MAX_PER_ADDRESS = 200
MAX_PER_LOOPBACK = 4096
MAX_WAIT_SECONDS = 10


class Meter:
    """What one connection has sent lately; one that sends nothing costs little."""

    __slots__ = ("_messages", "_rate", "_told", "_unknown")

    def __init__(self, rate: Rate | None) -> None:
        """Allow *rate* messages; None for any number."""
        self._rate = rate
        self._messages: Bucket | None = None
        self._unknown: Bucket | None = None
        self._told: Bucket | None = None

    def allows_message(self, now: float) -> bool:
        """Count a message at *now* and tell whether it may be taken."""
        if self._rate is None:
            return True
        if self._messages is None:
            self._messages = Bucket(self._rate)
        return self._messages.take(now)

    def allows_unknown(self, now: float) -> bool:
        """Count a message of unknown type and tell whether the peer may stay."""
        if self._unknown is None:
            self._unknown = Bucket(UNKNOWN_TYPES)
        return self._unknown.take(now)

    def allows_telling(self, now: float) -> bool:
        """Count a refusal at *now* and tell whether the operator is told of it."""
        if self._told is None:
            self._told = Bucket(TOLD_REFUSALS)
        return self._told.take(now)


class Door:
    """
    Lets sockets in: 200 open ones of an address, 500 new ones a second.

    A loopback address may have 4,096: what comes from there is this host's own
    programs, all its users together, or a proxy in front that names nobody.
    """

    def __init__(
        self,
        per_address: int = MAX_PER_ADDRESS,
        per_loopback: int = MAX_PER_LOOPBACK,
        rate: Rate = NEW_SOCKETS,
    ) -> None:
        """Begin with no socket open."""
        self.open: Counter[str] = Counter()
        self._per_address = per_address
        self._per_loopback = per_loopback
        self._arrivals = Bucket(rate)

    def entered(self, address: str, now: float, jitter: float) -> "Inside":
        """
        Count a socket of *address* as open while a ``with`` block runs.

        Args:
            address: Where it comes from.
            now: Seconds of a clock that does not go back.
            jitter: A random number in [0, 1), so that those who are sent away do not
                come back together.

        Raises:
            Refusal: 429 over the address's share; 503 over the server's rate, with
                the seconds to wait.
        """
        most = self._per_loopback if _is_loopback(address) else self._per_address
        if self.open[address] >= most:
            raise Refusal(429, "rate", "Too many sockets are open from this address.")
        if not self._arrivals.take(now):
            wait = 1 + int(jitter * MAX_WAIT_SECONDS)
            text = "Too many connections at once; come back in some seconds."
            raise Refusal(503, "busy", text, retry_after_seconds=wait)
        return Inside(self.open, address)


class Inside:
    """One socket that was let in; small, because it is held as long as that lives."""

    __slots__ = ("_address", "_open")

    def __init__(self, open_sockets: Counter[str], address: str) -> None:
        """Count in *open_sockets*, by *address*."""
        self._open, self._address = open_sockets, address

    def __enter__(self) -> None:
        self._open[self._address] += 1

    def __exit__(self, *_exc: object) -> None:
        self._open[self._address] -= 1
        if not self._open[self._address]:
            del self._open[self._address]


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")
