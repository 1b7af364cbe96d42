"""Recordings of terminals, as asynchronous code uses them."""

import asyncio
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from vibehq_nb.client.http import HttpApi
from vibehq_nb.client.screen import make_screen
from vibehq_nb.client.static import StaticScreen
from vibehq_nb.core.asciicast import (
    OUTPUT,
    RESIZE,
    CastEvent,
    CastHeader,
    decode_cast,
    decode_size,
)
from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.vt import plain_text

RECORDING_COLUMNS = (
    "id",
    "terminal",
    "started_at",
    "seconds",
    "bytes",
    "by",
    "state",
    "commands",
    "gaps",
    "is_pinned",
)
END_SECONDS = 999_999_999
"""Later than any recording ends."""
PAGE = 1000
MAX_TEXT_BYTES = 64 * 1024 * 1024


async def list_recordings(
    api: HttpApi, terminal: str | None = None
) -> list[dict[str, Any]]:
    """Return the recordings of one terminal or all, the newest first."""
    return await asyncio.to_thread(lambda: list(walk_recordings(api, terminal)))


def walk_recordings(
    api: HttpApi, terminal: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the recordings of one terminal or all, the newest first; blocks."""
    path = f"{_terminal_path(terminal)}/recordings" if terminal else "/api/recordings"
    offset, is_end, seen = 0, False, set[str]()
    while not is_end:
        page = api.request("GET", f"{path}?limit={PAGE}&offset={offset}")
        # Those that began meanwhile have moved the others on.
        yield from (one for one in page["recordings"] if one["id"] not in seen)
        seen.update(one["id"] for one in page["recordings"])
        offset, is_end = offset + PAGE, page["is_end"]


class AsyncRecording:
    """
    One recording, that runs or has ended.

    Attributes:
        id: Its name on the server.
        terminal: What was recorded.
    """

    def __init__(self, api: HttpApi, recording: str, terminal: str) -> None:
        """Refer to a recording; see :meth:`start` and :meth:`find`."""
        self.api, self.id, self.terminal = api, recording, terminal

    @classmethod
    async def start(cls, api: HttpApi, terminal: str) -> Self:
        """Record *terminal* from now on."""
        path = f"{_terminal_path(terminal)}/recordings"
        found = await _call(api, "POST", path)
        return cls(api, str(found["id"]), terminal)

    @classmethod
    async def find(cls, api: HttpApi, recording: str) -> Self:
        """Return the recording with this id."""
        path = f"/api/recordings/{quote(recording, safe='')}"
        found = await _call(api, "GET", path)
        return cls(api, str(found["id"]), str(found["terminal"]))

    async def __aenter__(self) -> Self:
        """Record."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop."""
        await self.stop()

    @property
    def path(self) -> str:
        """Where the API keeps it."""
        return f"/api/recordings/{quote(self.id, safe='')}"

    async def stop(self) -> None:
        """End it; does nothing if it has ended."""
        if (await self.describe())["state"] == "recording":
            stop = f"{_terminal_path(self.terminal)}/recordings/stop"
            await _call(self.api, "POST", stop)

    async def describe(self) -> dict[str, Any]:
        """Return all that is known of it: times, commands, gaps, segments."""
        found: dict[str, Any] = await _call(self.api, "GET", self.path)
        return found

    async def verify(self) -> bool:
        """Tell whether every segment is still what was hashed."""
        found = await _call(self.api, "GET", f"{self.path}/verify")
        return bool(found["is_whole"])

    async def pin(self, reason: str = "") -> None:
        """Keep it for good."""
        await _call(self.api, "POST", f"{self.path}/pin", {"reason": reason})

    async def unpin(self) -> None:
        """Let it go when it is old."""
        await _call(self.api, "POST", f"{self.path}/unpin")

    async def export(self, path: str | os.PathLike[str], version: int = 3) -> Path:
        """
        Write it to *path* as an asciicast of *version* 2 or 3; return the path.

        The file is there whole or not at all.

        Raises:
            UsageError: If there is no such version, or the file cannot be written.
        """
        lines = self.api.lines(cast_path(self.id, version))
        return await asyncio.to_thread(write_file, Path(path), lines)

    async def static(self) -> StaticScreen:
        """Return its last screen, for a notebook to keep."""
        lines = self.api.lines(cast_path(self.id, 3, END_SECONDS))
        return await asyncio.to_thread(last_screen, lines, self.terminal)


def _terminal_path(terminal: str) -> str:
    return f"/api/terminals/{quote(terminal, safe=':@')}"


async def _call(api: HttpApi, method: str, path: str, body: object = None) -> Any:
    return await asyncio.to_thread(api.request, method, path, body)


def cast_path(recording: str, version: int, start: float | None = None) -> str:
    """
    Return where the API has a recording as an asciicast.

    Raises:
        UsageError: If there is no such version.
    """
    if version not in (2, 3):
        raise UsageError("An asciicast is of version 2 or 3.")
    since = f"&from={start:.3f}" if start is not None else ""
    return f"/api/recordings/{quote(recording, safe='')}/cast?version={version}{since}"


def write_file(path: Path, pieces: Iterable[bytes]) -> Path:
    """
    Write *pieces* to *path*, whole or not at all; blocks.

    Raises:
        UsageError: If the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.writelines(pieces)
        beside.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        beside.unlink(missing_ok=True)
    return path


def cast_text(lines: Iterable[bytes]) -> str:
    """
    Return what a recording printed as plain text, without colours.

    Raises:
        UsageError: If that is more than 64 MiB.
    """
    output = bytearray()
    for event in decode_cast(lines):
        if isinstance(event, CastEvent) and event.code == OUTPUT:
            output += event.text.encode()
        if len(output) > MAX_TEXT_BYTES:
            raise UsageError("This is too much for a text: export it as asciicast-v3.")
    return plain_text(bytes(output)).rstrip("\n") + "\n"


def last_screen(lines: Iterator[bytes], label: str) -> StaticScreen:
    """Return the screen that an asciicast ends with; blocks."""
    screen = make_screen(80, 24)
    for event in decode_cast(lines):
        match event:
            case CastHeader(cols=cols, rows=rows):
                screen.resize(cols, rows)
            case CastEvent(code="o", text=text):
                screen.feed(text.encode())
            case CastEvent(code=code, text=text) if code == RESIZE:
                if (size := decode_size(text)) is not None:
                    screen.resize(*size)
    shown = [line.rstrip() for line in screen.text().splitlines()]
    return StaticScreen(label, "\n".join(shown).rstrip("\n"), screen.html())
