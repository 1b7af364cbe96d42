"""Keep the cursors of incremental scans in a file, replaced whole or not at all."""

import os
import tempfile
from pathlib import Path

import msgspec

from vibehq_nb.ops.log_files import Cursor

VERSION = 1
MAX_BYTES = 64 * 2**20


class LogState(msgspec.Struct):
    """What an incremental scan starts from, by device and inode."""

    version: int
    files: dict[str, Cursor] = {}


def load(path: Path | None) -> tuple[dict[str, Cursor], str]:
    """Return the cursors in *path*, and why there are none if that is unusual."""
    if path is None:
        return {}, ""
    try:
        if path.stat().st_size > MAX_BYTES:
            return {}, "the scan state is too large"
        state = msgspec.json.decode(path.read_bytes(), type=LogState)
    except FileNotFoundError:
        return {}, ""
    except (OSError, msgspec.MsgspecError):
        return {}, "the scan state cannot be read"
    if state.version != VERSION:
        return {}, "the scan state is of another version"
    return state.files, ""


def save(path: Path, files: dict[str, Cursor]) -> None:
    """
    Replace *path*, readable by its owner only.

    Raises:
        OSError: If it cannot be written; the old state is still whole.
    """
    encoded = msgspec.json.encode(LogState(VERSION, files))
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(encoded)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
