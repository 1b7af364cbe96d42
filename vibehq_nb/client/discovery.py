"""
Which server a notebook belongs to, looked for in a fixed order.

1. the address given to ``connect``; 2. ``VIBEHQ_URL`` and ``VIBEHQ_TOKEN``; 3. the
Jupyter server that started this very kernel, known by its process id; 4. the
JupyterHub environment. A server of somebody else that happens to run is never taken.
"""

import json
import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vibehq_nb.client.errors import NoServerError
from vibehq_nb.client.http import Server, normal_url

EXAMPLE_URL = "https://hq.example.org"


def find_server(
    url: str | None = None, environment: Mapping[str, str] | None = None
) -> Server:
    """
    Return the server to connect to; nothing is dialled.

    Args:
        url: The address, if the caller knows it.
        environment: Instead of the process's own, for tests.

    Raises:
        NoServerError: If there is none; its text names what was looked at.
        UsageError: If an address is none.
    """
    env = os.environ if environment is None else environment
    given = url or env.get("VIBEHQ_URL")
    if given:
        return _at(normal_url(given), env)
    found = _of_jupyter(env) or _of_hub(env)
    if found is None:
        raise NoServerError(_advice(env))
    return found


def _at(url: str, env: Mapping[str, str]) -> Server:
    token = env.get("VIBEHQ_TOKEN", "")
    meant_for = env.get("VIBEHQ_URL")
    # A token set beside one address is never sent to another one.
    if token and (not meant_for or normal_url(meant_for) == url):
        return Server(url, token)
    jupyter = _of_jupyter(env)
    if jupyter and url in (jupyter.url, jupyter.url.removesuffix("/vibehq")):
        return jupyter
    return Server(url, stored_token(url, env))


def credentials_file(env: Mapping[str, str]) -> Path:
    """Return where ``vibehq login`` keeps what it was given."""
    base = env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "~")).expanduser()
    folder = Path(base) if env.get("XDG_CONFIG_HOME") else Path(base) / ".config"
    return folder / "vibehq" / "credentials.json"


def stored_token(url: str, env: Mapping[str, str] | None = None) -> str:
    """Return the token ``vibehq login`` stored for *url*; empty if there is none."""
    stored = _read_json(credentials_file(os.environ if env is None else env))
    servers = stored.get("servers", stored)
    entry = servers.get(url) or servers.get(f"{url}/") if servers else None
    if isinstance(entry, str):
        return entry
    return str(entry.get("token", "")) if isinstance(entry, dict) else ""


def _of_jupyter(env: Mapping[str, str]) -> Server | None:
    parent = env.get("JPY_PARENT_PID", "")
    if not parent.isdigit():
        return None
    for info in running_jupyter_servers(env):
        if info.get("pid") == int(parent):
            return _jupyter_server(str(info.get("url")), str(info.get("token") or ""))
    return None


def _jupyter_server(url: str, token: str) -> Server:
    return Server(f"{normal_url(url)}/vibehq", token, "token")


def running_jupyter_servers(env: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    """Return what each running Jupyter server of this user wrote about itself."""
    folder = env.get("JUPYTER_RUNTIME_DIR") or _jupyter_runtime_dir()
    if not folder or not Path(folder).is_dir():
        return []
    return [_read_json(path) for path in sorted(Path(folder).glob("jpserver-*.json"))]


def _jupyter_runtime_dir() -> str:
    try:
        from jupyter_core.paths import jupyter_runtime_dir
    except ImportError:
        return ""
    return str(jupyter_runtime_dir())


def _of_hub(env: Mapping[str, str]) -> Server | None:
    token = env.get("JUPYTERHUB_API_TOKEN")
    prefix = env.get("JUPYTERHUB_SERVICE_PREFIX")
    if not token or not prefix:
        return None
    service = urlsplit(env.get("JUPYTERHUB_SERVICE_URL", ""))
    if service.scheme not in ("http", "https") or not service.hostname:
        return None
    # The single-user server listens on every interface; its own kernel is beside it.
    host = service.hostname
    if host in ("0.0.0.0", "::", ""):
        host = "127.0.0.1"
    port = f":{service.port}" if service.port else ""
    return _jupyter_server(f"{service.scheme}://{host}{port}{prefix}", token)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _advice(env: Mapping[str, str]) -> str:
    parent = env.get("JPY_PARENT_PID", "")
    looked = (
        f"Looked at the Jupyter server that started this kernel (pid {parent}): it is "
        "not among the running ones of this user."
        if parent
        else "This is no kernel of a Jupyter server (JPY_PARENT_PID is not set)."
    )
    return (
        f"No VibeHQ server found. {looked} One of these helps:\n"
        f"  - in Jupyter's environment: {install_command(parent)}, then restart "
        "Jupyter\n"
        "  - start one: vibehq serve, then set VIBEHQ_URL and VIBEHQ_TOKEN\n"
        f'  - name one: vibehq_nb.connect("{EXAMPLE_URL}")'
    )


def install_command(jupyter_pid: str = "") -> str:
    """Return the pip command for the environment that the Jupyter process runs in."""
    python = _python_of(jupyter_pid) or sys.executable or "python3"
    return f'{shlex.quote(python)} -m pip install "vibehq-nb[lab]"'


def _python_of(pid: str) -> str:
    if not pid.isdigit():
        return ""
    import psutil

    try:
        command: list[str] = psutil.Process(int(pid)).cmdline()
    except (psutil.Error, OSError):
        return ""
    # The interpreter as it was called: resolving it would leave its environment.
    first = command[0] if command else ""
    return first if "python" in Path(first).name and Path(first).is_absolute() else ""
