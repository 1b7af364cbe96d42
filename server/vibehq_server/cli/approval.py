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


def list_(arguments: argparse.Namespace) -> int:
    """List requests."""
    query = {"limit": str(arguments.limit)}
    if arguments.status:
        query["status"] = arguments.status
    found = api_of(arguments).request("GET", f"/api/hil/requests?{urlencode(query)}")
    if arguments.json:
        say_json(found)
    else:
        say_table(found["requests"], _COLUMNS)
    return 0


def _path(approval_id: str, rest: str = "") -> str:
    return f"/api/hil/requests/{quote(approval_id, safe='')}{rest}"


def show(arguments: argparse.Namespace) -> int:
    """Show one request."""
    request = api_of(arguments).request("GET", _path(arguments.id))
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
    request = api.request("GET", _path(arguments.id))
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
    decision = api.request("POST", _path(arguments.id, "/response"), body)
    if arguments.json:
        say_json(decision)
    else:
        say(f"{plain(arguments.id)}: {verdict} is stored; it is {decision['status']}.")
    return 0


def _is_confirmed(verdict: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("there is nobody to ask here; give --yes to decide unasked")
    return input(f"{verdict.capitalize()} exactly this? [y/N] ").strip() in {"y", "yes"}
