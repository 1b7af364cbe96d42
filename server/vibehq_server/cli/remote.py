"""Which server a command talks to, and as whom."""

import argparse
import os
from pathlib import Path
from typing import Any

from vibehq_server.endpoint import Endpoint, read_endpoint
from vibehq_server.settings import StartError, default_data


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
        local = _of_this_host()
        if arguments.url or local is None:
            raise
        return local


def api_of(arguments: argparse.Namespace) -> Any:
    """Return the HTTP API of :func:`find`'s server."""
    from vibehq_nb.client.http import HttpApi

    return HttpApi(find(arguments))


def _of_folder(folder: Path) -> Any:
    from vibehq_nb.client.http import Server

    endpoint = read_endpoint(folder)
    return Server(endpoint.url, endpoint.keys.admin)


def _of_this_host() -> Any:
    for mode in ("standalone", "embedded"):
        folder = default_data("embedded" if mode == "embedded" else "standalone")
        try:
            endpoint = read_endpoint(folder)
        except StartError:
            continue
        if _is_alive(endpoint):
            return _of_folder(folder)
    return None


def _is_alive(endpoint: Endpoint) -> bool:
    try:
        os.kill(endpoint.pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
