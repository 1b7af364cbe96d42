"""What a provider gives: a process behind a terminal, wherever it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Opening:
    """
    What to open.

    Attributes:
        terminal: The terminal's id.
        worker: The worker's id, for what is said when it fails.
        place: What comes after the provider's name: ``web-1`` of ``docker:web-1``.
        command: Program and arguments; None is the user's shell.
        cwd: Folder to begin in; None is the home folder.
        cols: Width in character cells.
        rows: Height in character cells.
        runtime: A private folder for files the process needs.
    """

    terminal: str
    worker: str
    place: str
    command: list[str] | None
    cwd: str | None
    cols: int
    rows: int
    runtime: Path


class Foreground(NamedTuple):
    """The job that reads the keyboard: its name, pid and age in seconds."""

    name: str
    pid: int
    since: float
    is_shell: bool


class Exit(NamedTuple):
    """How a process ended: by a code or by the name of a signal, as in ``KILL``."""

    code: int | None
    signal: str | None


class Process(Protocol):
    """
    A program behind a pseudo-terminal.

    Output goes to the callback given to ``start``, the exit to the other one, once,
    after the last output.
    """

    def start(
        self, on_output: Callable[[bytes], None], on_exit: Callable[[Exit], None]
    ) -> None:
        """Begin to read."""
        ...

    def write(self, keys: bytes) -> bool:
        """Queue *keys* as typed; False and nothing queued when the queue is full."""
        ...

    def pause(self) -> None:
        """Stop reading, so that the program waits once the kernel's buffer is full."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def flush(self) -> None:
        """Hand on at once what was read already."""
        ...

    def resize(self, cols: int, rows: int) -> None:
        """Set the size in character cells."""
        ...

    async def signal(self, name: str) -> None:
        """
        Send the signal ``SIG{name}`` to the foreground job.

        Raises:
            DeniedError: If it cannot be sent.
        """
        ...

    async def foreground(self) -> Foreground | None:
        """
        Return the foreground job, None when there is none.

        Raises:
            DeniedError: If it cannot be told which one runs, or whether one does.
        """
        ...

    async def freeze(self) -> str:
        """
        Stop every process of the terminal and return the means in one word.

        Raises:
            DeniedError: ``not-frozen`` if something does not stop.
        """
        ...

    async def thaw(self) -> None:
        """
        Let what ``freeze`` stopped go on.

        Raises:
            DeniedError: ``not-thawed`` if it does not.
        """
        ...

    async def close(self) -> None:
        """Hang up, then terminate, then kill, until no process is left."""
        ...


class Provider(Protocol):
    """Opens terminals of one kind of place."""

    name: str

    def is_usable(self) -> bool:
        """Tell, without asking anybody, whether terminals may be opened from here."""
        ...

    async def open(self, opening: Opening) -> Process:
        """
        Start what is asked for.

        Raises:
            DeniedError: With one sentence that says why it cannot be started.
        """
        ...

    async def close(self) -> None:
        """Let go of what is kept between openings."""
        ...
