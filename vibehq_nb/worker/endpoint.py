"""Where the server is and with which key: read anew before each dial."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from vibehq_nb.core.errors import UsageError

KEY_VARIABLE = "VIBEHQ_WORKER_KEY"


class _EndpointFile(msgspec.Struct):
    url: str
    worker_key: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's base URL and the key a worker shows it."""

    url: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """What is sent with every handshake."""
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this host."""
        return urlsplit(self.url).hostname in {"127.0.0.1", "::1", "localhost"}

    def socket_url(self, party: str, room: str, connection: str) -> str:
        """Return the address of a room's WebSocket."""
        scheme, host, path, _, _ = urlsplit(self.url)
        scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
        path = f"{path.rstrip('/')}/parties/{party}/{quote(room, safe=':')}"
        return urlunsplit((scheme, host, path, f"_pk={quote(connection)}", ""))


class EndpointSource:
    """Finds the endpoint: in ``endpoint.json`` of a data folder, or as given."""

    def __init__(self, folder: Path | None = None, url: str | None = None) -> None:
        """
        Use *url* with the key in ``VIBEHQ_WORKER_KEY``, else the file in *folder*.

        Raises:
            UsageError: If neither says where the server is.
        """
        self._file = folder / "endpoint.json" if folder else None
        self._fixed: Endpoint | None = None
        if url:
            self._fixed = Endpoint(url, _key_from_environment())
        elif folder is None:
            raise UsageError("Say where the server is: --data DIR or --url URL.")

    def read(self) -> Endpoint:
        """
        Return the endpoint as it stands now.

        Raises:
            UsageError: If the file is not there yet or is not an endpoint.
        """
        if self._fixed is not None or self._file is None:
            assert self._fixed is not None
            return self._fixed
        try:
            found = msgspec.json.decode(self._file.read_bytes(), type=_EndpointFile)
        except OSError:
            raise UsageError(f"there is no {self._file} yet") from None
        except msgspec.DecodeError:
            raise UsageError(f"{self._file} names no url and worker_key") from None
        return Endpoint(found.url, found.worker_key)


def _key_from_environment() -> str:
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise UsageError("--url needs the worker's key in VIBEHQ_WORKER_KEY.")
    return key
