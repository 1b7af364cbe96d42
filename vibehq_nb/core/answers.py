"""What clients' messages led to, so that a repeat gets its first answer."""

from collections import OrderedDict
from typing import Any

from vibehq_nb.core.messages import Message

IDS_KEPT = 256
SENDERS_KEPT = 1000


class Answered(Message, tag="_answered"):
    """Internal entry: a client's message with this id led to that offset."""

    sender: str
    message_id: str
    result: int
    offset: int = 0


class Answers:
    """
    The last 256 message ids of each of the last 1,000 senders, and their results.

    Over a bound the oldest id, or the sender silent for longest, is forgotten.
    """

    def __init__(self, kept: dict[str, dict[str, int]] | None = None) -> None:
        """Go on from what :meth:`as_state` returned."""
        self._senders = OrderedDict(
            (sender, OrderedDict(ids)) for sender, ids in (kept or {}).items()
        )

    def find(self, sender: str, message_id: str) -> int | None:
        """Return the result of an earlier message with this id, if known."""
        return self._senders.get(sender, OrderedDict()).get(message_id)

    def note(self, sender: str, message_id: str, result: int) -> None:
        """Remember a result."""
        ids = self._senders.setdefault(sender, OrderedDict())
        ids[message_id] = result
        self._senders.move_to_end(sender)
        if len(ids) > IDS_KEPT:
            ids.popitem(last=False)
        if len(self._senders) > SENDERS_KEPT:
            self._senders.popitem(last=False)

    def as_state(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {sender: dict(ids) for sender, ids in self._senders.items()}
