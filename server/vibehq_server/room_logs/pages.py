"""Reading a room's stored entries for people: pages of bounded size."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from vibehq_nb.core.errors import GapError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import Entry
from vibehq_server.room_logs.port import RoomLog

PAGE_BYTES = 1024 * 1024
_STEP = 16
_WINDOWS = (64, 512, 4096)


class _Typed(msgspec.Struct):
    type: str = ""


async def read_page(
    log: RoomLog, room: RoomKey, after: int, limit: int
) -> dict[str, Any]:
    """
    Return ``entries`` after offset *after*, and the offset to read the ``next`` from.

    At most *limit* of them, and no more once 1 MiB was read; internal ones are left
    out. ``is_end`` says that nothing more is stored.

    Raises:
        GapError: If some are no longer kept.
    """
    shown: list[dict[str, Any]] = []
    size, offset, is_end = 0, after, False
    while len(shown) < limit and size < PAGE_BYTES and not is_end:
        step = min(_STEP, limit - len(shown))
        entries = await log.read(room, offset, step)
        is_end = len(entries) < step
        for entry in entries:
            if size >= PAGE_BYTES:
                is_end = False
                break
            size, offset = size + len(entry.body), entry.offset
            if not entry.is_internal:
                shown.append(_shown(entry))
    return {"entries": shown, "next": offset, "is_end": is_end}


async def last_entries(
    log: RoomLog, room: RoomKey, head: int, count: int
) -> list[dict[str, Any]]:
    """
    Return the last *count* entries up to *head*, oldest first.

    Looked for among the last 4,096; fewer where the others are internal.
    """
    oldest = await kept_from(log, room)
    found: list[dict[str, Any]] = []
    for window in _WINDOWS:
        start, is_end = max(oldest, head - window), False
        found = []
        while not is_end:
            page = await read_page(log, room, start, window)
            found = [*found, *page["entries"]][-count:]
            start, is_end = page["next"], page["is_end"]
        if len(found) == count or head - window <= oldest:
            break
    return found


async def kept_from(log: RoomLog, room: RoomKey) -> int:
    """Return the smallest offset whose successors are all kept."""
    try:
        await log.read(room, 0, 1)
    except GapError as gap:
        return gap.oldest
    return 0


async def has_entries(log: RoomLog, room: RoomKey) -> bool:
    """Tell whether anything of *room* is stored."""
    return bool(await log.read(room, await kept_from(log, room), 1))


def _shown(entry: Entry) -> dict[str, Any]:
    at = datetime.fromtimestamp(entry.at / 1000, UTC)
    return {
        "offset": entry.offset,
        "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "type": msgspec.json.decode(entry.body, type=_Typed).type,
        "bytes": len(entry.body),
        "body": msgspec.Raw(entry.body),
    }
