"""
The output gate: what a room says waits until what it is based on is stored.

Each append raises the barrier; whatever is sent afterwards is held until the log has
stored that far. If the log refuses, what was held is dropped and its senders told.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

logger = logging.getLogger(__name__)

Action = Callable[[], None]


class _Held(NamedTuple):
    barrier: int
    action: Action
    otherwise: Action | None


class OutputGate:
    """
    Holds output behind the log.

    Bounded by the room, which refuses to append while too much is not stored yet.
    """

    def __init__(self, offset: int = 0) -> None:
        """Begin with everything up to *offset* stored."""
        self.appended = offset
        self.stored = offset
        self._held: deque[_Held] = deque()

    @property
    def is_open(self) -> bool:
        """Whether all that was appended is stored."""
        return self.stored >= self.appended

    def do(self, action: Action, otherwise: Action | None = None) -> None:
        """
        Run *action* now, or when all that was appended before it is stored.

        *otherwise* runs in its place if the log refuses.
        """
        if self.is_open:
            action()
        else:
            self._held.append(_Held(self.appended, action, otherwise))

    def release(self, stored: int) -> None:
        """Run what waited for *stored* or less, in order."""
        self.stored = max(self.stored, stored)
        while self._held and self._held[0].barrier <= self.stored:
            _run(self._held.popleft().action)

    def drop(self, offset: int) -> None:
        """Begin anew at *offset*; what was held does not happen."""
        held, self._held = self._held, deque()
        self.appended = self.stored = offset
        for item in held:
            if item.otherwise is not None:
                _run(item.otherwise)


def _run(action: Action) -> None:
    try:
        action()
    except Exception:  # one that fails must not keep the others in
        logger.exception("output that was held could not be sent")
