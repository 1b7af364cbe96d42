"""``vibehq terminal``."""

import argparse
from urllib.parse import quote

from vibehq_nb.core.errors import VibeError
from vibehq_server.cli.keyboard import CtrlKey
from vibehq_server.cli.output import say, say_json, say_table
from vibehq_server.cli.remote import api_of, find
from vibehq_server.settings import nearest

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
    if arguments.attach:
        from vibehq_server.cli.attach import check_here

        check_here()  # what is wrong is told before anything is opened
        CtrlKey.named(arguments.detach_key)
    opened = api_of(arguments).request("POST", "/api/terminals", body)
    if arguments.attach:
        return _attach(arguments, opened["id"])
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
    terminals = api_of(arguments).request("GET", "/api/terminals")["terminals"]
    known = [one["id"] for one in terminals]
    if arguments.id not in known:
        hint = nearest(arguments.id, frozenset(known))
        there = f" There: {', '.join(known[:10])}." if known else " None is open."
        raise VibeError(f"There is no terminal {arguments.id!r}.{hint or there}")
    return _attach(arguments, arguments.id)


def _attach(arguments: argparse.Namespace, terminal: str) -> int:
    from vibehq_server.cli.attach import attach_here

    key = CtrlKey.named(arguments.detach_key)
    return attach_here(find(arguments), terminal, key, arguments.read_only)
