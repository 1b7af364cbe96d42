"""One server per data folder: an advisory lock that ends with the process."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from vibehq_nb.core.errors import VibeError


class FolderInUseError(VibeError):
    """Another process holds the data folder."""

    def __init__(self, folder: Path, holder: str) -> None:
        """Name the *folder* and the process id that *holder* wrote, if any."""
        who = f"process {holder}" if holder else "another process"
        super().__init__(f"{folder} is in use by {who}")
        self.folder = folder
        self.holder = holder


class Lock:
    """A held lock; ends with :meth:`release`, with the block, or with the process."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        """Own *descriptor*, whose file is locked."""
        self.folder = folder
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let another process have the folder; again is a no-op."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def lock_folder(folder: Path) -> Lock:
    """
    Take *folder*, made with mode 0700 if need be, for this process alone.

    The lock sits on its own file ``lock``, which is never removed: locking a file
    that another process removed meanwhile would lock nothing.

    Raises:
        FolderInUseError: If another process, or this one, holds it already.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise FolderInUseError(folder, holder) from None
    except BaseException:
        os.close(descriptor)
        raise
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        pass  # a full disk: the name of the holder is a courtesy
    return Lock(folder, descriptor)
