"""What ran in one terminal, newest last, folded from the entries of its log."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from vibehq_nb.core.ids import Position
from vibehq_nb.core.messages import CommandBegan, CommandDone

MAX_ROWS = 1000
MAX_CHARS = 512 * 1024


class Row(msgspec.Struct):
    """One command; without a duration it has not ended, as far as the log knows."""

    epoch: str
    number: int
    started_at: str
    user: str | None
    command: str
    cwd: str
    output_start: int
    output_end: int | None = None
    exit_code: int | None = None
    duration_s: float | None = None

    @property
    def chars(self) -> int:
        """How much of the board's bound it takes."""
        return len(self.command) + len(self.cwd)


class CommandBoard:
    """
    The newest 1,000 commands of a terminal, with at most 512 Ki characters.

    Older ones are in the log alone.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        """Take over a state that :meth:`as_state` returned."""
        state = state or {}
        rows = msgspec.convert(state.get("rows", []), list[Row])
        self._rows = {(row.epoch, row.number): row for row in rows}
        self._chars = sum(row.chars for row in rows)
        self.last = Position(*state.get("last", ("", 0)))
        """The place in the stream of the newest entry."""

    def as_state(self) -> dict[str, Any]:
        """Return the whole state as plain data."""
        rows = [msgspec.to_builtins(row) for row in self._rows.values()]
        return {"rows": rows, "last": list(self.last)}

    def holds(self, message: CommandBegan | CommandDone) -> bool:
        """Tell whether this was recorded before: a worker says it again if in doubt."""
        epoch, at_byte = self.last
        return message.epoch == epoch and message.at_byte <= at_byte

    def apply(self, message: CommandBegan | CommandDone) -> None:
        """Fold one entry in."""
        self.last = Position(message.epoch, message.at_byte)
        key = (message.epoch, message.number)
        if isinstance(message, CommandBegan):
            self._add(
                Row(
                    epoch=message.epoch,
                    number=message.number,
                    started_at=message.started_at,
                    user=message.user,
                    command=message.command,
                    cwd=message.cwd,
                    output_start=message.at_byte,
                )
            )
        elif row := self._rows.get(key):
            row.output_end = message.output_end
            row.exit_code = message.exit_code
            row.duration_s = message.duration_s

    def _add(self, row: Row) -> None:
        self._rows[row.epoch, row.number] = row
        self._chars += row.chars
        while len(self._rows) > MAX_ROWS or self._chars > MAX_CHARS:
            self._chars -= self._rows.pop(next(iter(self._rows))).chars

    def rows(self, limit: int, live: str | None, now: float) -> list[dict[str, Any]]:
        """
        Return the newest *limit* commands, newest last, each with its ``state``.

        ``running``, for ``running_s`` so far, is only what the shell of the epoch
        *live* began last; one whose shell or worker is gone without a word on it is
        ``unknown``. *now* is in seconds since 1970.
        """
        newest = next(reversed(self._rows.values()), None)
        found = []
        for row in list(self._rows.values())[-limit:]:
            told = msgspec.to_builtins(row)
            if row.duration_s is not None:
                told["state"] = "ended"
            elif row is newest and row.epoch == live:
                started = datetime.fromisoformat(row.started_at).astimezone(UTC)
                told["state"] = "running"
                told["running_s"] = max(now - started.timestamp(), 0.0)
            else:
                told["state"] = "unknown"
            found.append(told)
        return found
