"""What comes to a room from outside, and what it answers: plain data."""

from dataclasses import dataclass, field

from vibehq_server.identity import Identity


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """
    The handshake a connection came with.

    Attributes:
        uri: The full URL, tickets removed.
        path: What followed the room in the URL, without a leading slash.
        query: First value of each query argument.
        headers: Header names in lower case.
        identity: Who is asking; None in a hook of an open room for whom nobody
            vouches.
    """

    uri: str
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """
    A plain HTTP request to a room.

    Attributes:
        method: In capitals.
        path: What followed the room in the URL, without a leading slash.
        query: First value of each query argument.
        headers: Header names in lower case.
        body: As it came, at most what the server accepts.
        uri: The full URL, tickets removed.
        identity: Who is asking, None in an open room for whom nobody vouches.
    """

    method: str = "GET"
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    uri: str = ""
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What a room answers to an HTTP request."""

    body: bytes | str = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
