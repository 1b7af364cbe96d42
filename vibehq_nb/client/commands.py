"""What came of a command that was run in a shared terminal."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommandResult:
    """
    One command that ended.

    Attributes:
        command: As it was given.
        exit_code: None when the shell did not tell.
        output: What it printed, as plain text without the last line feed.
        duration: Seconds from its first to its last sign of life, as seen here.
        terminal: Where it ran, as people call it.
        is_cut: Whether some of the output is missing (over 8 MiB, or a lost link).
    """

    command: str
    exit_code: int | None
    output: str
    duration: float
    terminal: str
    is_cut: bool = False

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0

    @property
    def lines(self) -> list[str]:
        """The output, line by line."""
        return self.output.splitlines()

    def __str__(self) -> str:
        """Return the output."""
        return self.output

    def __repr__(self) -> str:
        """Return the same text at every run: no time, no output."""
        how = "ended" if self.exit_code is None else f"exited {self.exit_code}"
        return f"<command {self.command!r} {how}>"
