"""A worker of another host joins: its token is traded for a key that it keeps."""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vibehq_nb.client.errors import ApiError
from vibehq_nb.client.http import HttpApi, Server, normal_url
from vibehq_nb.core.errors import UsageError

JOIN_VARIABLE = "VIBEHQ_JOIN"


def workers_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where workers of other hosts' servers keep a data folder each."""
    home = environ.get("XDG_DATA_HOME")
    base = Path(home) if home else Path.home() / ".local" / "share"
    return base / "vibehq" / "workers"


def folder_for(url: str) -> Path:
    """Return the data folder of the worker for the server at *url*."""
    parts = urlsplit(normal_url(url))
    name = f"{parts.netloc}{parts.path}".replace("/", "_").replace(":", "_")
    return workers_folder() / name


def stored_name(folder: Path) -> str | None:
    """Return the name under which the worker of *folder* joined, if it did."""
    name = _read(folder / "endpoint.json").get("worker")
    return name if isinstance(name, str) else None


def join(url: str, token: str, worker: str, folder: Path) -> None:
    """
    Trade *token* for a key of *worker*'s own and keep it in *folder*, mode 0600.

    A token that was used already changes nothing where the key is kept already, so
    that the line with it can be run again.

    Raises:
        UsageError: If the server gives no key, with why.
    """
    path = folder / "endpoint.json"
    before = _read(path)
    if "admin_key" in before:
        raise UsageError(f"{folder} is a server's folder; give another --data.")
    url = normal_url(url)
    asked = {"token": token, "worker": worker, "host": socket.gethostname()}
    try:
        joined = HttpApi(Server(url)).request("POST", "/api/workers/join", asked)
    except ApiError as error:
        known = before.get("url"), before.get("worker")
        if error.code == "join-token" and known == (url, worker):
            return
        raise UsageError(error.message) from None
    kept = {"url": url, "worker_key": joined["key"], "worker": joined["worker"]}
    draft = path.with_name(f".endpoint.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(kept, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
