"""How a refusal looks over HTTP: a status, a code, a sentence for people."""

from collections.abc import Mapping
from http.client import responses
from typing import Any

import tornado.web

from vibehq_nb.core.errors import (
    DecodeError,
    DeniedError,
    NotStoredError,
    UsageError,
    VibeError,
)

STATUS_OF_CODE = {
    "bad-request": 400,
    "bad-message": 400,
    "no-such-party": 400,
    "forbidden": 403,
    "join-token": 403,
    "not-found": 404,
    "no-such-room": 404,
    "conflict": 409,
    "frozen": 409,
    "not-writer": 409,
    "expired": 410,
    "stale": 412,
    "unsatisfiable": 422,
    "busy": 429,
    "rate": 429,
    "too-many-rooms": 503,
    "no-worker": 503,
    "not-stored": 503,
    "timeout": 504,
}


class Refusal(tornado.web.HTTPError):
    """
    A request is refused.

    Attributes:
        code: A short kebab-case word for programs.
        text: One sentence for people; never holds what was sent.
        retry_after_seconds: When to try again, or None.
    """

    def __init__(
        self,
        status: int,
        code: str,
        text: str,
        more: Mapping[str, Any] | None = None,
        *,
        retry_after_seconds: int | None = None,
    ) -> None:
        """Refuse with *status*, *code* and *text*, and what else the caller needs."""
        super().__init__(status)
        self.code = code
        self.text = text
        self.more = dict(more or {})
        self.retry_after_seconds = 60 if status == 429 else retry_after_seconds


def as_refusal(error: BaseException | None, status: int) -> Refusal:
    """Return what to answer for *error*; an unknown one says nothing of itself."""
    match error:
        case Refusal():
            return error
        case VibeError():
            return _of_ours(error)
        case TimeoutError():
            return Refusal(504, "timeout", "That took too long.")
        case tornado.web.HTTPError():
            return _of_status(error.status_code)
    return _of_status(status)


def _of_ours(error: VibeError) -> Refusal:
    match error:
        case DeniedError():
            known = STATUS_OF_CODE.get(error.code, 409)
            return Refusal(known, error.code, error.reason)
        case DecodeError():
            return Refusal(400, error.code, f"{error.reason}.")
        case UsageError():
            return Refusal(400, "bad-request", str(error))
        case NotStoredError():
            text = "The room log did not take this; nothing of it happened."
            return Refusal(503, "not-stored", text)
    return _of_status(500)


def _of_status(status: int) -> Refusal:
    if status >= 500:
        text = "The server failed; its log has the reason under this request id."
        return Refusal(500, "internal", text)
    phrase = responses.get(status, "Refused")
    return Refusal(status, phrase.lower().replace(" ", "-"), f"{phrase}.")
