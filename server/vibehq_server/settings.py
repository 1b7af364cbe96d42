"""The values fixed at start: from arguments, then the environment, then defaults."""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vibehq_nb.core.errors import UsageError, VibeError
from vibehq_server.auth.origins import decode_allowed_host, decode_allowed_origin

DEFAULT_PORT = 8900
ENVIRONMENT_PREFIX = "VIBEHQ_SERVE_"
ENVIRONMENT = {
    f"{ENVIRONMENT_PREFIX}{name}"
    for name in (
        "HOST",
        "PORT",
        "ALLOWED_HOSTS",
        "ORIGINS",
        "BEHIND_PROXY",
        "TLS_CERT",
        "TLS_KEY",
        "ROOMS",
        "WITH_WORKER",
        "LOG_FORMAT",
        "KEEP_DAYS",
        "KEEP_BYTES",
        "KEEP_ENTRIES",
        "RECORD",
        "KEEP_RECORDINGS",
        "RECORDINGS_BYTES",
    )
}
LOG_FORMATS = ("text", "json")
RECORD = ("never", "always")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

Mode = Literal["embedded", "standalone"]


class StartError(VibeError):
    """
    The server refuses to start.

    Attributes:
        exit_code: 2 for a setting that cannot work, 3 for a folder in use, 4 for a
            room log that another version or program wrote.
    """

    def __init__(self, text: str, exit_code: int = 2) -> None:
        """Say why in one line."""
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Settings:
    """
    How one server runs.

    Attributes:
        data: The folder that holds everything durable.
        host: The address to listen on.
        port: 0 lets the system choose.
        allowed_hosts: Further names this server answers to, exact.
        origins: Further pages that may use it, exact, as ``https://hq.example.com``.
        behind_proxy: A proxy in front ends TLS; its X-Forwarded headers are trusted.
        tls_cert: Certificate chain, PEM; with *tls_key* the server ends TLS itself.
        tls_key: Its private key, PEM.
        rooms: ``module:NAME`` of a mapping from party to further room classes.
        with_worker: Start a worker on this host, too.
        log_format: ``text`` for people or ``json``, an object a line, for programs.
        keep_days: How old a room's entries get, if the room is not audited.
        keep_bytes: How many bytes of entries such a room keeps.
        keep_entries: How many entries such a room keeps; None for any number.
        record: Whether terminals are recorded: ``never`` without being asked to, or
            ``always``.
        keep_recordings: How many days a recording that is not pinned is kept.
        recordings_bytes: How many bytes all recordings take.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    behind_proxy: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    rooms: str | None = None
    with_worker: bool = False
    log_format: str = "text"
    keep_days: int = 180
    keep_bytes: int = 2 * 1024**3
    keep_entries: int | None = None
    record: str = "never"
    keep_recordings: int = 30
    recordings_bytes: int = 10 * 1024**3

    def check(self) -> None:
        """
        Refuse what would be unsafe or cannot work.

        Raises:
            UsageError: One line that says what to change.
        """
        if not 0 <= self.port <= 65535:
            raise UsageError("--port is a number from 0 to 65535")
        if self.log_format not in LOG_FORMATS:
            raise UsageError(f"--log-format is {' or '.join(LOG_FORMATS)}")
        if self.record not in RECORD:
            raise UsageError(f"--record is {' or '.join(RECORD)}")
        for name in self.allowed_hosts:
            decode_allowed_host(name)
        for origin in self.origins:
            decode_allowed_origin(origin)
        self._check_tls()
        if self.host not in LOOPBACK and not (self.is_secure or self.behind_proxy):
            raise UsageError(
                f"--host {self.host} is reachable from outside without TLS: give "
                "--tls-cert and --tls-key, or --behind-proxy if a proxy ends TLS"
            )

    def _check_tls(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("--tls-cert and --tls-key belong together: give both")
        for path in (self.tls_cert, self.tls_key):
            if path is not None and not path.is_file():
                raise UsageError(f"{path} is not a file")
        if self.tls_key is not None and self.tls_key.stat().st_mode & 0o077:
            raise UsageError(f"{self.tls_key} is readable by others: chmod 600 it")

    @property
    def is_secure(self) -> bool:
        """Whether this server ends TLS itself."""
        return self.tls_cert is not None

    @property
    def is_https(self) -> bool:
        """Whether browsers reach it over https."""
        return self.is_secure or self.behind_proxy


_KEEP = {
    "keep_days": (1, 36_500, "days, from 1 to 36500"),
    "keep_entries": (1, 10**12, "entries, at least 1"),
    "keep_bytes": (2**20, 2**60, "bytes, at least 1MiB, as 500MiB or 2GiB"),
    "keep_recordings": (1, 36_500, "days, from 1 to 36500"),
    "recordings_bytes": (2**20, 2**60, "bytes, at least 1MiB, as 500MiB or 2GiB"),
}
KEPT = tuple(_KEEP)
"""The settings that say how much is kept."""

_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def decode_keep(name: str, field: str, text: str) -> int:
    """
    Return how much is kept, as *text* says.

    Args:
        name: What the user calls it, for the error.
        field: The setting, one of those that say how much is kept.
        text: A number; of bytes also with a unit.

    Raises:
        UsageError: If it is no such number.
    """
    least, most, meaning = _KEEP[field]
    units = "|".join(_UNITS) if field.endswith("_bytes") else ""
    found = re.fullmatch(f"([0-9]{{1,18}})({units})?", text)
    value = int(found[1]) * _UNITS.get(found[2], 1) if found else 0
    if not least <= value <= most:
        raise UsageError(f"{name} is a number of {meaning}")
    return value


def default_data(mode: Mode, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the data folder of *mode*: ``$VIBEHQ_DATA``, else under the XDG home."""
    if chosen := environ.get("VIBEHQ_DATA"):
        return Path(chosen)
    home = environ.get("XDG_DATA_HOME")
    base = Path(home) if home else Path.home() / ".local" / "share"
    return base / "vibehq" / ("embedded" if mode == "embedded" else "server")


def nearest(wrong: str, known: set[str] | frozenset[str]) -> str:
    """Return `` Did you mean X?`` for the known name nearest to *wrong*, or nothing."""
    found = difflib.get_close_matches(wrong, sorted(known), 1, 0.5)
    return f" Did you mean {found[0]}?" if found else ""


def settings_from_environment(
    environ: Mapping[str, str] = os.environ,
) -> dict[str, object]:
    """
    Return the settings that ``VIBEHQ_SERVE_*`` variables give, by field name.

    Raises:
        UsageError: If a variable is unknown or has no such value.
    """
    values: dict[str, object] = {}
    for name, text in environ.items():
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        if name not in ENVIRONMENT:
            raise UsageError(
                f"{name} is no setting.{nearest(name, frozenset(ENVIRONMENT))}"
            )
        field = name.removeprefix(ENVIRONMENT_PREFIX).lower()
        values[field] = _decode_value(name, field, text)
    return values


def _decode_value(name: str, field: str, text: str) -> object:
    match field:
        case "port":
            if not (text.isascii() and text.isdigit()):
                raise UsageError(f"{name} is a number from 0 to 65535")
            return int(text[:6])
        case "allowed_hosts" | "origins":
            return tuple(part.strip() for part in text.split(",") if part.strip())
        case _ if field in _KEEP:
            return decode_keep(name, field, text)
        case "behind_proxy" | "with_worker":
            if text not in {"0", "1", "true", "false"}:
                raise UsageError(f"{name} is 1 or 0")
            return text in {"1", "true"}
        case "tls_cert" | "tls_key":
            return Path(text)
    return text
