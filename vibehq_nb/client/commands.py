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
        duration_s: Seconds from its first to its last sign of life, as seen here.
        terminal: Where it ran, as people call it.
        is_cut: Whether some of the output is missing (over 8 MiB, or a lost link).
        used_sentinel: Whether the shell marks no commands, so that begin and end were
            told by two ``printf`` typed around it.
    """

    command: str
    exit_code: int | None
    output: str
    duration_s: float
    terminal: str
    is_cut: bool = False
    used_sentinel: bool = False

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
        note = ", told by a sentinel" if self.used_sentinel else ""
        return f"<command {self.command!r} {how}{note}>"
