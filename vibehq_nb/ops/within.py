"""Run calls that may hang, side by side, and wait for none of them too long."""

import threading
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from vibehq_nb.ops.rule import Deadline

T = TypeVar("T")


class Call(Generic[T]):
    """One call in a thread of its own; a late one is abandoned, not killed."""

    def __init__(self, call: Callable[[], T], name: str) -> None:
        self._call = call
        self._value: list[T] = []
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value.append(self._call())
        except Exception as error:  # the caller decides what a failed probe means
            self.error = error

    def result(self, deadline: Deadline) -> T:
        """
        Return what the call returned.

        Raises:
            TimeoutError: If it has not returned when *deadline* is over.
            Exception: Whatever the call raised.
        """
        self._thread.join(deadline.remaining)
        if self._value:
            return self._value[0]
        if self.error is not None:
            raise self.error
        raise TimeoutError


def start_all(calls: Mapping[str, Callable[[], T]]) -> dict[str, Call[T]]:
    """Start all *calls* at once; the keys name them and their threads."""
    return {name: Call(call, name) for name, call in calls.items()}
