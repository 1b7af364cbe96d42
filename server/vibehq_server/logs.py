"""How log lines look: for people, or JSON for programs; no control bytes in either."""

import json
import logging
import re
import sys
from datetime import UTC, datetime

from vibehq_nb.core.ids import RoomKey

MAX_LOGGED = 256


_CREDENTIAL = re.compile(r"(vhq_[a-z]_)[A-Za-z0-9_-]+")


def clip(text: str) -> str:
    """Return *text* as one log line may hold it: short, plain, without credentials."""
    return hide(text[:MAX_LOGGED].encode("unicode_escape").decode("ascii"))


def hide(text: str) -> str:
    """Return *text* with only the kind left of each credential of ours in it."""
    return _CREDENTIAL.sub(r"\1...", text)


class TextFormatter(logging.Formatter):
    """One line for people; a trace follows on lines of its own."""

    def __init__(self) -> None:
        """Begin each line with the time and the level."""
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, control characters escaped."""
        return _plain(hide(super().format(record)))


class JsonFormatter(logging.Formatter):
    """
    One JSON object a line.

    ``time``, ``level``, ``logger`` and ``message``; ``room``, ``request_id`` and
    ``trace`` where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; JSON escapes what is not printable by itself."""
        when = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (room := room_of(record)) is not None:
            line["room"] = room
        if request_id := getattr(record, "request_id", ""):
            line["request_id"] = request_id
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return hide(json.dumps(line))


def room_of(record: logging.LogRecord) -> str | None:
    """Return the room a line is about: the first one among what it tells."""
    values = record.args if isinstance(record.args, tuple) else ()
    return next((str(value) for value in values if isinstance(value, RoomKey)), None)


def _plain(text: str) -> str:
    return "".join(
        char
        if char == "\n" or char.isprintable()
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def start_logging(log_format: str) -> None:
    """Write what the server logs to standard error, from INFO on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
