"""``vibehq worker``: run it, invite one, list them, stop one."""

import argparse
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vibehq_nb.core.errors import UsageError, VibeError
from vibehq_server.cli.output import complain, say, say_json, say_table
from vibehq_server.cli.remote import api_of, data_folder, owner_api_of
from vibehq_server.settings import default_data, nearest

_COLUMNS = ("id", "host", "online", "version", "providers", "terminals")


def run(arguments: argparse.Namespace) -> int:
    """Run the worker in this process, by default for the server of this host."""
    from vibehq_nb.worker import main

    data = arguments.data
    if data is None and arguments.url is None:
        data = str(default_data("standalone"))
    options = {
        "--data": data,
        "--id": arguments.id,
        "--url": arguments.url,
        "--max-terminals": arguments.max_terminals,
        "--cull-idle": arguments.cull_idle,
    }
    return main([word for pair in options.items() if pair[1] for word in pair])


def invite(arguments: argparse.Namespace) -> int:
    """Print the one line to paste on the worker's host."""
    api = owner_api_of(arguments)
    asked = {"worker": arguments.name}
    made: dict[str, Any] = api.request("POST", "/api/workers/invites", asked)
    if arguments.json:
        say_json(made)
        return 0
    url = api.server.url
    if api.server.is_loopback:
        url = made["url"] or url
    complain("paste this on its host within 10 minutes; it works once:")
    if url == api.server.url and api.server.is_loopback:
        complain(
            "(this server is reached on this host alone; for another host put the "
            "address it has there)"
        )
    name = shlex.quote(arguments.name)
    token = made["token"]
    say(f"VIBEHQ_JOIN={token} vibehq worker --id {name} --url {shlex.quote(url)}")
    return 0


def list_(arguments: argparse.Namespace) -> int:
    """List the workers that said hello to the server."""
    workers = api_of(arguments).request("GET", "/api/workers")["workers"]
    if arguments.json:
        say_json(workers)
        return 0
    for one in workers:
        one["online"] = "yes" if one["online"] else "no"
    say_table(workers, _COLUMNS)
    return 0


def stop(arguments: argparse.Namespace) -> int:
    """End a worker and its terminals, having said what still runs."""
    try:
        if arguments.name:
            ended = _stop_by_server(arguments)
        else:
            from vibehq_nb.worker.local_control import ask_to_stop

            ended = ask_to_stop(_folder_here(arguments), arguments.force)
    except VibeError as error:
        if getattr(error, "code", "") != "still-running":
            raise
        raise VibeError(f"{error} --force ends that, too.") from None
    if arguments.json:
        say_json(ended)
        return 0
    terminals = ", ".join(ended["terminals"]) or "no terminal"
    say(f"The worker stops; with it: {terminals}.")
    return 0


def _stop_by_server(arguments: argparse.Namespace) -> dict[str, Any]:
    api = api_of(arguments)
    workers = api.request("GET", "/api/workers")["workers"]
    known = frozenset(str(one["id"]) for one in workers)
    if arguments.name not in known:
        there = f" There: {', '.join(sorted(known))}." if known else " There is none."
        hint = nearest(arguments.name, known) or there
        raise VibeError(f"There is no worker {arguments.name!r}.{hint}")
    path = f"/api/workers/{quote(arguments.name, safe='')}/stop"
    ended: dict[str, Any] = api.request("POST", path, {"force": arguments.force})
    return ended


def _folder_here(arguments: argparse.Namespace) -> Path:
    from vibehq_nb.worker.folder import is_held
    from vibehq_nb.worker.join import workers_folder

    if arguments.data:
        return Path(arguments.data)
    joined = workers_folder()
    folders: list[Path] = [
        data_folder(arguments),
        *(joined.iterdir() if joined.is_dir() else ()),
    ]
    running = [folder for folder in folders if is_held(folder)]
    if not running:
        raise UsageError("no worker runs on this host; name its folder: --data DIR")
    if len(running) > 1:
        several = " or ".join(f"--data {shlex.quote(str(one))}" for one in running)
        raise UsageError(f"several workers run on this host; say which: {several}")
    return running[0]
