"""``vibehq room``."""

import argparse

from vibehq_server.cli.output import say_json, say_table
from vibehq_server.cli.remote import api_of


def list_(arguments: argparse.Namespace) -> int:
    """List live rooms."""
    rooms = api_of(arguments).request("GET", "/api/rooms")["rooms"]
    if arguments.json:
        say_json(rooms)
    else:
        say_table(rooms, ("party", "room", "connections", "offset"))
    return 0
