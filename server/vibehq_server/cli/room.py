"""``vibehq room``: what is live, one room in full, the entries of its log."""

import argparse
from typing import Any
from urllib.parse import quote

from vibehq_nb.core.errors import UsageError, VibeError
from vibehq_server.cli.output import plain, say, say_json, say_table
from vibehq_server.cli.remote import api_of
from vibehq_server.settings import nearest

_CONNECTIONS = (
    "user",
    "roles",
    "id",
    "since",
    "path",
    "mode",
    "served",
    "pending_bytes",
)
_MISSING = frozenset({"not-found", "no-such-room", "no-such-party"})


def list_(arguments: argparse.Namespace) -> int:
    """List live rooms."""
    rooms = api_of(arguments).request("GET", "/api/rooms")["rooms"]
    if arguments.json:
        say_json(rooms)
    else:
        say_table(rooms, ("party", "room", "connections", "offset"))
    return 0


def inspect(arguments: argparse.Namespace) -> int:
    """Show one live room: its log, who is in it, how far each was served."""
    found = ask(api_of(arguments), arguments.room)
    if arguments.json:
        say_json(found)
        return 0
    say(f"{plain(found['party'])}/{plain(found['room'])}")
    for name in ("epoch", "offset", "oldest", "bytes"):
        if found[name] is not None:
            say(f"  {name:<7} {plain(found[name])}")
    count = found["connections"]
    say(f"\n{count} connection{'' if count == 1 else 's'}")
    say_table(found["open"], _CONNECTIONS)
    if found["last"]:
        say("\nlast entries")
        say_table(found["last"], ("offset", "at", "type", "bytes"))
    return 0


def tail(arguments: argparse.Namespace) -> int:
    """Print the entries of a room's log, and with *--follow* what comes."""
    from vibehq_server.cli.room_tail import tail_here

    return tail_here(arguments)


def split_room(text: str) -> tuple[str, str]:
    """
    Return party and room of ``PARTY/ROOM``.

    Raises:
        UsageError: If it is no such text.
    """
    party, _, room = text.partition("/")
    if not party or not room or "/" in room:
        raise UsageError(f"{text!r} is no room; say PARTY/ROOM, such as ops/main")
    return party, room


def ask(api: Any, name: str, rest: str = "") -> dict[str, Any]:
    """
    Return what the server tells of the room *name*.

    Raises:
        VibeError: With the nearest name that there is, where there is no such room.
    """
    from vibehq_nb.client.errors import ApiError

    party, room = split_room(name)
    path = f"/api/rooms/{quote(party, safe='')}/{quote(room, safe=':@%')}"
    try:
        found: dict[str, Any] = api.request("GET", path + rest)
    except ApiError as error:
        if error.code not in _MISSING:
            raise
        raise VibeError(_nothing(api, name)) from None
    return found


def _nothing(api: Any, name: str) -> str:
    rooms = api.request("GET", "/api/rooms")["rooms"]
    known = frozenset(f"{one['party']}/{one['room']}" for one in rooms)
    hint = nearest(name, known) or " All there are: vibehq room list."
    return f"No live room {name}.{hint}"
