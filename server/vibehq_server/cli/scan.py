"""``vibehq scan``."""

import argparse
import time
from typing import Any
from urllib.parse import quote

from vibehq_nb.core.errors import VibeError
from vibehq_nb.core.severity import Severity
from vibehq_server.cli.output import plain, say, say_json, say_table
from vibehq_server.cli.remote import api_of

POLL_SECONDS = 0.3
_COLUMNS = ("severity", "title", "resource", "host", "rule", "count", "id")


def scan(arguments: argparse.Namespace) -> int:
    """Scan, wait, show; 1 if something is at least as bad as *--fail-on*."""
    body = {
        "scope": arguments.scope,
        "on": arguments.on or "*",
        "kinds": arguments.kinds,
        "logs": arguments.log or [],
    }
    api = api_of(arguments)
    scan_id = api.request("POST", "/api/ops/scan", body)["scan_id"]
    result = _wait(api, scan_id, arguments.timeout)
    if arguments.json:
        say_json(result)
    else:
        _show(result)
    if result["status"] != "completed":
        return 1
    return int(_is_bad(result["findings"], arguments.fail_on))


def _wait(api: Any, scan_id: str, seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        path = f"/api/ops/scans/{quote(scan_id, safe='')}"
        result: dict[str, Any] = api.request("GET", path)
        if result.get("status") not in {"running", "pending", None}:
            return result
        time.sleep(POLL_SECONDS)
    raise VibeError(f"scan {scan_id} did not end within {seconds:g} s; it goes on")


def _show(result: dict[str, Any]) -> None:
    if result["status"] != "completed":
        say(f"The scan failed: {plain(result.get('message') or result.get('code'))}")
        return
    findings = sorted(
        result["findings"], key=lambda f: Severity(f["severity"]).rank, reverse=True
    )
    say_table(findings, _COLUMNS)
    say(f"{len(findings)} findings, {result['processed_logs']} log lines read.")


def _is_bad(findings: list[dict[str, Any]], threshold: str | None) -> bool:
    if threshold is None:
        return False
    least = Severity(threshold).rank
    return any(Severity(f["severity"]).rank >= least for f in findings)
