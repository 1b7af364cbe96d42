"""
The address of a room, as partysocket writes it.

``{protocol}://{host}/{prefix}/{party}/{room}[/{path}]?_pk=…&…``. Nothing here decodes:
a room's name is its percent-encoded segment. What a URL parser would read as another
address than it looks like is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, quote_plus

from vibehq_nb.core.errors import UsageError

QueryValue = str | int | bool | None
Query = Mapping[str, QueryValue]

_SCHEME = re.compile(r"(?:http|https|ws|wss)://")
_PLAIN_HOST = re.compile(
    r"localhost:|127\.0\.0\.1:|192\.168\.|10\.|172\.(?:1[6-9]|2[0-9]|3[01])\."
    r"|\[::ffff:7f00:1\]:"
)
_CUTS = re.compile(r"[\\?#\x00-\x1f\x7f]")
_DOTS = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)
_RAW_IN_PATH = "%!$&'()*+,/:;=@[]|"
"""What a URL parser leaves as it is in a path, besides letters, digits and ``-._~``."""


@dataclass(frozen=True, slots=True)
class PartyAddress:
    """
    Where a room is.

    Attributes:
        host: Name and port; a scheme before it and a slash after it are dropped.
        room: The room's name; what is no ASCII is encoded, a ``%`` stays.
        party: The kind of room, in kebab-case.
        base_path: In place of prefix, party and room.
        prefix: What comes before the party; may have several segments.
        path: What comes after the room; begins with no slash.
        protocol: ``ws`` or ``wss`` (or ``http``, ``https``); chosen by the host if
            empty: plain for private addresses only.

    Raises:
        UsageError: If a part cannot stand where it is meant to.
    """

    host: str = ""
    room: str = ""
    party: str = "main"
    base_path: str = ""
    prefix: str = "parties"
    path: str = ""
    protocol: Literal["", "ws", "wss", "http", "https"] = ""

    def __post_init__(self) -> None:
        """Refuse what would lead elsewhere."""
        if self.path.startswith("/"):
            raise UsageError("path must not start with a slash.")
        if self.protocol not in ("", "ws", "wss", "http", "https"):
            raise UsageError("protocol is ws or wss.")
        for name in ("room", "party"):
            if "/" in getattr(self, name):
                raise UsageError(f"{name} must not hold a slash: use path for more.")
        for name in ("host", "room", "party", "base_path", "prefix", "path"):
            _check(name, getattr(self, name))

    @property
    def is_complete(self) -> bool:
        """Whether there is something to connect to."""
        return bool(self.host and (self.room or self.base_path))

    def base_url(self, scheme: Literal["ws", "http"]) -> str:
        """Return the address without a query; *scheme* gets its ``s`` if secure."""
        host = _SCHEME.sub("", self.host, count=1)
        host = host.removesuffix("/")
        place = self.base_path.lstrip("/")
        if not place:
            prefix = self.prefix.lstrip("/") or "parties"
            place = f"{prefix}/{self.party or 'main'}/{self.room}"
        if self.path:
            place = f"{place}/{self.path}"
        secure = "s" if self._is_secure(host) else ""
        return f"{scheme}{secure}://{host}/{quote(place, safe=_RAW_IN_PATH)}"

    def _is_secure(self, host: str) -> bool:
        if self.protocol:
            return self.protocol in ("wss", "https")
        return _PLAIN_HOST.match(host) is None


def encode_query(*queries: Query) -> str:
    """
    Return *queries*, one after the other, as URLSearchParams encodes them.

    A value of None is left out. A name given twice is kept twice: the first counts.
    """
    return "&".join(
        f"{_encode(name)}={_encode(_as_text(value))}"
        for query in queries
        for name, value in query.items()
        if value is not None
    )


def _as_text(value: QueryValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _encode(text: str) -> str:
    return quote_plus(text, safe="*").replace("~", "%7E")


def _check(name: str, text: str) -> None:
    if _CUTS.search(text):
        raise UsageError(
            f"{name} must not hold a backslash, ?, # or a control character."
        )
    if any(_DOTS.fullmatch(part) for part in text.split("/")):
        raise UsageError(f"{name} must not be or hold a segment of dots.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} holds half a character (lone surrogate).") from None
