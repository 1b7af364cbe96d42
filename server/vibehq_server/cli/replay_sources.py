"""Where a replay reads from: a file, or a server that keeps the recording."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from vibehq_nb.core.asciicast import (
    MARK,
    MAX_LINE_BYTES,
    CastEvent,
    CastHeader,
    decode_cast,
)
from vibehq_nb.core.errors import UsageError


class Source(Protocol):
    """
    A recording that can be read from anywhere.

    Attributes:
        marks: When its commands began, in seconds.
        duration: Its length in seconds.
        size: Columns and rows it begins with.
    """

    marks: list[float]
    duration: float
    size: tuple[int, int]

    def events(self, start: float) -> Iterator[CastEvent]:
        """Yield what is needed to know the screen at *start*, and all behind it."""


class FileSource:
    """An asciicast of version 2 or 3 in a file."""

    def __init__(self, path: Path) -> None:
        """
        Read *path* once: for its marks, and to know that it can be read.

        Raises:
            UsageError: If it cannot.
            DecodeError: If it is no asciicast.
        """
        self._path = path
        self.marks: list[float] = []
        self.duration = 0.0
        self.size = (80, 24)
        for event in decode_cast(self._lines()):
            if isinstance(event, CastHeader):
                self.size = (event.cols, event.rows)
                continue
            self.duration = event.time
            if event.code == MARK:
                self.marks.append(event.time)

    def events(self, start: float) -> Iterator[CastEvent]:
        """Yield all events: a file has no screens to begin with."""
        for event in decode_cast(self._lines()):
            if isinstance(event, CastEvent):
                yield event

    def _lines(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                while line := file.readline(MAX_LINE_BYTES):
                    yield line
        except OSError as error:
            reason = error.strerror or "it is no file"
            raise UsageError(f"{self._path} cannot be read: {reason}.") from None


class ServerSource:
    """A recording on a server; each seek reads from the last whole screen on."""

    def __init__(self, api: Any, name: str) -> None:
        """Ask *api* of the recording with this id."""
        self._api, self._name = api, name
        found = api.request("GET", f"/api/recordings/{name}")
        self.marks = [float(command["time"]) for command in found["commands"]]
        self.duration = float(found["seconds"])
        self.size = (int(found["cols"]), int(found["rows"]))

    def events(self, start: float) -> Iterator[CastEvent]:
        """Yield the last whole screen before *start*, and all that follows it."""
        from vibehq_nb.client.recordings import cast_path

        lines = self._api.lines(cast_path(self._name, 3, start))
        for event in decode_cast(lines):
            if isinstance(event, CastEvent):
                yield event
