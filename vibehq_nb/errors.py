"""The errors a notebook may want to catch, in one place."""

from vibehq_nb.client.errors import (
    ApiError,
    CommandFailedError,
    CommandTimeoutError,
    DecisionError,
    ExpiredError,
    FrozenError,
    NoServerError,
    NotWriterError,
    RefusedError,
    RejectedError,
    ScanFailedError,
    TerminalBusyError,
    TerminalEndedError,
    TerminalError,
    WithdrawnError,
)
from vibehq_nb.core.errors import UsageError, VibeError

__all__ = [
    "ApiError",
    "CommandFailedError",
    "CommandTimeoutError",
    "DecisionError",
    "ExpiredError",
    "FrozenError",
    "NoServerError",
    "NotWriterError",
    "RefusedError",
    "RejectedError",
    "ScanFailedError",
    "TerminalBusyError",
    "TerminalEndedError",
    "TerminalError",
    "UsageError",
    "VibeError",
    "WithdrawnError",
]
