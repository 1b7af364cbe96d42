"""What a worker tells of the commands in one terminal, on its way into the log."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from vibehq_nb.core.ids import Position
from vibehq_nb.core.messages import (
    CommandBegan,
    CommandDone,
    CommandEnded,
    CommandStarted,
)
from vibehq_server.rooms.notes import Notes
from vibehq_server.rooms.uplink import Uplink
from vibehq_server.rooms.writing import Writing


class Commands:
    """
    Adds who ran a command and when, by this server's clock, and has it stored.

    What was recorded is remembered by its place in the stream: the worker is asked
    only for what came after it.
    """

    def __init__(
        self,
        uplink: Uplink,
        writing: Writing,
        notes: Notes,
        clock: Callable[[], float],
    ) -> None:
        """Begin with nothing recorded; *clock* gives seconds since 1970."""
        self._uplink = uplink
        self._writing = writing
        self._notes = notes
        self._clock = clock
        self._last = Position("", 0)

    def recall(self, state: dict[str, Any]) -> None:
        """Take over what the log recorded before a restart."""
        self._last = Position(*state.get("commands", {}).get("last", ("", 0)))

    def recorded(self, epoch: str) -> int:
        """Return up to which offset of the stream all is recorded."""
        return self._last.offset if self._last.epoch == epoch else 0

    def take(self, message: CommandStarted | CommandEnded) -> bool:
        """Record what the worker tells, once; return whether it was new."""
        epoch = self._uplink.epoch
        if message.at_byte <= self.recorded(epoch):
            return False
        self._last = Position(epoch, message.at_byte)
        if isinstance(message, CommandStarted):
            self._notes.add(
                CommandBegan(
                    offset=0,
                    epoch=epoch,
                    at_byte=message.at_byte,
                    number=message.number,
                    command=message.command,
                    cwd=message.cwd,
                    user=self._user(message.session),
                    started_at=self._started_at(message.age_s),
                )
            )
        else:
            self._notes.add(
                CommandDone(
                    offset=0,
                    epoch=epoch,
                    at_byte=message.at_byte,
                    number=message.number,
                    exit_code=message.exit_code,
                    output_end=message.output_end,
                    duration_s=max(message.duration_s, 0.0),
                )
            )
        return True

    def _user(self, session: str) -> str | None:
        if not session:
            return None
        return self._writing.user_of(session) or self._writing.writer

    def _started_at(self, age_s: float) -> str:
        seconds = max(self._clock() - max(age_s, 0.0), 0.0)
        at = datetime.fromtimestamp(seconds, UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
