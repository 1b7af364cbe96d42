"""``vibehq grant``."""

import argparse
import re
from datetime import UTC, datetime

from vibehq_nb.core.errors import UsageError
from vibehq_server.cli.output import complain, say, say_json, say_table
from vibehq_server.cli.remote import owner_api_of

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TTL = re.compile(r"(\d{1,7})([smhd])")


def decode_ttl(text: str) -> float:
    """
    Return seconds for ``30m``, ``8h``, ``7d``.

    Raises:
        UsageError: If it is no such text.
    """
    found = _TTL.fullmatch(text)
    if not found:
        raise UsageError(f"--ttl {text!r} is no duration, such as 30m, 8h or 7d")
    seconds = float(found.group(1)) * _SECONDS[found.group(2)]
    if seconds < 1:
        raise UsageError(f"--ttl {text!r} would be over at once; give 1s or more")
    return seconds


def create(arguments: argparse.Namespace) -> int:
    """Give a grant; the token goes to standard output alone, for a pipe."""
    user = _user_of(arguments)
    body = {
        "user": user,
        "roles": sorted(set(arguments.role)),
        "rooms": arguments.room or ["*"],
        "ttl_seconds": decode_ttl(arguments.ttl),
    }
    grant = owner_api_of(arguments).request("POST", "/api/grants", body)
    if arguments.json:
        say_json(grant)
        return 0
    until = datetime.fromtimestamp(grant["expires_at"], UTC)
    complain(
        f"{grant['id']} for {user} until {until:%Y-%m-%d %H:%M} UTC. "
        "The token is shown this once:"
    )
    say(grant["token"])
    return 0


def _user_of(arguments: argparse.Namespace) -> str:
    given = {name for name in (arguments.name, arguments.user) if name}
    if len(given) != 1:
        raise UsageError("say whom it is for, once: --user NAME")
    return str(given.pop())


def list_(arguments: argparse.Namespace) -> int:
    """List live grants, or all there ever were."""
    path = "/api/grants?all=1" if arguments.all else "/api/grants"
    grants = owner_api_of(arguments).request("GET", path)["grants"]
    if arguments.json:
        say_json(grants)
        return 0
    for grant in grants:
        until = datetime.fromtimestamp(grant["expires_at"], UTC)
        grant["until"] = f"{until:%Y-%m-%d %H:%M} UTC"
    say_table(grants, ("id", "user", "roles", "rooms", "status", "until", "created_by"))
    return 0


def revoke(arguments: argparse.Namespace) -> int:
    """Take a grant back."""
    from urllib.parse import quote

    path = f"/api/grants/{quote(arguments.id, safe='')}"
    done = owner_api_of(arguments).request("DELETE", path)
    if arguments.json:
        say_json(done)
    else:
        say(f"{done['id']} is revoked; {done['closed']} open connections were closed.")
    return 0
