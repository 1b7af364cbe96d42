"""``vibehq login`` and ``vibehq login-link``."""

import argparse
import getpass
import json
import os
import sys
from pathlib import Path
from typing import Any

from vibehq_nb.core.errors import UsageError
from vibehq_server.auth.secrets import GRANT_PREFIX
from vibehq_server.cli.output import say, say_json
from vibehq_server.cli.remote import owner_api_of


def login(arguments: argparse.Namespace) -> int:
    """Take a token from the prompt or standard input, try it, keep it."""
    from vibehq_nb.client.discovery import credentials_file
    from vibehq_nb.client.http import HttpApi, Server, normal_url

    url = normal_url(arguments.url)
    token = _ask_token()
    me = HttpApi(Server(url, token)).request("GET", "/api/me")
    path = credentials_file(os.environ)
    _keep(path, url, token)
    roles = ", ".join(me["roles"])
    say(f"Signed in to {url} as {me['user']} ({roles}); kept in {path}.")
    return 0


def _ask_token() -> str:
    if sys.stdin.isatty():
        token = getpass.getpass("Access token (from vibehq grant create): ")
    else:
        token = sys.stdin.readline(1024)
    token = token.strip()
    if not token.startswith(GRANT_PREFIX):
        raise UsageError(f"that is no access token; one begins with {GRANT_PREFIX}")
    return token


def _keep(path: Path, url: str, token: str) -> None:
    try:
        kept: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        kept = {}
    servers = kept.setdefault("servers", {})
    servers[url] = {"token": token}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".credentials.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(kept, file, indent=2)
    draft.replace(path)


def login_link(arguments: argparse.Namespace) -> int:
    """Print a one-time sign-in link."""
    api = owner_api_of(arguments)
    link = api.request("POST", "/api/login-links", {})
    address = f"{api.server.url}{link['path']}"
    if arguments.json:
        say_json({"url": address, "expires_in": link["expires_in"]})
    else:
        say(address)
    return 0
