"""What ran in one terminal, kept for its room and sent at its place in the stream."""

import time
from collections import deque
from collections.abc import Callable
from itertools import count

from vibehq_nb.core.commands import Began, CommandTracker, Ended
from vibehq_nb.core.messages import CommandEnded, CommandStarted

KEPT_EVENTS = 1024


class CommandHistory:
    """
    Follows the marks in a terminal's output, and keeps the newest 1,024 events.

    Older ones are gone: a room that was away for so long is not told of them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing run; *clock* is one that is never set."""
        self.clock = clock
        self._tracker = CommandTracker()
        self._numbers = count(1)
        self._events: deque[tuple[int, Began | Ended]] = deque(maxlen=KEPT_EVENTS)

    @property
    def cwd(self) -> str:
        """The shell's folder as it told last; empty before that."""
        return self._tracker.cwd

    def typed(self, session: str, keys: bytes) -> None:
        """Take what *session* typed."""
        if b"\r" in keys or b"\n" in keys:
            self._tracker.enter(session)

    def feed(self, output: bytes) -> None:
        """Take output."""
        for event in self._tracker.feed(output, self.clock()):
            self._events.append((next(self._numbers), event))

    def after(self, number: int) -> tuple[int, Began | Ended] | None:
        """Return the first event after the one with this number, and its own."""
        if not self._events or self._events[-1][0] <= number:
            return None
        return self._events[max(number + 1 - self._events[0][0], 0)]


class CommandFeed:
    """What one link has still to send of a history."""

    def __init__(self, history: CommandHistory, offset: int) -> None:
        """Begin after what is recorded: the events up to *offset* of the stream."""
        self._history = history
        self._told = 0
        while (event := history.after(self._told)) and event[1].offset <= offset:
            self._told = event[0]

    @property
    def next_offset(self) -> int | None:
        """Where the next event belongs in the stream; None without one."""
        event = self._history.after(self._told)
        return None if event is None else event[1].offset

    def take(self) -> CommandStarted | CommandEnded:
        """Return the next event as it is sent now."""
        found = self._history.after(self._told)
        assert found is not None
        self._told, event = found
        if isinstance(event, Ended):
            return CommandEnded(
                number=event.number,
                at_byte=event.offset,
                exit_code=event.exit_code,
                output_end=event.output_end,
                duration_s=event.duration_s,
            )
        return CommandStarted(
            number=event.number,
            at_byte=event.offset,
            command=event.command,
            cwd=event.cwd,
            session=event.session,
            age_s=max(self._history.clock() - event.at, 0.0),
        )
