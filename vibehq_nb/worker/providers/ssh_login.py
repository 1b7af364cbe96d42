"""How a host is reached over SSH: the user's settings, jump hosts, known keys."""

import asyncio
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.providers.names import told

LOGIN_SECONDS = 15.0
"""For each host on the way."""
KEEPALIVE_SECONDS = 15
"""After three without an answer the host counts as gone."""
MOST_HOPS = 8

NEEDS_LIBRARY = 'SSH needs a library. Run: pip install "vibehq-nb[ssh]".'


class Login:
    """
    One way to one host.

    Settings are those of ``~/.ssh/config``. A host whose key is not known is refused,
    whatever they say.
    """

    def __init__(self, worker: str) -> None:
        """Connect on behalf of *worker*."""
        self._worker = worker
        self.connections: list[Any] = []
        """Those that are up, the last one to the host itself."""

    async def connect(self, host: str, user: str | None = None) -> Any:
        """
        Return a connection of asyncssh to *host*, over jump hosts where that is set.

        Raises:
            DeniedError: With one sentence that says why there is none.
        """
        try:
            return await self._connect(host, user, None, None)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop every connection, the last one first."""
        for connection in reversed(self.connections):
            connection.close()

    def abort(self) -> None:
        """Drop every connection without a word to the other side."""
        for connection in reversed(self.connections):
            connection.abort()

    async def wait_closed(self) -> None:
        """Wait until every connection is closed."""
        for connection in reversed(self.connections):
            await connection.wait_closed()

    async def _connect(
        self, host: str, user: str | None, port: int | None, tunnel: Any
    ) -> Any:
        import asyncssh

        with self._explaining(host):
            async with asyncio.timeout(LOGIN_SECONDS * MOST_HOPS):
                options = self._options(host, user, port)
                jumps = options.tunnel if isinstance(options.tunnel, str) else ""
                if tunnel is None and jumps:
                    tunnel = await self._jump(host, jumps)
                connection = await asyncssh.connect(
                    host, options=options, tunnel=tunnel, connect_timeout=LOGIN_SECONDS
                )
        self.connections.append(connection)
        return connection

    async def _jump(self, host: str, jumps: str) -> Any:
        """Return the connection to the last of *jumps*, as ``ProxyJump`` lists them."""
        tunnel = None
        for jump in jumps.split(","):
            found = re.fullmatch(r"(?:(.+)@)?(.+?)(?::(\d+))?", jump.strip())
            if found is None or found[2] == host:  # as for "Host *"
                continue
            if len(self.connections) >= MOST_HOPS:
                sentence = f"Over {MOST_HOPS} jump hosts lead to {host}."
                raise DeniedError("no-host", sentence)
            port = int(found[3]) if found[3] else None
            tunnel = await self._connect(found[2], found[1], port, tunnel)
        return tunnel

    def _options(self, host: str, user: str | None, port: int | None) -> Any:
        import asyncssh

        given: dict[str, Any] = {"host": host}
        if user is not None:
            given["username"] = user
        if port is not None:
            given["port"] = port
        options = asyncssh.SSHClientConnectionOptions(**given)
        # "UserKnownHostsFile none" would switch every check off.
        given["known_hosts"] = _known_hosts(options.known_hosts)
        if not options.keepalive_interval:
            given["keepalive_interval"] = KEEPALIVE_SECONDS
        return asyncssh.SSHClientConnectionOptions(**given)

    @contextmanager
    def _explaining(self, host: str) -> Iterator[None]:
        """Turn what can go wrong on the way to *host* into a sentence."""
        import asyncssh

        try:
            yield
        except asyncssh.HostKeyNotVerifiable:
            raise DeniedError("unknown-host-key", _unknown(host)) from None
        except asyncssh.KeyExchangeFailed:
            sentence = (
                f"Host {host} and this worker have no cipher in common, or the key of "
                "that host has another type than the one in known_hosts."
            )
            raise DeniedError("no-host", sentence) from None
        except asyncssh.PermissionDenied:
            sentence = (
                f"Host {host} takes none of our keys. Put one into its "
                "authorized_keys, or name it in ~/.ssh/config (IdentityFile, User)."
            )
            raise DeniedError("no-login", sentence) from None
        except (asyncssh.ConfigParseError, asyncssh.KeyImportError, ValueError):
            sentence = "~/.ssh/config, or a key that it names, cannot be read."
            raise DeniedError("no-login", sentence) from None
        except socket.gaierror:
            sentence = (
                f'No host "{host}" for worker {self._worker}. '
                f"In ~/.ssh/config: {told(host, configured_hosts())}."
            )
            raise DeniedError("no-host", sentence) from None
        except (TimeoutError, asyncssh.Error, OSError) as error:
            sentence = f"Host {host} cannot be reached: {_reason(error)}."
            raise DeniedError("no-host", sentence) from None


def _known_hosts(configured: Any) -> list[str] | bytes:
    """Return the files that hold known keys; nothing at all is known without any."""
    home = Path.home() / ".ssh"
    usual = [f"{home}/known_hosts", f"{home}/known_hosts2", "/etc/ssh/ssh_known_hosts"]
    files = [Path(name).expanduser() for name in configured or usual]
    there = [str(path) for path in files if os.access(path, os.R_OK)]
    return there or b""


def _unknown(host: str) -> str:
    return (
        f"The key of host {host} is not the one in known_hosts, or none is there. "
        f"Look at it, and log in once with: ssh {host}"
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "it closes the connection"


def configured_hosts() -> list[str]:
    """Return the names in the user's settings, without patterns."""
    try:
        text = (Path.home() / ".ssh" / "config").read_text(errors="replace")
    except OSError:
        return []
    lines = re.findall(r"^\s*Host(?:\s*=\s*|\s+)(.+)$", text, re.MULTILINE | re.I)
    names = [name for line in lines for name in line.split()]
    return [name for name in names if not re.search(r"[*?!\"]", name)]
