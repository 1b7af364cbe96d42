"""
What can go wrong in a notebook, each with a text that says what to do next.

    VibeError
    ├── NoServerError         (a UsageError) connect() found no server
    ├── ApiError              the server refused a request
    ├── SocketError
    │   ├── ConnectError      one try to connect failed
    │   ├── RefusedError      the server refused a socket for good
    │   ├── GaveUpError       max_retries tries failed
    │   ├── QueueFullError    a message was not taken
    │   └── UnacceptedError   the socket ended before the room accepted a message
    ├── TerminalError
    │   ├── CommandFailedError    exit code other than 0, or unknown
    │   ├── CommandTimeoutError   (a TimeoutError) the command takes too long
    │   ├── TerminalBusyError     a program runs in the foreground
    │   ├── NotWriterError        somebody else is typing
    │   ├── FrozenError           the terminal is frozen
    │   └── TerminalEndedError    the shell is gone
    ├── ScanFailedError
    └── DecisionError
        ├── RejectedError     somebody said no
        ├── ExpiredError      nobody answered in time
        └── WithdrawnError    cancelled or superseded before an answer
"""

from typing import Any

from vibehq_nb.core.errors import UsageError, VibeError

LAST_LINES = 5
"""How many lines of a failed command's output its error repeats."""


class NoServerError(UsageError):
    """There is no server to connect to; the text names every place looked at."""


class ApiError(VibeError):
    """
    The server refused a request.

    Attributes:
        status: The HTTP status; 0 when there was no answer at all.
        code: The server's short word for it, for programs.
        message: One sentence for people.
        more: What else the server said, by name.
    """

    def __init__(
        self, status: int, code: str, message: str, more: dict[str, Any] | None = None
    ) -> None:
        """Keep what the server said."""
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.more = more or {}


class SocketError(VibeError):
    """Something about one socket."""


class ConnectError(SocketError):
    """
    One try to connect failed.

    Attributes:
        status: The HTTP status of a refused handshake; 0 when there was none.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        """Keep the status beside the sentence."""
        super().__init__(text)
        self.status = status


class GaveUpError(SocketError):
    """No further try is made: as many as ``max_retries`` failed."""

    def __init__(self, tries: int) -> None:
        """Say how often it was tried."""
        times = "once" if tries == 1 else f"{tries} times"
        super().__init__(f"Tried {times} to connect, then gave up. Call reconnect().")
        self.tries = tries


class QueueFullError(SocketError):
    """A message was not taken: as much as may wait is waiting already."""


class UnacceptedError(SocketError):
    """The socket ended before the room said whether it accepted a message."""


class RefusedError(SocketError):
    """
    The server closed or refused a socket and does not want it back.

    Attributes:
        status: The HTTP status of the handshake, or the close code (4500 and up).
    """

    def __init__(self, status: int, reason: str) -> None:
        """Keep the status or close code beside the sentence."""
        super().__init__(reason)
        self.status = status


class TerminalError(VibeError):
    """Something about one terminal."""


class CommandFailedError(TerminalError):
    """
    A command ended with an exit code other than 0.

    Attributes:
        result: The :class:`~vibehq_nb.client.commands.CommandResult`.
    """

    def __init__(self, result: Any, terminal: str) -> None:
        """Say what failed, where, and how it ended."""
        how = (
            "ended without telling its exit code"
            if result.exit_code is None
            else f"exited {result.exit_code}"
        )
        last = [line for line in result.output.splitlines() if line.strip()]
        lines = "".join(f"\n  {line}" for line in last[-LAST_LINES:])
        shown = f" Last lines:{lines}\n" if lines else " It printed nothing. "
        super().__init__(
            f'"{shorten(result.command)}" {how} on {terminal} '
            f"after {result.duration_s:.1f} s.{shown}Pass check=False to continue."
        )
        self.result = result


class CommandTimeoutError(TerminalError, TimeoutError):
    """A command takes longer than its ``timeout``; it runs on."""

    def __init__(self, command: str, terminal: str, seconds: float) -> None:
        """Say which command, how long it had, and what can be done now."""
        super().__init__(
            f'"{shorten(command)}" is not done on {terminal} after {seconds:g} s. It '
            'runs on: term.commands() tells how it ends, term.signal("INT") '
            "interrupts it, a larger timeout= waits for longer."
        )


class TerminalBusyError(TerminalError):
    """The shell is not at its prompt."""

    def __init__(self, program: str, terminal: str, who: str, since: str) -> None:
        """Name the program in the foreground, who runs it and for how long."""
        by = ", ".join(word for word in (who, since) if word)
        super().__init__(
            f"{program} is running in {terminal}"
            f"{f' ({by})' if by else ''}. Use new=True."
        )


class NotWriterError(TerminalError):
    """Somebody else holds the input lease; nothing was typed."""

    def __init__(self, writer: str, idle_seconds: float, call: str = "term") -> None:
        """Name the holder and how long ago that one typed."""
        super().__init__(
            f"{writer} is typing in {call} ({idle_seconds:.0f} s ago). "
            "term.take_control()."
        )
        self.writer = writer


class FrozenError(TerminalError):
    """The terminal is frozen and takes no keys; the server's sentence says why."""


class TerminalEndedError(TerminalError):
    """The shell of this terminal is gone."""


class ScanFailedError(VibeError):
    """
    A scan ended without a result.

    Attributes:
        code: The server's short word for it.
    """

    def __init__(self, scan_id: str, code: str, message: str) -> None:
        """Keep which scan and why."""
        super().__init__(f"The scan failed: {message or code}")
        self.scan_id, self.code = scan_id, code


class DecisionError(VibeError):
    """
    A request ended without an approval.

    Attributes:
        decision: The :class:`~vibehq_nb.client.decisions.Decision` as it stands.
    """

    def __init__(self, text: str, decision: Any) -> None:
        """Keep the decision beside the sentence."""
        super().__init__(text)
        self.decision = decision


class RejectedError(DecisionError):
    """Somebody said no."""


class ExpiredError(DecisionError):
    """Nobody answered in time, which means no."""


class WithdrawnError(DecisionError):
    """The request was cancelled or superseded before it was answered."""


def shorten(text: str, limit: int = 80) -> str:
    """Return the first line of *text*, at most *limit* characters, … for the rest."""
    first, _, rest = text.strip().partition("\n")
    if len(first) > limit:
        return first[: limit - 1] + "…"
    return first + " …" if rest else first


def duration_text(seconds: object) -> str:
    """Return *seconds* as ``mm:ss`` or ``h:mm:ss``; nothing if they are no number."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return ""
    hours, rest = divmod(max(int(seconds), 0), 3600)
    minutes = f"{rest // 60:02d}:{rest % 60:02d}"
    return f"{hours}:{minutes}" if hours else minutes


__all__ = [
    "ApiError",
    "CommandFailedError",
    "CommandTimeoutError",
    "ConnectError",
    "DecisionError",
    "ExpiredError",
    "FrozenError",
    "GaveUpError",
    "NoServerError",
    "NotWriterError",
    "QueueFullError",
    "RefusedError",
    "RejectedError",
    "ScanFailedError",
    "SocketError",
    "TerminalBusyError",
    "TerminalEndedError",
    "TerminalError",
    "UnacceptedError",
    "UsageError",
    "VibeError",
    "WithdrawnError",
]
