"""``vibehq approval``."""

import argparse
import json
import secrets
import sys
from typing import Any
from urllib.parse import quote, urlencode

from vibehq_nb.core.errors import UsageError
from vibehq_server.cli.output import plain, say, say_json, say_table
from vibehq_server.cli.remote import api_of

_COLUMNS = ("approval_id", "status", "risk", "question", "requested_by", "expires_at")

ID_CHARS = 32
LEAST_CHARS = 6
PAGE = 1000


def list_(arguments: argparse.Namespace) -> int:
    """List requests, those that wait first."""
    api, limit = api_of(arguments), arguments.limit
    found = _page(api, limit, status=arguments.status or "pending")
    if not arguments.status:
        page = _page(api, limit)
        ended = [one for one in page["requests"] if one["status"] != "pending"]
        waiting = found["requests"]
        found = {**page, "requests": [*waiting, *ended][:limit]}
    if arguments.json:
        say_json(found)
    else:
        say_table(found["requests"], _COLUMNS)
    return 0


def _page(api: Any, limit: int, **query: str) -> dict[str, Any]:
    words = urlencode({"limit": str(limit), **query})
    found: dict[str, Any] = api.request("GET", f"/api/hil/requests?{words}")
    return found


def full_id(api: Any, given: str) -> str:
    """
    Return the id of the one request that *given* begins; *given* if there is none.

    Raises:
        UsageError: If it begins several, or is too short to mean one.
    """
    if len(given) >= ID_CHARS:
        return given
    if len(given) < LEAST_CHARS:
        raise UsageError(f"{given!r} is too short: {LEAST_CHARS} characters or more")
    matches: list[str] = []
    seen = 0
    while True:
        found = _page(api, PAGE, offset=str(seen))
        ids = [str(one["approval_id"]) for one in found["requests"]]
        matches += [one for one in ids if one.startswith(given)]
        seen += len(ids)
        if not ids or seen >= found["total"]:
            break
    if len(set(matches)) > 1:
        raise UsageError(f"{given!r} begins several: {', '.join(matches[:5])}")
    return matches[0] if matches else given


def _path(approval_id: str, rest: str = "") -> str:
    return f"/api/hil/requests/{quote(approval_id, safe='')}{rest}"


def show(arguments: argparse.Namespace) -> int:
    """Show one request."""
    api = api_of(arguments)
    request = api.request("GET", _path(full_id(api, arguments.id)))
    if arguments.json:
        say_json(request)
    else:
        _say_request(request)
    return 0


def _say_request(request: dict[str, Any]) -> None:
    for name in ("approval_id", "status", "risk", "requested_by", "expires_at"):
        say(f"{name:>13}  {plain(request[name])}")
    say(f"{'question':>13}  {plain(request['question'], 2000)}")
    if request.get("reason"):
        say(f"{'reason':>13}  {plain(request['reason'], 4096)}")
    say(f"{'action':>13}  sha256 {request['action_digest']}")
    for line in json.dumps(request["action"], indent=2, sort_keys=True).splitlines():
        say(f"{'':>13}  {plain(line, 4096)}")
    for decision in request.get("decisions", ()):
        by, verdict = decision.get("decided_by"), decision.get("verdict")
        say(f"{'decision':>13}  {plain(verdict)} by {plain(by)}")


def approve(arguments: argparse.Namespace) -> int:
    """Approve exactly what is shown."""
    return _decide(arguments, "approve")


def reject(arguments: argparse.Namespace) -> int:
    """Reject."""
    return _decide(arguments, "reject")


def _decide(arguments: argparse.Namespace, verdict: str) -> int:
    api = api_of(arguments)
    request = api.request("GET", _path(full_id(api, arguments.id)))
    approval_id = str(request["approval_id"])
    if not arguments.yes:
        _say_request(request)
        if not _is_confirmed(verdict):
            say("Nothing was decided.")
            return 1
    body = {
        "version": request["version"],
        "verdict": verdict,
        "action_digest": request["action_digest"],
        "key": secrets.token_hex(16),
        "reason": arguments.reason,
    }
    decision = api.request("POST", _path(approval_id, "/response"), body)
    if arguments.json:
        say_json(decision)
    else:
        say(f"{plain(approval_id)}: {verdict} is stored; it is {decision['status']}.")
    return 0


def _is_confirmed(verdict: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("there is nobody to ask here; give --yes to decide unasked")
    return input(f"{verdict.capitalize()} exactly this? [y/N] ").strip() in {"y", "yes"}
