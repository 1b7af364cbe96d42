"""``vibehq terminal``."""

import argparse
from urllib.parse import quote

from vibehq_server.cli.output import say, say_json, say_table
from vibehq_server.cli.remote import api_of, find

_COLUMNS = ("id", "worker", "state", "target", "cols", "rows", "viewers", "writer")


def list_(arguments: argparse.Namespace) -> int:
    """List terminals."""
    terminals = api_of(arguments).request("GET", "/api/terminals")["terminals"]
    if arguments.json:
        say_json(terminals)
    else:
        say_table(terminals, _COLUMNS)
    return 0


def open_(arguments: argparse.Namespace) -> int:
    """Open a terminal and print its id."""
    body = {"target": arguments.target}
    for name in ("name", "worker"):
        if getattr(arguments, name):
            body[name] = getattr(arguments, name)
    opened = api_of(arguments).request("POST", "/api/terminals", body)
    if arguments.json:
        say_json(opened)
    else:
        say(opened["id"])
    return 0


def close(arguments: argparse.Namespace) -> int:
    """End a terminal."""
    path = f"/api/terminals/{quote(arguments.id, safe=':@')}"
    closed = api_of(arguments).request("DELETE", path)
    if arguments.json:
        say_json(closed)
    else:
        say(f"{closed['id']} is closed.")
    return 0


def attach(arguments: argparse.Namespace) -> int:
    """Type into a terminal from this one."""
    from vibehq_server.cli.attach import attach_here

    return attach_here(find(arguments), arguments.id)
