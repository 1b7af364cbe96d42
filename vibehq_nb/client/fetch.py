"""One HTTP request to a room, whatever the answer."""

import asyncio
import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

import msgspec

from vibehq_nb.client.errors import ConnectError
from vibehq_nb.client.http import LOOPBACK, NoRedirect

MAX_BODY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Fetched:
    """
    What a room answered.

    Attributes:
        status: The HTTP status, an error's as well.
        headers: Its headers, names in lower case.
        body: Its body.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_ok(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 are replaced."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """
        Return the body as JSON.

        Raises:
            ValueError: If it is none.
        """
        return msgspec.json.decode(self.body)


async def fetch_url(
    url: str,
    method: str,
    headers: Mapping[str, str],
    body: bytes | str | None,
    timeout: float,
) -> Fetched:
    """
    Request *url* in a thread; see :meth:`PartySocket.fetch`.

    Raises:
        ConnectError: If there was no answer, or one of more than 16 MiB.
    """
    content = body.encode() if isinstance(body, str) else body
    request = urllib.request.Request(url, content, dict(headers), method=method)
    return await asyncio.to_thread(_exchange, request, timeout)


def _exchange(request: urllib.request.Request, timeout: float) -> Fetched:
    parts = urlsplit(request.full_url)
    where = f"{parts.scheme}://{parts.netloc}{parts.path}"
    proxies: dict[str, str] | None = {} if parts.hostname in LOOPBACK else None
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), NoRedirect()
    )
    try:
        with opener.open(request, timeout=timeout) as answer:
            return _read(answer, answer.status, answer.headers.items())
    except urllib.error.HTTPError as error:
        with error:
            return _read(error, error.code, error.headers.items())
    except TimeoutError:
        raise ConnectError(f"{where} did not answer within {timeout:g} s.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = getattr(error, "reason", error)
        word = getattr(cause, "strerror", None) or type(cause).__name__
        raise ConnectError(f"{where} cannot be reached: {word}.") from None


def _read(answer: IO[bytes], status: int, headers: Any) -> Fetched:
    body = answer.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise ConnectError(f"The answer is longer than {MAX_BODY_BYTES} bytes.", status)
    return Fetched(status, {name.lower(): value for name, value in headers}, body)
