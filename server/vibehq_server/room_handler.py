"""
A request to a room: found, judged, and answered if it is no WebSocket.

The raw path is split here, because Tornado decodes what its patterns capture and a
room's name is its percent-encoded segment. Whatever is refused is refused before the
room is started.
"""

import logging
import sys
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import tornado.web

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.ids import RoomKey
from vibehq_server.auth.authenticator import Credential
from vibehq_server.context import BUILT_IN_PREFIX, ServerContext
from vibehq_server.handlers import VibeHandler
from vibehq_server.identity import Identity
from vibehq_server.refusals import Refusal, as_refusal
from vibehq_server.requests import ConnectRequest, HttpRequest, Response
from vibehq_server.room import Room

logger = logging.getLogger(__name__)

CREDENTIAL_HEADERS = frozenset({"Authorization", "Cookie"})
"""A room's code is told who is asking, not how that one proved it."""
CORS_FOR_ALL = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}
NOBODY = Credential(Identity("", "nobody", frozenset()), "nothing")
"""Who asks of an open room and shows nothing."""


def split_path(path: str, prefix: str = "/parties") -> tuple[str, str, str]:
    """
    Return party, room and rest of a raw *path* under *prefix*.

    Empty segments are dropped, nothing is decoded.

    Raises:
        DeniedError: ``no-such-room`` when there is no party and room in it.
    """
    before = [part for part in prefix.split("/") if part]
    parts = [part for part in path.split("/") if part]
    if parts[: len(before)] != before or len(parts) < len(before) + 2:
        raise DeniedError("no-such-room", f"The path is {prefix}/PARTY/ROOM.")
    party, name, *rest = parts[len(before) :]
    return party, name, "/".join(rest)


def _is_ticket(part: str) -> bool:
    return unquote_plus(part.partition("=")[0]) == "ticket"


@tornado.web.stream_request_body  # a body is the room's: Tornado parses no form of it
class RoomHandler(VibeHandler):
    """A plain request to a room; :class:`RoomSocket` adds the upgrade."""

    _key: RoomKey

    def initialize(
        self, prefix: str = BUILT_IN_PREFIX, mounted: ServerContext | None = None
    ) -> None:
        """Serve the rooms under ``{base_path}/{prefix}/``, *mounted* ones or ours."""
        self._prefix = prefix
        self._mounted = mounted
        self._body = b""  # the HTTP server bounds it

    def data_received(self, chunk: bytes) -> None:
        """Keep a part of the body."""
        self._body += chunk

    @property
    def raw_body(self) -> bytes:
        """The request's body as it came."""
        return self._body

    @property
    def context(self) -> ServerContext:
        """The parts of the server whose rooms these are."""
        return self._mounted or super().context

    # Judging

    async def prepare(self) -> None:
        """
        Judge the request; a preflight of a room that has CORS is answered here.

        Raises:
            Refusal: 400, 401, 403, 415 or 429.
        """
        kind = self._find_kind()
        if kind is not None and kind.cors and self.request.method == "OPTIONS":
            if not self.context.auth.allows_host(self):
                raise Refusal(403, "host", "This server does not answer to that name.")
            self.clear_header("Content-Type")
            self._add_cors()
            self.finish()
            return
        await super().prepare()

    def _find_kind(self) -> type[Room] | None:
        """Return the class of the room that is asked for, if there is one."""
        try:
            party, name, _ = self._split_path()
            return self.context.hub.parties[self.context.hub.key(party, name).party]
        except DeniedError:
            return None

    @property
    def _kind(self) -> type[Room]:
        return self.context.hub.parties[self._key.party]

    @property
    def _is_open(self) -> bool:
        kind = self._find_kind()
        return kind is not None and kind.access == "open"

    def _check_url(self) -> None:
        if not self._is_open:  # the query of an open room is its author's
            super()._check_url()

    def _check_origin(self) -> None:
        kind = self._find_kind()
        has_cors = kind is not None and bool(kind.cors) and not self._is_upgrade()
        if not self._is_open and not has_cors:
            super()._check_origin()

    def _is_upgrade(self) -> bool:
        return self.request.headers.get("Upgrade", "").lower() == "websocket"

    def _is_unwanted_body(self) -> bool:
        if self._find_kind() is None:
            return super()._is_unwanted_body()
        # Any body is a room's to take, but nobody here unpacks one.
        return "Content-Encoding" in self.request.headers

    async def _identify(self) -> Credential:
        if self._is_open:
            found = await self.context.auth.identify(self, self.ticket_room()) or NOBODY
        else:
            found = await super()._identify()
        if found.how != "cookie" or not self._is_foreign():
            return found
        # A foreign page has no session here, whatever cookies come along.
        if self._is_open:
            return NOBODY
        raise Refusal(403, "origin", "Pages of that origin may not use this.")

    def _split_path(self) -> tuple[str, str, str]:
        base = self.context.base_path
        return split_path(self.request.path, f"{base}/{self._prefix}")

    def ticket_room(self) -> RoomKey | None:
        """Return the room a ticket has to be for."""
        party, name, _ = self._split_path()
        return self.context.hub.key(party, name)

    def _address(self) -> tuple[RoomKey, str]:
        party, name, rest = self._split_path()
        key = self.context.hub.key(party, name)
        kind = self.context.hub.parties[key.party]
        is_let_in = kind.admits(key.party, self.identity) and (
            kind.access == "open" or self.identity.allows(key)
        )
        if not is_let_in:
            raise DeniedError("forbidden", "You may not enter this room.")
        return key, rest

    def _connect_request(self) -> ConnectRequest:
        uri, rest, query, headers = self._described()
        return ConnectRequest(uri, rest, query, headers, self._known_identity())

    def _known_identity(self) -> Identity | None:
        return None if self.credential is NOBODY else self.identity

    def _described(self) -> tuple[str, str, dict[str, str], dict[str, str]]:
        """Return URL, rest of the path, query and headers, without a ticket."""
        parts = [p for p in self.request.query.split("&") if not _is_ticket(p)]
        raw_query = "&".join(parts)
        query: dict[str, str] = {}
        for name, value in parse_qsl(raw_query, keep_blank_values=True):
            query.setdefault(name, value)
        _, _, rest = self._split_path()
        uri = f"{self.request.protocol}://{self.request.host}{self.request.path}"
        if "?" in (self.request.uri or ""):
            uri += f"?{raw_query}"
        hidden = frozenset() if self._is_open else CREDENTIAL_HEADERS
        headers = {
            sys.intern(name.lower()): value  # the same few for every connection
            for name, value in self.request.headers.get_all()
            if name not in hidden
        }
        return uri, rest, query, headers

    # Plain requests

    async def _plain(self) -> None:
        key, _ = self._address()
        self._key = key
        uri, rest, query, headers = self._described()
        method = self.request.method or "GET"
        body = self.raw_body
        request = HttpRequest(
            method, rest, query, headers, body, uri, self._known_identity()
        )
        self._add_cors()
        judged = await self._kind.on_before_request(request, key)
        if isinstance(judged, Response):
            self._answer(judged)
            return
        room = await self.context.hub.room(*key)
        self.context.hub.forget_idle(room)
        self._answer(await room.run(room.on_request, judged or request))

    def _answer(self, response: Response) -> None:
        self.set_status(response.status)
        is_text = isinstance(response.body, str)
        kind = "text/plain; charset=utf-8" if is_text else "application/octet-stream"
        self.set_header("Content-Type", kind)
        for name, value in response.headers.items():
            self.set_header(name, value)
        self.finish(response.body or None)

    def _add_cors(self) -> None:
        kind = self._find_kind()
        if kind is None or not kind.cors:
            return
        headers = CORS_FOR_ALL if kind.cors is True else kind.cors
        self.clear_header("Cross-Origin-Resource-Policy")
        for name, value in headers.items():
            self.set_header(name, value)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer a failed request; a page of another origin may read why."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        status = as_refusal(error, status_code).status_code
        if status >= 500:
            self._add_cors()
        if status == 500 and (instead := self._instead_of(error)):
            self._answer(instead)
            return
        super().write_error(status_code, **kwargs)

    def _instead_of(self, error: BaseException | None) -> Response | None:
        if error is None:
            return None
        try:
            return self.context.on_error(error)
        except Exception:
            logger.exception("request %s: the error hook failed", self.request_id)
            return None

    async def get(self, *args: str, **kwargs: str) -> None:
        """Give a plain request to the room."""
        await self._plain()

    post = put = patch = delete = head = options = get
