"""The data folder, and ``endpoint.json``, by which programs find the server."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from vibehq_server.auth.authenticator import Keys
from vibehq_server.auth.secrets import ADMIN_PREFIX, WORKER_PREFIX, make_credential
from vibehq_server.room_logs.folder_lock import FolderInUseError, Lock, lock_folder
from vibehq_server.settings import StartError

MAX_FOLDERS = 100


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What ``endpoint.json`` says."""

    url: str
    keys: Keys
    pid: int


def take_folder(folder: Path) -> Lock:
    """
    Take the data folder for this process.

    Raises:
        StartError: With code 2 if it cannot be written, 3 if it is in use.
    """
    try:
        lock = lock_folder(folder)
    except FolderInUseError as error:
        raise StartError(
            f"{error}: one server per folder; stop it, or give another --data", 3
        ) from None
    except OSError as error:
        raise StartError(
            f"the data folder {folder} cannot be written: {error.strerror}"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        lock.release()
        raise StartError(f"the data folder {folder} cannot be written")
    return lock


def take_free_folder(folder: Path) -> Lock:
    """
    Take *folder*, or the next free one beside it: ``embedded-2``, ``embedded-3``.

    Raises:
        StartError: If it cannot be written, or none of a hundred is free.
    """
    for number in range(1, MAX_FOLDERS + 1):
        name = folder.name if number == 1 else f"{folder.name}-{number}"
        try:
            return take_folder(folder.with_name(name))
        except StartError as error:
            if error.exit_code != 3:
                raise
    raise StartError(f"{folder} and its neighbours are all in use", 3)


def load_keys(folder: Path) -> Keys:
    """Return the folder's keys, kept over restarts so that clients stay signed in."""
    try:
        endpoint = read_endpoint(folder)
    except StartError:
        return Keys(make_credential(WORKER_PREFIX), make_credential(ADMIN_PREFIX))
    return endpoint.keys


def read_endpoint(folder: Path) -> Endpoint:
    """
    Return what the last server on *folder* wrote.

    Raises:
        StartError: If there is none, or it is not one of ours.
    """
    path = folder / "endpoint.json"
    try:
        value = json.loads(path.read_text())
        keys = Keys(str(value["worker_key"]), str(value["admin_key"]))
        endpoint = Endpoint(value["url"], keys, int(value["pid"]))
    except OSError:
        raise StartError(f"there is no server in {folder}") from None
    except (ValueError, KeyError, TypeError):
        raise StartError(f"{path} is damaged; restart the server") from None
    if not _are_ours(keys):
        raise StartError(f"{path} is damaged; restart the server")
    return endpoint


def _are_ours(keys: Keys) -> bool:
    pairs = ((keys.worker, WORKER_PREFIX), (keys.admin, ADMIN_PREFIX))
    return all(key.startswith(prefix) and len(key) >= 40 for key, prefix in pairs)


def write_endpoint(folder: Path, endpoint: Endpoint) -> None:
    """Replace ``endpoint.json`` in one step, readable by its owner alone."""
    text = json.dumps(
        {
            "url": endpoint.url,
            "worker_key": endpoint.keys.worker,
            "admin_key": endpoint.keys.admin,
            "pid": endpoint.pid,
        }
    )
    path = folder / "endpoint.json"
    draft = folder / f".endpoint.{os.getpid()}"
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
