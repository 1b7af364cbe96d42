"""What ran in one terminal, kept for its room and sent at its place in the stream."""

import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from vibehq_nb.core.commands import Began, CommandTracker, Ended
from vibehq_nb.core.messages import CommandEnded, CommandStarted, Cwd, Title

if TYPE_CHECKING:
    from vibehq_nb.worker.terminal import Terminal

KEPT_EVENTS = 1024
MAX_TITLE = 1024


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


class ShellNews:
    """What one link has still to tell of a shell: title, folder, commands."""

    def __init__(self, terminal: "Terminal", recorded: int) -> None:
        """Begin after the commands that are *recorded*, up to there in the stream."""
        self._painter = terminal.painter
        self._history = history = terminal.commands
        self._told_title = self._told_cwd = ""
        self._told = 0
        while (event := history.after(self._told)) and event[1].offset <= recorded:
            self._told = event[0]

    @property
    def next_offset(self) -> int | None:
        """Where the next event belongs in the stream; None without one."""
        event = self._history.after(self._told)
        return None if event is None else event[1].offset

    def next(self, sent: int) -> Title | Cwd | CommandStarted | CommandEnded | None:
        """Return what is due now that the stream was *sent* so far, if anything is."""
        title, cwd = self._painter.title[:MAX_TITLE], self._history.cwd
        if title != self._told_title:
            self._told_title = title
            return Title(text=title)
        if cwd != self._told_cwd:
            self._told_cwd = cwd
            return Cwd(path=cwd)
        found = self._history.after(self._told)
        if found is None or found[1].offset > sent:
            return None
        self._told = found[0]
        return self._message(found[1])

    def _message(self, event: Began | Ended) -> CommandStarted | CommandEnded:
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
