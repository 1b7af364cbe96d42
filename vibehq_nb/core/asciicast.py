"""
asciicast v2 and v3: a terminal's recording as text, one JSON value a line.

Pure. In v2 an event has the seconds since the beginning, in v3 those since the event
before it. Only output is ever written here, never what was typed.
Formats: docs.asciinema.org/manual/asciicast/v2 and v3.
"""

import codecs
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from vibehq_nb.core.errors import DecodeError

Version = Literal[2, 3]
VERSIONS: tuple[Version, ...] = (2, 3)

OUTPUT, INPUT, RESIZE, MARK, EXIT = "o", "i", "r", "m", "x"

TERM = "xterm-256color"
MAX_LINE_BYTES = 16 * 1024 * 1024
"""No line of a recording is longer; a reader need not hold more than this."""

_MICROSECONDS = 1_000_000
_EVENT = msgspec.json.Decoder(tuple[float, str, str])
_HEADER = msgspec.json.Decoder(dict[str, Any])


class CastHeader(NamedTuple):
    """The first line: the size, since when (seconds since 1970), a title."""

    version: int
    cols: int
    rows: int
    timestamp: int | None = None
    title: str = ""


class CastEvent(NamedTuple):
    """One event, its time in seconds since the beginning in either version."""

    time: float
    code: str
    text: str


class CastEncoder:
    """
    Writes one recording, event by event.

    Every method returns the bytes to add, whole lines. Times are seconds since the
    beginning; one that lies before the last event's counts as that. Output is bytes:
    what is no UTF-8 is replaced, and a character that is cut over two calls is whole
    in the second.
    """

    def __init__(self, header: CastHeader) -> None:
        """
        Begin a recording.

        Raises:
            ValueError: If the version is neither 2 nor 3.
        """
        if header.version not in VERSIONS:
            raise ValueError("an asciicast is of version 2 or 3")
        self._header = header
        self._last = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def header(self) -> bytes:
        """Return the first line."""
        version, cols, rows, timestamp, title = self._header
        fields: dict[str, Any] = {"version": version}
        if version == 2:
            fields |= {"width": cols, "height": rows}
        else:
            fields["term"] = {"cols": cols, "rows": rows, "type": TERM}
        if timestamp is not None:
            fields["timestamp"] = timestamp
        if title:
            fields["title"] = title
        if version == 2:
            fields["env"] = {"TERM": TERM}
        return msgspec.json.encode(fields) + b"\n"

    def output(self, time: float, data: bytes) -> bytes:
        """Add output; nothing comes of it while a character is not whole."""
        text = self._decoder.decode(data)
        return self._event(time, OUTPUT, text) if text else b""

    def cut(self, time: float) -> bytes:
        """Say that what follows does not continue what came: an open character ends."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return self._event(time, OUTPUT, text) if text else b""

    def resize(self, time: float, cols: int, rows: int) -> bytes:
        """Add a change of size, in character cells."""
        return self._event(time, RESIZE, f"{cols}x{rows}")

    def mark(self, time: float, label: str) -> bytes:
        """Add a place that players can jump to."""
        return self._event(time, MARK, label)

    def exit(self, time: float, code: int) -> bytes:
        """Add the end of the shell; version 2 has no event for it."""
        return b"" if self._header.version == 2 else self._event(time, EXIT, str(code))

    def _event(self, time: float, code: str, text: str) -> bytes:
        # Whole microseconds, so that the intervals of version 3 never drift.
        now = max(round(time * _MICROSECONDS), self._last)
        shown = now if self._header.version == 2 else now - self._last
        self._last = now
        line = msgspec.json.encode([shown / _MICROSECONDS, code, text])
        return line + b"\n"


class CastDecoder:
    """Reads a recording of either version line by line."""

    def __init__(self) -> None:
        """Begin before the first line."""
        self.header: CastHeader | None = None
        self._line = 0
        self._time = 0.0

    def decode(self, line: bytes) -> CastEvent | None:
        """
        Return the event of the next line; None for the header, a comment, a blank.

        Raises:
            DecodeError: Naming the line, never its content.
        """
        self._line += 1
        if self.header is None:
            self.header = _decode_header(line)
            return None
        if not line.strip() or line.startswith(b"#"):
            return None
        try:
            shown, code, text = _EVENT.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = f"line {self._line} is no event of an asciicast"
            raise DecodeError(text) from None
        time = shown if self.header.version == 2 else self._time + shown
        self._time = max(time, self._time)
        return CastEvent(self._time, code, text)


def decode_cast(lines: Iterable[bytes]) -> Iterator[CastHeader | CastEvent]:
    """
    Yield the header, then every event.

    Raises:
        DecodeError: Where a line is none, or there is not even a header.
    """
    decoder = CastDecoder()
    for line in lines:
        has_begun = decoder.header is not None
        event = decoder.decode(line)
        if event is not None:
            yield event
        elif not has_begun and decoder.header is not None:
            yield decoder.header
    if decoder.header is None:
        raise DecodeError("this is no asciicast: it is empty")


def decode_size(text: str) -> tuple[int, int] | None:
    """Return columns and rows of a resize's ``80x24``; None where it is none."""
    cols, found, rows = text.partition("x")
    if not found or not (_is_number(cols) and _is_number(rows)):
        return None
    return int(cols), int(rows)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


def _decode_header(line: bytes) -> CastHeader:
    try:
        fields = _HEADER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise DecodeError("this is no asciicast: line 1 is no header") from None
    version = fields.get("version")
    if version not in VERSIONS:
        raise DecodeError("this asciicast is neither of version 2 nor of version 3")
    term = fields.get("term")
    if version == 2:
        size = fields.get("width"), fields.get("height")
    else:
        found = term if isinstance(term, dict) else {}
        size = found.get("cols"), found.get("rows")
    cols, rows = size
    if not (isinstance(cols, int) and isinstance(rows, int) and cols > 0 and rows > 0):
        raise DecodeError("this asciicast tells no size in its line 1")
    timestamp, title = fields.get("timestamp"), fields.get("title")
    return CastHeader(
        version,
        cols,
        rows,
        int(timestamp) if isinstance(timestamp, int | float) else None,
        title if isinstance(title, str) else "",
    )
