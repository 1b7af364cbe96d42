"""What a room's refusal of keystrokes is for whoever typed them."""

from vibehq_nb.client.errors import FrozenError, NotWriterError, TerminalError
from vibehq_nb.core.errors import DeniedError, VibeError
from vibehq_nb.core.messages import Error, Writer


def input_refusal(error: Error | None, writer: Writer | None, label: str) -> VibeError:
    """
    Return the error to raise.

    Args:
        error: What the room said, if anything.
        writer: Who holds the input lease, as far as it was told.
        label: How people call the terminal.
    """
    if error is None:
        return TerminalError(f"{label} took no keys.")
    if error.code == "not-writer":
        who = writer.user if writer is not None and writer.user else "Somebody"
        idle = writer.idle_seconds if writer is not None else 0.0
        return NotWriterError(who, idle, label)
    if error.code == "frozen":
        return FrozenError(error.message)
    return DeniedError(error.code, error.message)
