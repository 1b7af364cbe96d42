"""One recording as it is kept: what its files tell of it, read in a thread."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from vibehq_nb.core.recording import Begin, Outline, Summary, decode_records
from vibehq_server.recordings.files import (
    INDEX,
    PIN,
    RecordingFiles,
    read_begin,
    read_outline,
    write_outline,
)

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Recording:
    """
    One recording that is kept.

    Attributes:
        begin: Its first record.
        folder: Where it lies.
        summary: What its index told when it was last read; of one that had ended when
            the server began, nothing before :meth:`refresh`.
        has_ended: Whether its end is written.
    """

    begin: Begin
    folder: Path
    summary: Summary = field(default_factory=Summary)
    has_ended: bool = False
    _outline: Outline | None = None
    _read_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refresh(self) -> Summary:
        """Read what the index has more by now, and return the summary; blocks."""
        path = self.folder / INDEX
        if not path.exists():
            return self.summary  # nothing of it is on disk yet
        with self._lock, path.open("rb") as index:
            index.seek(self._read_bytes)
            for line in index:
                record = next(decode_records([line]), None)
                if record is None:
                    break
                self._read_bytes += len(line)
                self.summary.apply(record)
        return self.summary

    def outline(self) -> Outline:
        """Return what a list tells of it; blocks, but not for long if it has ended."""
        if self._outline is not None:
            return self._outline
        if self.has_ended:
            self._outline = read_outline(self.folder)
        return self._outline or self.refresh().outline(self.begin)

    def recall(self) -> None:
        """Read what there is of it when the server begins; blocks."""
        if self.refresh().end is None:
            self._repair()
        self.has_ended = self.summary.end is not None
        if self.has_ended:  # a kill came between its end and its outline
            self._outline = self.summary.outline(self.begin)
            write_outline(self.folder, self._outline)

    def _repair(self) -> None:
        """Cut off what a crash tore; what is read is what will be gone on with."""
        RecordingFiles(self.folder).close()
        self.summary, self._read_bytes = Summary(), 0
        self.refresh()

    @property
    def pin(self) -> dict[str, Any] | None:
        """Who keeps it for good, since when and why; None where nobody does."""
        try:
            found = msgspec.json.decode((self.folder / PIN).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError):
            return {}  # it cannot be read: that is no reason to remove a recording
        return found if isinstance(found, dict) else {}

    @property
    def disk_bytes(self) -> int:
        """What its files take."""
        return sum(path.stat().st_size for path in self.folder.iterdir())


def find_recordings(folder: Path) -> Iterator[Recording]:
    """Yield the recordings in *folder*; of those that have ended, no index is read."""
    for index in sorted(folder.glob(f"*/*/{INDEX}")):
        outline = read_outline(index.parent)
        if outline is not None:
            yield Recording(
                outline.begin, index.parent, has_ended=True, _outline=outline
            )
            continue
        begin = read_begin(index.parent)
        if begin is None:
            continue  # nothing was recorded yet when the server was killed
        recording = Recording(begin, index.parent)
        try:
            recording.recall()
        except OSError as error:
            logger.warning("recording %s: %s", begin.id, error.strerror)
        yield recording


def time_text(at: float) -> str:
    """Return a time as people are told it, such as ``2026-11-26T02:00:00Z``."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return text.replace("+00:00", "Z")
