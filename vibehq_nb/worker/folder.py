"""A worker's data folder: one worker at a time, and a place for small files."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vibehq_nb.core.errors import UsageError

LOCK = "worker.lock"
STOPPED = "stopped\n"
"""Stands in the lock instead of a pid after a stop that was asked for: whoever keeps
a worker running leaves it at that."""


class HeldError(Exception):
    """Another worker holds the folder."""


@contextmanager
def held(data: Path) -> Iterator[Path]:
    """
    Hold *data* as its one worker, and yield the lock's file, which has our pid.

    Raises:
        HeldError: If another one does.
        UsageError: If it cannot be used.
    """
    lock = data / LOCK
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{lock} cannot be used: {error.strerror}.") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise HeldError from None
    try:
        os.truncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield lock
    finally:
        os.close(fd)


def is_held(data: Path) -> bool:
    """Tell whether a worker holds *data*."""
    try:
        fd = os.open(data / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


@contextmanager
def runtime_folder(data: Path | None) -> Iterator[Path]:
    """Yield a private folder for small files, in *data* if there is one."""
    if data is not None:
        folder = data / "run"
        folder.mkdir(mode=0o700, exist_ok=True)
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="vibehq-worker-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
