"""The room log in the data folder: how it is opened, and what is said of it."""

from pathlib import Path

from vibehq_nb.core.errors import NotStoredError
from vibehq_server.room_logs.sqlite import Retention, SchemaError, SqliteRoomLog
from vibehq_server.settings import Settings, StartError

NAME = "rooms.sqlite3"
DAY_SECONDS = 86_400
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def open_room_log(settings: Settings) -> SqliteRoomLog:
    """
    Open the room log of a data folder that this process has taken.

    Raises:
        StartError: With code 4 if another version or program wrote it, 2 if it
            cannot be opened.
    """
    retention = Retention(
        max_age_seconds=settings.keep_days * DAY_SECONDS,
        max_bytes=settings.keep_bytes,
        max_entries=settings.keep_entries,
    )
    try:
        return SqliteRoomLog(settings.data / NAME, retention=retention)
    except SchemaError as error:
        raise StartError(str(error), 4) from None
    except NotStoredError as error:
        raise StartError(str(error)) from None


def retention_text(settings: Settings) -> str:
    """Say what is kept for how long, and what it uses now."""
    bounds = [f"{settings.keep_days} days", size_text(settings.keep_bytes)]
    if settings.keep_entries is not None:
        bounds.append(f"{settings.keep_entries} entries")
    return (
        f"A room keeps {' or '.join(bounds)}, whichever is less; approvals, grants and "
        f"terminals' records stay. The log uses {size_text(disk_bytes(settings.data))}."
    )


def disk_bytes(folder: Path) -> int:
    """Return the bytes of the room log's files in *folder*."""
    return sum(path.stat().st_size for path in folder.glob(f"{NAME}*"))


def size_text(size_bytes: int) -> str:
    """Return a size as people read it, as ``1.5 GiB``."""
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f}".removesuffix(".0") + f" {_UNITS[unit]}"
