"""``/api/terminals/{id}/recordings`` and ``/api/recordings``: make, read, keep them."""

import asyncio
import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from tornado.iostream import StreamClosedError

from vibehq_nb.core.asciicast import VERSIONS, Version
from vibehq_nb.core.errors import DecodeError, DeniedError
from vibehq_nb.core.messages import RecordingSegment
from vibehq_nb.core.roles import Role
from vibehq_server.api.base import MAX_PAGE, ApiHandler
from vibehq_server.api.terminals import OneTerminalHandler
from vibehq_server.recordings.cast import cast_of
from vibehq_server.recordings.kept import Recording
from vibehq_server.recordings.store import RecordingStore
from vibehq_server.room_logs.pages import read_page
from vibehq_server.rooms.terminal_log import log_key

BATCH_BYTES = 256 * 1024
CAST = "application/x-asciicast"
_SEGMENT = str(RecordingSegment.__struct_config__.tag)
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")


class _WithStore(ApiHandler):
    @property
    def store(self) -> RecordingStore:
        """
        The recordings of this server.

        Raises:
            DeniedError: If it keeps none.
        """
        store = self.context.hub.recordings
        if store is None:
            raise DeniedError("conflict", "This server keeps no recordings.")
        return store

    async def answer_list(self, recordings: list[Recording]) -> None:
        """
        Answer with *recordings*, the oldest first, as a list of the newest first.

        At most ``?limit=`` of them, 100 if it is not given, after ``?offset=``.
        ``is_end`` tells that there are no older ones.
        """
        limit = max(1, self.query_number("limit", 100))
        offset = self.query_number("offset", 0, 10**9)
        wanted = recordings[::-1][offset : offset + limit]
        described = await self.describe(wanted)
        is_end = offset + limit >= len(recordings)
        self.answer({"recordings": described, "is_end": is_end})

    async def describe(self, recordings: list[Recording]) -> list[dict[str, Any]]:
        """Return what people are told of them."""
        store = self.store
        return await asyncio.to_thread(lambda: [store.describe(r) for r in recordings])


class TerminalRecordingsHandler(OneTerminalHandler, _WithStore):
    """``/api/terminals/{id}/recordings``."""

    async def get(self, _id: str) -> None:
        """List this terminal's recordings, the newest first."""
        key = self._key(must_be_known=False)
        await self.answer_list(self.store.of(key.name))

    async def post(self, _id: str) -> None:
        """Record from now on; one that runs already goes on. Operators only."""
        key = self._key()
        self.require(Role.OPERATOR)
        room = await self.live_room(*key)
        before = room.recorder.id
        started = await room.run(room.recorder.start, self.identity.user)
        recording = self.store.get(started)
        (described,) = await self.describe([recording])
        self.answer(described, 200 if before else 201)


class StopRecordingHandler(OneTerminalHandler, _WithStore):
    """``POST /api/terminals/{id}/recordings/stop``."""

    async def post(self, _id: str) -> None:
        """End the recording that runs; operators only."""
        key = self._key()
        self.require(Role.OPERATOR)
        room = await self.live_room(*key)
        stopped = await room.run(room.recorder.stop)
        await self.store.settled(self.store.get(stopped))
        self.answer({"id": stopped, "terminal": key.name})


class RecordingsHandler(_WithStore):
    """``GET /api/recordings``."""

    async def get(self) -> None:
        """List the recordings of the terminals within reach, the newest first."""
        self.require_join("terminal")
        hub = self.context.hub
        found = [
            recording
            for recording in self.store.all()
            if self.identity.allows(hub.key("terminal", recording.begin.terminal))
        ]
        await self.answer_list(found)


class OneRecordingHandler(_WithStore):
    """What the handlers of one recording share."""

    async def _recording(self) -> Recording:
        """
        Return the recording the path names, its files as far as it is recorded.

        Raises:
            DeniedError: If there is none, or its terminal is out of reach.
        """
        found = self.store.get(self.raw_after("/api/recordings/")[0])
        self.require_read(self.context.hub.key("terminal", found.begin.terminal))
        await self.store.settled(found)
        return found


class RecordingHandler(OneRecordingHandler):
    """``GET /api/recordings/{id}``."""

    async def get(self, _id: str) -> None:
        """Tell all of one: its times, commands, gaps and segments."""
        recording = await self._recording()
        (described,) = await self.describe([recording])
        summary = await asyncio.to_thread(recording.refresh)
        self.answer(
            {
                **described,
                "cols": summary.cols,
                "rows": summary.rows,
                "title": summary.title,
                "pinned": recording.pin,
                "commands": summary.commands(),
                "gaps": summary.gaps,
                "segments": summary.segments,
            }
        )


class VerifyRecordingHandler(OneRecordingHandler):
    """``GET /api/recordings/{id}/verify``."""

    async def get(self, _id: str) -> None:
        """
        Hash every complete segment again; compare with its index and the entry log.

        ``is_noted`` tells whether the terminal's entry log has the segment's hash: one
        that was completed just before a kill may be missing there.
        """
        recording = await self._recording()
        async with self.store.verifying():
            noted = await self._noted(recording)
            segments = await asyncio.to_thread(self.store.verify, recording)
        for segment in segments:
            hashed = noted.get(segment["number"])
            segment["is_noted"] = hashed is not None
            if hashed not in (None, segment["sha256"]):
                segment["is_whole"] = False  # the index was changed, too
        is_whole = all(segment["is_whole"] for segment in segments)
        self.answer({"is_whole": is_whole, "segments": segments})

    async def _noted(self, recording: Recording) -> dict[int, str]:
        """Return the hash of each segment that the terminal's entry log names."""
        found: dict[int, str] = {}
        after, is_end = 0, False
        log, key = self.context.hub.log, log_key(recording.begin.terminal)
        while not is_end:
            page = await read_page(log, key, after, MAX_PAGE)
            for entry in page["entries"]:
                if entry["type"] != _SEGMENT:
                    continue
                noted = msgspec.json.decode(entry["body"], type=RecordingSegment)
                if noted.id == recording.begin.id:
                    found[noted.number] = noted.sha256
            after, is_end = page["next"], page["is_end"]
        return found


class AskPin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a recording is kept for good."""

    reason: Annotated[str, Meta(max_length=1000)] = ""


class PinRecordingHandler(OneRecordingHandler):
    """``POST /api/recordings/{id}/(pin|unpin)``."""

    async def post(self, _id: str, action: str) -> None:
        """Keep it for good, or no longer; operators only."""
        recording = await self._recording()
        self.require(Role.OPERATOR)
        if action == "pin":
            asked = self.decode_body(AskPin)
            user, now = self.identity.user, self.context.hub.clock()
            await asyncio.to_thread(
                self.store.set_pin, recording, user, asked.reason, now
            )
        else:
            await asyncio.to_thread(self.store.unpin, recording)
        self.answer({"id": recording.begin.id, "pinned": recording.pin})


class CastHandler(OneRecordingHandler):
    """``GET /api/recordings/{id}/cast``."""

    async def get(self, _id: str) -> None:
        """
        Send it as an asciicast of ``?version=`` 2 or 3 (default), as it is read.

        With ``?from=`` seconds, what is needed from the last whole screen before.
        """
        recording = await self._recording()
        version = self._version()
        lines = cast_of(recording, version, self._from())
        name = f"{recording.begin.id}.cast"
        self.set_header("Content-Type", CAST)
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        try:
            while batch := await asyncio.to_thread(_batch, lines):
                self.write(batch)
                await self.flush()
        except StreamClosedError:
            return  # the reader has seen enough
        finally:
            await asyncio.to_thread(lines.close)

    def _version(self) -> Version:
        wanted = self.query_number("version", 3)
        for version in VERSIONS:
            if wanted == version:
                return version
        raise DecodeError("version is 2 or 3")

    def _from(self) -> float | None:
        text = self.query("from")
        if text is None:
            return None
        if not _SECONDS.fullmatch(text):
            raise DecodeError("from is a number of seconds")
        return float(text)


def _batch(lines: Iterator[bytes]) -> bytes:
    batch = bytearray()
    for line in lines:
        batch += line
        if len(batch) >= BATCH_BYTES:
            break
    return bytes(batch)
