"""Which server a command talks to, and as whom."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vibehq_server.endpoint import Endpoint, read_endpoint
from vibehq_server.settings import StartError, default_data

_NO_SERVER = """no server found on this host. One of these helps:
  --data DIR              the folder of a server on this host that has its own
  vibehq serve            start one
  jupyter lab             start one inside JupyterLab
  export VIBEHQ_URL=https://hq.example.org VIBEHQ_TOKEN=...    use another host's"""


def find(arguments: argparse.Namespace) -> Any:
    """
    Return the server of the options, the environment, or this host.

    Raises:
        StartError: If *--data* names a folder without a server.
        NoServerError: If there is no server to be found.
    """
    from vibehq_nb.client.discovery import find_server
    from vibehq_nb.client.errors import NoServerError

    if arguments.data:
        return _of_folder(Path(arguments.data))
    try:
        return find_server(arguments.url)
    except NoServerError:
        folder = _folder_of_this_host()
        if folder is None:
            raise NoServerError(_NO_SERVER) from None
        return _of_folder(folder)


def data_folder(arguments: argparse.Namespace) -> Path:
    """Return the data folder of *--data*, of this host's server, or the default."""
    if arguments.data:
        return Path(arguments.data)
    return _folder_of_this_host() or default_data("standalone")


def advice_for(error: Exception, arguments: argparse.Namespace) -> str:
    """Return what *error* says, and how to sign in where that is what it takes."""
    text = str(error)
    if getattr(error, "status", 0) != 401 or "vibehq login" in text:
        return text
    url = getattr(arguments, "url", None) or os.environ.get("VIBEHQ_URL") or "URL"
    return f"{text} vibehq login {url}, or set VIBEHQ_TOKEN."


def api_of(arguments: argparse.Namespace) -> Any:
    """Return the HTTP API of :func:`find`'s server."""
    from vibehq_nb.client.http import HttpApi

    return HttpApi(find(arguments))


def owner_api_of(arguments: argparse.Namespace) -> Any:
    """
    Return the API of :func:`find`'s server, as its owner where this account is that.

    A notebook's own token gives nobody a grant; whoever may read the data folder does.
    """
    from vibehq_nb.client.http import HttpApi

    server = find(arguments)
    owners = map(_of_folder, _folders_of_this_host())
    return HttpApi(next((o for o in owners if _place(o) == _place(server)), server))


def _place(server: Any) -> tuple[str, int | None, str]:
    parts = urlsplit(server.url)
    host = "127.0.0.1" if server.is_loopback else str(parts.hostname)
    return host, parts.port, parts.path


def _of_folder(folder: Path) -> Any:
    from vibehq_nb.client.http import Server

    endpoint = read_endpoint(folder)
    return Server(endpoint.url, endpoint.keys.admin)


def _folder_of_this_host() -> Path | None:
    return next(_folders_of_this_host(), None)


def _folders_of_this_host() -> Iterator[Path]:
    embedded = default_data("embedded")
    further = sorted(embedded.parent.glob(f"{embedded.name}-*"))
    for folder in (default_data("standalone"), embedded, *further):
        try:
            endpoint = read_endpoint(folder)
        except StartError:
            continue
        if _is_alive(endpoint):
            yield folder


def _is_alive(endpoint: Endpoint) -> bool:
    try:
        os.kill(endpoint.pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
