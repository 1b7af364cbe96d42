"""The recordings of a data folder: how they are opened, and how long they stay."""

import asyncio
import logging
from typing import TYPE_CHECKING

from vibehq_server.log_file import size_text
from vibehq_server.recordings.store import RecordingStore

if TYPE_CHECKING:
    from vibehq_server.hub import Hub
    from vibehq_server.settings import Settings

logger = logging.getLogger(__name__)

FOLDER = "recordings"
SWEEP_SECONDS = 60.0


def open_recordings(settings: "Settings") -> RecordingStore:
    """Open the recordings of a data folder that this process has taken; blocks."""
    return RecordingStore(
        settings.data / FOLDER,
        record=settings.record,
        keep_days=settings.keep_recordings,
        max_bytes=settings.recordings_bytes,
    )


def recordings_text(settings: "Settings") -> str:
    """Say what is recorded, and for how long it is kept."""
    is_always = settings.record == "always"
    what = "Every terminal is recorded" if is_always else "Terminals may be recorded"
    return (
        f"{what}. A recording stays {settings.keep_recordings} days unless it is "
        f"pinned; all take {size_text(settings.recordings_bytes)} at most."
    )


async def keep_recordings(hub: "Hub") -> None:
    """Remove those that are too old or too many, each minute; ends with its task."""
    while (store := hub.recordings) is not None:
        try:
            await asyncio.to_thread(store.sweep, hub.clock())
        except OSError as error:
            logger.warning("recordings are not kept in bounds: %s", error.strerror)
        store.tell_full()
        await asyncio.sleep(SWEEP_SECONDS)
