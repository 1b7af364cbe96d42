"""Host and Origin, judged by membership in lists; no patterns anywhere."""

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

from vibehq_nb.core.errors import UsageError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]")


class Host(NamedTuple):
    """A host as a browser addresses it; the port is None where none was given."""

    name: str
    port: int | None


class Origin(NamedTuple):
    """Where a page comes from."""

    scheme: str
    name: str
    port: int


def decode_host(text: str) -> Host | None:
    """Return the host in a ``Host`` header, or None if it is not one."""
    name, port = _split_port(text.lower())
    if name is None or not _NAME.fullmatch(name):
        return None
    return Host(name, port)


def decode_origin(text: str) -> Origin | None:
    """Return the origin in an ``Origin`` header, or None if it is not one."""
    scheme, separator, rest = text.lower().partition("://")
    host = decode_host(rest)
    if not separator or scheme not in _DEFAULT_PORTS or host is None:
        return None
    return Origin(scheme, host.name, host.port or _DEFAULT_PORTS[scheme])


def _split_port(text: str) -> tuple[str | None, int | None]:
    name, port = text, ""
    if not text.endswith("]") and ":" in text:
        name, _, port = text.rpartition(":")
        if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
            return None, None
    return name, int(port) if port else None


@dataclass(frozen=True, slots=True)
class AllowList:
    """
    The names a server answers to and the pages it listens to.

    Attributes:
        hosts: Accepted ``Host`` values. A port of None accepts every port, for names
            that a proxy in front gives.
        origins: Accepted ``Origin`` values, exact.
    """

    hosts: frozenset[Host]
    origins: frozenset[Origin]

    @classmethod
    def of_server(
        cls,
        host: str,
        port: int,
        scheme: str,
        allowed_hosts: tuple[str, ...] = (),
        origins: tuple[str, ...] = (),
        *,
        is_behind_proxy: bool = False,
    ) -> Self:
        """
        Return the lists of a server bound to *host* and *port*.

        Behind a proxy that ends TLS, pages of an allowed host come over https.

        Raises:
            UsageError: If a name or an origin is not an exact one.
        """
        names = {"127.0.0.1", "localhost", "[::1]"}
        if host not in {"", "0.0.0.0", "::"}:
            names.add(f"[{host}]" if ":" in host else host.lower())
        hosts = {Host(name, port) for name in names}
        hosts |= {decode_allowed_host(name) for name in allowed_hosts}
        pages = {Origin(scheme, name, port) for name in names}
        for name in allowed_hosts:
            allowed = decode_allowed_host(name)
            if is_behind_proxy:
                pages.add(Origin("https", allowed.name, allowed.port or 443))
            else:
                pages.add(Origin(scheme, allowed.name, allowed.port or port))
        for text in origins:
            origin = decode_allowed_origin(text)
            pages.add(origin)
        if port in _DEFAULT_PORTS.values():
            hosts |= {Host(name, None) for name in names}
        return cls(frozenset(hosts), frozenset(pages))

    def has_host(self, text: str) -> bool:
        """Tell whether *text* names this server."""
        host = decode_host(text)
        if host is None:
            return False
        return host in self.hosts or Host(host.name, None) in self.hosts

    def has_origin(self, text: str) -> bool:
        """Tell whether a page of origin *text* may use this server."""
        return decode_origin(text) in self.origins


def decode_allowed_host(text: str) -> Host:
    """
    Return the host an option names.

    Raises:
        UsageError: If it is a pattern or no host.
    """
    host = decode_host(text)
    if host is None:
        raise UsageError(
            f"--allowed-host {text!r} is not an exact host name, such as hq.example.com"
        )
    return host


def decode_allowed_origin(text: str) -> Origin:
    """
    Return the origin an option names.

    Raises:
        UsageError: If it is a pattern or no origin.
    """
    origin = decode_origin(text)
    if origin is None:
        raise UsageError(
            f"--origin {text!r} is not an exact origin, such as https://hq.example.com"
        )
    return origin
