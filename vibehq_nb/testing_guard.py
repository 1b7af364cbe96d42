"""
Ends what a throw-away server started when its owner is gone without a word.

Its standard input is the lifeline: the owner writes one process id a line, and the end
of the pipe, however the owner ended, is the sign to clean up. An owner that stops in
good order leaves nothing to do.
"""

import contextlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from vibehq_nb.client.errors import ApiError
from vibehq_nb.client.http import HttpApi, Server

STOP_SECONDS = 5.0


def close_terminals(api: HttpApi) -> None:
    """End every terminal: a worker lets a running job live on, here nothing may."""
    with contextlib.suppress(ApiError):
        for terminal in api.request("GET", "/api/terminals")["terminals"]:
            api.request("DELETE", f"/api/terminals/{terminal['id']}")


def guard(folder: Path, lifeline: Sequence[str] | None = None) -> None:
    """
    Wait until the owner is gone, then end its processes and remove *folder*.

    Args:
        folder: Where the throw-away server keeps everything.
        lifeline: The lines of process ids; standard input if not given.
    """
    processes: list[psutil.Process] = []
    for line in sys.stdin if lifeline is None else lifeline:
        with contextlib.suppress(psutil.Error, ValueError):
            processes.append(psutil.Process(int(line)))
    # Compares start times too: a number that is somebody else's by now is no match.
    living = [process for process in processes if process.is_running()]
    if living:
        _close_terminals_in(folder)
    for process in reversed(living):
        with contextlib.suppress(psutil.Error):
            process.terminate()
    for process in psutil.wait_procs(living, STOP_SECONDS)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def _close_terminals_in(folder: Path) -> None:
    try:
        found = json.loads((folder / "data" / "endpoint.json").read_text())
        api = HttpApi(Server(found["url"], found["admin_key"]))
    except (OSError, ValueError, KeyError, TypeError):
        return
    close_terminals(api)


if __name__ == "__main__":
    guard(Path(sys.argv[1]))
