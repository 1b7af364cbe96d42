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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.recording import Begin
from vibehq_server.recordings.files import PIN, segment_path
from vibehq_server.recordings.kept import Recording, find_recordings, time_text
from vibehq_server.recordings.pen import Listener, Pen
from vibehq_server.recordings.writer import Writer

logger = logging.getLogger(__name__)

DAY_SECONDS = 86_400
SETTLE_SECONDS = 5.0
VERIFIED_AT_ONCE = 2
TURN_SECONDS = 5.0
LONGEST_NAME = 100
ROOM_AGAIN = 0.95
"""Recordings that were full take this share of their bound before one begins again."""


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
        """Find what is there already; blocks, for long if there is much."""
        self.is_always = record == "always"
        self.keep_seconds = keep_days * DAY_SECONDS
        self.max_bytes = max_bytes
        self.is_full = False
        self._folder = folder
        self._writer = Writer()
        self._turns = asyncio.Semaphore(VERIFIED_AT_ONCE)
        self._pens: dict[str, Pen] = {}
        self._recordings = {found.begin.id: found for found in find_recordings(folder)}

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
        return last if last is not None and not last.has_ended else None

    def resume(self, recording: Recording, listener: Listener) -> Pen:
        """Go on with a recording that has no end."""
        return self._add_pen(recording.begin, recording.folder, listener)

    def _add_pen(self, begin: Begin, folder: Path, listener: Listener) -> Pen:
        pen = Pen(self._writer.put, begin, folder, listener, self._forget)
        self._pens[begin.id] = pen
        return pen

    def _forget(self, pen: Pen) -> None:
        """Note that the end of a recording is written."""
        self._pens.pop(pen.begin.id, None)
        if (recording := self._recordings.get(pen.begin.id)) is not None:
            recording.has_ended = True

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
        begin, outline = recording.begin, recording.outline()
        end = outline.end
        running = "recording" if self.is_running(recording) else "interrupted"
        return {
            "id": begin.id,
            "terminal": begin.terminal,
            "started_at": time_text(begin.at),
            "seconds": round(outline.duration, 3),
            "bytes": outline.size,
            "by": begin.by,
            "state": end.reason if end else running,
            "commands": outline.commands,
            "gaps": outline.gaps,
            "is_pinned": recording.pin is not None,
        }

    @asynccontextmanager
    async def verifying(self) -> AsyncIterator[None]:
        """
        Wait for a turn to verify: two do at once, others wait for at most 5 s.

        Raises:
            DeniedError: ``busy``.
        """
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            text = "Other recordings are being verified; try again in a minute."
            raise DeniedError("busy", text) from None
        try:
            yield
        finally:
            self._turns.release()

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
        pin = {"by": by, "reason": reason, "at": time_text(at)}
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
        old = [r for r in spare if _is_older(r, now - self.keep_seconds)]
        for recording in old:
            self._remove(recording)
        taken = {r: _disk_bytes(r) for r in self.all()}
        used, removed = sum(taken.values()), len(old)
        most = self.max_bytes * (ROOM_AGAIN if self.is_full else 1)
        for recording in spare:
            if used <= most:
                break
            if recording in taken:
                used -= taken[recording]
                self._remove(recording)
                removed += 1
        self.is_full = used > most
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


def _folder_name(terminal: str) -> str:
    name = quote(terminal, safe="@")
    if len(name) <= LONGEST_NAME and not name.startswith("."):
        return name
    return f"x-{hashlib.sha256(terminal.encode()).hexdigest()}"


def _is_older(recording: Recording, at: float) -> bool:
    try:
        return recording.begin.at + recording.outline().duration < at
    except OSError as error:
        logger.warning("recording %s: %s", recording.begin.id, error.strerror)
        return False


def _disk_bytes(recording: Recording) -> int:
    try:
        return recording.disk_bytes
    except OSError:
        return 0


def _hash(folder: Path, number: int) -> str:
    try:
        content = segment_path(folder, number).read_bytes()
    except OSError:
        return ""
    return hashlib.sha256(content).hexdigest()
