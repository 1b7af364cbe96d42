"""
The entry log beside a terminal's bytes: audited, read over HTTP, never replayed.

A room of its own, so that no byte and no key ever waits for the disk: the terminal's
room writes behind, through :class:`vibehq_server.rooms.notes.Notes`.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.messages import (
    CommandBegan,
    CommandDone,
    Message,
    NotesLost,
    RecordingEnded,
    RecordingSegment,
    RecordingStarted,
    Sized,
    SizePolicyChanged,
    WriterChanged,
    Wrote,
)
from vibehq_server.replicated import ReplicatedRoom
from vibehq_server.rooms.command_board import CommandBoard

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

PARTY = "terminal-log"
SESSIONS_KEPT = 256


def log_key(terminal: str) -> RoomKey:
    """Return the room that keeps the entries of *terminal*."""
    return RoomKey(PARTY, terminal)


class TerminalLogRoom(ReplicatedRoom):
    """What happened in one terminal, but for its bytes."""

    is_sink: ClassVar[bool] = True
    entries: ClassVar[tuple[type[Message], ...]] = (
        Wrote,
        WriterChanged,
        Sized,
        SizePolicyChanged,
        CommandBegan,
        CommandDone,
        NotesLost,
        RecordingStarted,
        RecordingSegment,
        RecordingEnded,
    )

    def __init__(self, key: RoomKey, hub: "Hub") -> None:
        """Create the room."""
        super().__init__(key, hub)
        self.load({})

    def load(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self._sizing: dict[str, Any] | None = state.get("sizing")
        self._epoch: str = state.get("epoch", "")
        self.board = CommandBoard(state.get("commands"))
        self._typed = OrderedDict(
            (session, (user, total)) for session, user, total in state.get("typed", ())
        )

    def state(self) -> dict[str, Any]:
        """Return what the terminal's room wants to know again after a restart."""
        return {
            "sizing": self._sizing,
            "epoch": self._epoch,
            "commands": self.board.as_state(),
            "typed": [[s, user, total] for s, (user, total) in self._typed.items()],
        }

    def apply(self, message: Message, at_ms: int) -> None:
        """Fold one entry in."""
        match message:
            case Wrote(session=session):
                if message.epoch != self._epoch:  # counts are of one life of the PTY
                    self._epoch = message.epoch
                    self._typed.clear()
                self._typed.pop(session, None)
                self._typed[session] = (message.user, message.total)
                if len(self._typed) > SESSIONS_KEPT:
                    self._typed.popitem(last=False)
            case CommandBegan() | CommandDone():
                self.board.apply(message)
            case SizePolicyChanged(policy=policy, cols=cols, rows=rows):
                self._sizing = {"policy": policy, "cols": cols, "rows": rows}

    def note_all(self, messages: Iterable[Message]) -> None:
        """
        Append *messages*; :meth:`run` returns once they are stored.

        What is recorded of a command already is not recorded again.
        """
        for message in messages:
            match message:
                case CommandBegan() | CommandDone() if self.board.holds(message):
                    pass
                case _:
                    self.append(message)
