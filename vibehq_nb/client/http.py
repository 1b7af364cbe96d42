"""
The server's HTTP API, and the address and credential it is reached with.

A token travels in the ``Authorization`` header only: never in a URL, a repr or a log,
and never to another address than the one it was meant for (no redirect is followed).
"""

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Literal
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec

from vibehq_nb.client.errors import ApiError
from vibehq_nb.core.errors import UsageError

Scheme = Literal["Bearer", "token"]

MAX_LINE_BYTES = 16 * 1024 * 1024
PIECE_BYTES = 256 * 1024
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Server:
    """
    Where the rooms are and who we are there.

    Attributes:
        url: The base, without a trailing slash: ``http://127.0.0.1:8900``.
        token: A grant or Jupyter's token; empty for none.
        scheme: ``Bearer`` for our grants, ``token`` for Jupyter's.
    """

    url: str
    token: str = field(default="", repr=False)
    scheme: Scheme = "Bearer"

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this very machine."""
        return urlsplit(self.url).hostname in LOOPBACK

    def headers(self) -> dict[str, str]:
        """Return the headers that say who we are."""
        if not self.token:
            return {}
        return {"Authorization": f"{self.scheme} {self.token}"}

    def socket_url(self, party: str, room: str, query: dict[str, str]) -> str:
        """Return the address of a room's socket; *query* holds no secret."""
        parts = urlsplit(self.url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        path = f"{parts.path}/parties/{party}/{quote(room, safe=':@')}"
        return urlunsplit((scheme, parts.netloc, path, urlencode(query), ""))


def normal_url(text: str) -> str:
    """
    Return *text* as a base URL: no trailing slash, no query, no user.

    Raises:
        UsageError: If it is no ``http(s)://host`` address.
    """
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"{text!r} is no server address. It looks like https://hq.example.org "
            "or http://127.0.0.1:8900."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = f"{host}:{parts.port}" if parts.port else host
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Hands a redirect back as the error it is, so that no token follows it."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Follow none."""


class HttpApi:
    """One server's HTTP API. Safe to call from several threads; blocks the caller."""

    def __init__(self, server: Server) -> None:
        """Talk to *server*, directly when it is on this machine."""
        self.server = server
        proxies: dict[str, str] | None = {} if server.is_loopback else None
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), NoRedirect()
        )

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        timeout: float = 10.0,
    ) -> Any:
        """
        Return the decoded JSON answer; None for an empty one.

        Args:
            method: ``GET``, ``POST`` …
            path: From the base on, such as ``/api/me``.
            body: What is sent as JSON; None sends none.
            timeout: Seconds of silence after which it is given up.

        Raises:
            ApiError: For every status from 300 on, and with status 0 when there was
                no answer.
        """
        return self.exchange(method, path, body, timeout)[0]

    def exchange(
        self, method: str, path: str, body: object = None, timeout: float = 10.0
    ) -> tuple[Any, dict[str, str]]:
        """Do as :meth:`request` and return the answer's headers (lower case) too."""
        with self._asked(method, path, body, timeout) as answer:
            found = {key.lower(): value for key, value in answer.headers.items()}
            return _decoded(answer, answer.status), found

    def lines(self, path: str, timeout: float = 30.0) -> Iterator[bytes]:
        """
        Yield an answer that is no JSON line by line, as it comes.

        Raises:
            ApiError: As :meth:`request`, also where the answer breaks off.
        """
        with self._asked("GET", path, None, timeout) as answer:
            rest = b""
            # Unlike readline(), read1() tells an answer that breaks off.
            while piece := answer.read1(PIECE_BYTES):
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line + b"\n" for line in lines)
                if len(rest) > MAX_LINE_BYTES:
                    raise ApiError(200, "too-long", "A line of the answer is too long.")
            if rest:
                yield rest

    @contextmanager
    def _asked(
        self, method: str, path: str, body: object, timeout: float
    ) -> Iterator[Any]:
        headers = {"Accept": "application/json", **self.server.headers()}
        content = None
        if body is not None or method in ("POST", "PATCH"):
            content = msgspec.json.encode({} if body is None else body)
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(
            self.server.url + path, content, headers, method=method
        )
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            with error:
                refusal = _refusal(error)
            raise refusal from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiError(0, "unreachable", self._unreachable(error)) from None

    def _unreachable(self, error: Exception) -> str:
        cause = getattr(error, "reason", error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"{self.server.url} shows a certificate that is not trusted here."
        if isinstance(cause, TimeoutError):
            return f"{self.server.url} did not answer in time."
        if isinstance(cause, ConnectionRefusedError):
            return f"Nothing listens at {self.server.url}. Start it: vibehq serve."
        return f"{self.server.url} cannot be reached: {cause}."


def _decoded(answer: IO[bytes], status: int) -> Any:
    content = answer.read()
    if not content:
        return None
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        raise ApiError(
            status, "not-json", "The answer is no JSON: is this a VibeHQ server?"
        ) from None


def _refusal(error: urllib.error.HTTPError) -> ApiError:
    try:
        body = msgspec.json.decode(error.read())
    except (msgspec.DecodeError, OSError):
        body = None
    words = body if isinstance(body, dict) else {}
    code = str(words.get("code") or f"http-{error.code}")
    text = str(words.get("message") or _plain_reason(error))
    return ApiError(error.code, code, text, words)


def _plain_reason(error: urllib.error.HTTPError) -> str:
    if error.code in (401, 403):
        return f"The server refused these credentials ({error.code})."
    if 300 <= error.code < 400:
        return f"The server is elsewhere now: {error.headers.get('Location', '?')}"
    return f"The server answered {error.code} {error.reason}."
