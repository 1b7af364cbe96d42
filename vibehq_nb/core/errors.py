"""
The error tree. Every error of ours is a :class:`VibeError`.

    VibeError
    ├── UsageError          the caller's mistake; the text says what to do instead
    ├── DecodeError         the peer sent something that is not a message
    ├── DeniedError         the peer may not do this
    ├── GapError            entries or bytes asked for are no longer kept
    └── NotStoredError      the log refused an append; nothing of it happened

Refusals sent to a peer are messages, not exceptions.
"""


class VibeError(Exception):
    """The base of every error raised here."""


class UsageError(VibeError):
    """The call cannot work as written; the text says what to do instead."""


class DecodeError(VibeError):
    """
    A frame is not a message we accept.

    Attributes:
        code: ``bad-message`` or ``unknown-type``.
        reason: One sentence that names the field, never its content.
    """

    def __init__(self, reason: str, code: str = "bad-message") -> None:
        """Keep *reason* and *code* for the answer to the peer."""
        super().__init__(reason)
        self.code = code
        self.reason = reason


class DeniedError(VibeError):
    """
    The peer is known but may not do this, or asks for something that is not there.

    Attributes:
        code: A short kebab-case word for programs.
        reason: One sentence for people.
    """

    def __init__(self, code: str, reason: str) -> None:
        """Keep *code* and *reason* for the answer to the peer."""
        super().__init__(reason)
        self.code = code
        self.reason = reason


class GapError(VibeError):
    """What follows an offset is no longer kept."""

    def __init__(self, wanted: int, oldest: int) -> None:
        """Say that *wanted* lies before *oldest*, the first offset still kept."""
        super().__init__(f"offset {wanted} is gone, the oldest kept is {oldest}")
        self.wanted = wanted
        self.oldest = oldest


class NotStoredError(VibeError):
    """The log did not take an entry; what depended on it did not happen."""
