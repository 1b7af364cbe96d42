"""
Which recordings there are, and how long they are kept.

One folder a recording, ``{data}/recordings/{terminal}/{id}``. What is read here is
read in a thread; only the writer's thread writes, but for pins and removals.
"""

import asyncio
import hashlib
import logging
import secrets
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.recording import Begin, Summary, decode_records
from vibehq_server.recordings.files import (
    INDEX,
    PIN,
    RecordingFiles,
    read_begin,
    segment_path,
)
from vibehq_server.recordings.writer import Listener, Pen, Writer

logger = logging.getLogger(__name__)

DAY_SECONDS = 86_400
SETTLE_SECONDS = 5.0
LONGEST_NAME = 100


@dataclass(eq=False, slots=True)
class Recording:
    """
    One recording that is kept.

    Attributes:
        begin: Its first record.
        folder: Where it lies.
        summary: What its index told when it was last read.
    """

    begin: Begin
    folder: Path
    summary: Summary = field(default_factory=Summary)
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

    @property
    def pin(self) -> dict[str, Any] | None:
        """Who keeps it for good, since when and why; None where nobody does."""
        try:
            found = msgspec.json.decode((self.folder / PIN).read_bytes())
        except (OSError, msgspec.DecodeError):
            return None
        return found if isinstance(found, dict) else {}

    @property
    def disk_bytes(self) -> int:
        """What its files take."""
        return sum(path.stat().st_size for path in self.folder.iterdir())


class RecordingStore:
    """
    The recordings of one server.

    Args:
        folder: Holds them; made with the first one.
        record: ``always`` begins one with every terminal, ``never`` on request only.
        keep_days: How old one gets that is not pinned.
        max_bytes: How much all of them may take; the oldest go first, and when only
            running or pinned ones are left, nothing more is recorded.
    """

    def __init__(
        self,
        folder: Path,
        *,
        record: str = "never",
        keep_days: int = 30,
        max_bytes: int = 10 * 1024**3,
    ) -> None:
        """Find what is there already."""
        self.is_always = record == "always"
        self.keep_seconds = keep_days * DAY_SECONDS
        self.max_bytes = max_bytes
        self.is_full = False
        self._folder = folder
        self._writer = Writer()
        self._pens: dict[str, Pen] = {}
        self._recordings = {found.begin.id: found for found in _find(folder)}

    def close(self) -> None:
        """Write what is queued; recordings that run go on at the next start."""
        self._writer.close()

    # Writing

    def open(self, begin: Begin, listener: Listener) -> Pen:
        """Begin a recording; nothing is on disk yet."""
        folder = self._folder / _folder_name(begin.terminal) / begin.id
        self._recordings[begin.id] = Recording(begin, folder)
        return self._add_pen(begin, folder, listener)

    def unfinished(self, terminal: str) -> Recording | None:
        """Return the last recording of *terminal* if it has no end and no pen."""
        found = [r for r in self.of(terminal) if r.begin.id not in self._pens]
        last = found[-1] if found else None
        return last if last is not None and last.summary.end is None else None

    def resume(self, recording: Recording, listener: Listener) -> Pen:
        """Go on with a recording that has no end."""
        return self._add_pen(recording.begin, recording.folder, listener)

    def _add_pen(self, begin: Begin, folder: Path, listener: Listener) -> Pen:
        pen = Pen(self._writer, begin, folder, listener)
        self._pens[begin.id] = pen
        return pen

    def release(self, pen: Pen) -> None:
        """Forget a pen whose end was put, once it is written."""
        name = pen.begin.id
        pen.settled().add_done_callback(lambda _: self._pens.pop(name, None))

    async def settled(self, recording: Recording) -> None:
        """Wait until the files hold what was recorded by now, for at most 5 s."""
        pen = self._pens.get(recording.begin.id)
        if pen is not None:
            await asyncio.wait([pen.settled()], timeout=SETTLE_SECONDS)

    # Reading

    def of(self, terminal: str) -> list[Recording]:
        """Return the recordings of *terminal*, the oldest first."""
        return [r for r in self.all() if r.begin.terminal == terminal]

    def all(self) -> list[Recording]:
        """Return every recording, the oldest first."""
        return sorted(
            self._recordings.values(), key=lambda one: (one.begin.at, one.begin.id)
        )

    def get(self, recording_id: str) -> Recording:
        """
        Return a recording.

        Raises:
            DeniedError: ``not-found``.
        """
        found = self._recordings.get(recording_id)
        if found is None:
            raise DeniedError("not-found", "There is no such recording.")
        return found

    def is_running(self, recording: Recording) -> bool:
        """Tell whether it is being written now."""
        return recording.begin.id in self._pens

    def describe(self, recording: Recording) -> dict[str, Any]:
        """Return what people are told of it; reads the disk."""
        begin, summary = recording.begin, recording.refresh()
        end = summary.end
        running = "recording" if self.is_running(recording) else "interrupted"
        return {
            "id": begin.id,
            "terminal": begin.terminal,
            "started_at": _time_text(begin.at),
            "seconds": round(summary.duration, 3),
            "bytes": summary.size,
            "by": begin.by,
            "state": end.reason if end else running,
            "commands": sum(1 for mark in summary.marks if mark.kind == "command"),
            "gaps": len(summary.gaps),
            "is_pinned": recording.pin is not None,
        }

    def verify(self, recording: Recording) -> list[dict[str, Any]]:
        """Return each complete segment, and whether its file is what was hashed."""
        return [
            {
                "number": segment.number,
                "start": segment.start,
                "end": segment.end,
                "sha256": segment.sha256,
                "is_whole": _hash(recording.folder, segment.number) == segment.sha256,
            }
            for segment in recording.refresh().segments
        ]

    # Keeping

    def set_pin(self, recording: Recording, by: str, reason: str, at: float) -> None:
        """Keep it for good; blocks."""
        pin = {"by": by, "reason": reason, "at": _time_text(at)}
        recording.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = recording.folder / PIN
        path.touch(mode=0o600)
        path.write_bytes(msgspec.json.encode(pin))

    def unpin(self, recording: Recording) -> None:
        """Let it go when it is old; blocks."""
        (recording.folder / PIN).unlink(missing_ok=True)

    def sweep(self, now: float) -> int:
        """Remove what is too old, then the oldest while all take too much; blocks."""
        spare = [r for r in self.all() if not self.is_running(r) and r.pin is None]
        old = [r for r in spare if now - _ended_at(r) > self.keep_seconds]
        for recording in old:
            self._remove(recording)
        used = sum(_disk_bytes(recording) for recording in self.all())
        removed = len(old)
        for recording in spare[:]:
            if used <= self.max_bytes:
                break
            if recording not in old:
                used -= _disk_bytes(recording)
                self._remove(recording)
                removed += 1
        self.is_full = used > self.max_bytes
        return removed

    def _remove(self, recording: Recording) -> None:
        self._recordings.pop(recording.begin.id, None)
        shutil.rmtree(recording.folder, ignore_errors=True)
        logger.info(
            "recording %s of %s removed", recording.begin.id, recording.begin.terminal
        )

    def tell_full(self) -> None:
        """End what runs, where all recordings take too much; on the loop."""
        for pen in tuple(self._pens.values()) if self.is_full else ():
            pen.listener.on_full()


def new_id(at: float) -> str:
    """Return the name of a recording that begins now; names sort by time."""
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"


def _find(folder: Path) -> Iterator[Recording]:
    for index in sorted(folder.glob(f"*/*/{INDEX}")):
        begin = read_begin(index.parent)
        if begin is None:
            continue  # nothing was recorded yet when the server was killed
        recording = Recording(begin, index.parent)
        if recording.refresh().end is None:
            _repair(recording)
        yield recording


def _repair(recording: Recording) -> None:
    """Cut off what a crash tore, so that what is read is what will be gone on with."""
    try:
        files = RecordingFiles(recording.folder)
    except OSError as error:
        logger.warning("recording %s: %s", recording.begin.id, error.strerror)
        return
    files.close()
    recording.summary, recording._read_bytes = Summary(), 0
    recording.refresh()


def _folder_name(terminal: str) -> str:
    name = quote(terminal, safe="@")
    if len(name) <= LONGEST_NAME and not name.startswith("."):
        return name
    return f"x-{hashlib.sha256(terminal.encode()).hexdigest()}"


def _disk_bytes(recording: Recording) -> int:
    try:
        return recording.disk_bytes
    except OSError:
        return 0


def _ended_at(recording: Recording) -> float:
    return recording.begin.at + recording.refresh().duration


def _hash(folder: Path, number: int) -> str:
    try:
        content = segment_path(folder, number).read_bytes()
    except OSError:
        return ""
    return hashlib.sha256(content).hexdigest()


def _time_text(at: float) -> str:
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return text.replace("+00:00", "Z")
