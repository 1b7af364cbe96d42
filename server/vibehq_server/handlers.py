"""
The base of every handler, and the smallest ones.

Every request is judged in ``prepare()``, before any method of a handler runs: Host,
then Origin, then credentials. What no class marks as public needs a credential.
"""

import logging
import secrets
from typing import Any, ClassVar, cast

import tornado.web

from vibehq_nb.core.codec import decode_plain
from vibehq_nb.core.errors import DeniedError, VibeError
from vibehq_nb.core.ids import RoomKey
from vibehq_server.auth.authenticator import Credential
from vibehq_server.context import ServerContext
from vibehq_server.identity import Identity
from vibehq_server.logs import clip
from vibehq_server.refusals import Refusal, as_refusal

logger = logging.getLogger(__name__)

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
JSON = "application/json"
MAX_HEADERS = 100

API_CSP = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"


class VibeHandler(tornado.web.RequestHandler):
    """
    The base of every handler of ours, alone or beside Jupyter's handler.

    Attributes:
        public: Whether requests without a credential are served; /healthz, the
            sign-in page and static files only.
        media_types: The content types a body may have.
        identity: Who is asking; set by ``prepare()`` unless public.
        credential: The same, and how it was shown.
        request_id: Named in the answer to a refused request and in the log.
    """

    public: ClassVar[bool] = False
    media_types: ClassVar[tuple[str, ...]] = (JSON,)

    identity: Identity
    credential: Credential
    request_id: str = ""

    @property
    def context(self) -> ServerContext:
        """The server's parts."""
        return cast(ServerContext, self.settings["vibehq"])

    def ticket_room(self) -> RoomKey | None:
        """Return the room the path names; handlers of rooms override this."""
        return None

    def set_default_headers(self) -> None:
        """Send the headers that every answer of ours carries."""
        self.set_header("Content-Type", f"{JSON}; charset=utf-8")
        self.set_header("Content-Security-Policy", API_CSP)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")
        self.clear_header("Server")

    async def prepare(self) -> None:
        """
        Judge the request; return only if its method may run.

        Raises:
            Refusal: 400, 401, 403, 415, 429, 431, or 503 while the server stops.
        """
        self.request_id = secrets.token_hex(8)
        if sum(1 for _ in self.request.headers.get_all()) > MAX_HEADERS:
            raise Refusal(431, "headers", "The request has too many headers.")
        if not self.context.auth.allows_host(self):
            raise Refusal(403, "host", "This server does not answer to that name.")
        self._check_url()
        self._check_origin()
        self._check_media_type()
        if self.public:
            return
        if self.context.hub.is_stopping:
            text = "The server restarts; come back in some seconds."
            raise Refusal(503, "stopping", text)
        self.credential = await self._identify()
        self.identity = self.credential.identity
        self.current_user = self.identity.user
        is_cookie = self.credential.how == "cookie"
        if is_cookie and "Origin" not in self.request.headers and self._acts():
            raise Refusal(403, "origin", "A session needs the Origin of its page.")

    def _check_url(self) -> None:
        if "token" in self.request.arguments:
            logger.warning("%s: credential in url", clip(self.request.path))
            raise Refusal(
                400,
                "credential-in-url",
                "There is a credential in the URL; send it as an Authorization header.",
            )

    def _check_origin(self) -> None:
        if self._is_foreign():
            raise Refusal(403, "origin", "Pages of that origin may not use this.")

    def _is_foreign(self) -> bool:
        """Tell whether a page of another origin sent this."""
        origin = self.request.headers.get("Origin")
        return origin is not None and not self.context.auth.allows_origin(self, origin)

    def _check_media_type(self) -> None:
        if self._is_unwanted_body():
            raise self._media_type_refusal()

    def _is_unwanted_body(self) -> bool:
        if self.request.method not in BODY_METHODS:
            return False
        header = self.request.headers.get("Content-Type", "")
        is_ours = header.partition(";")[0].strip().lower() in self.media_types
        return not is_ours or "Content-Encoding" in self.request.headers

    def _media_type_refusal(self) -> Refusal:
        kinds = " or ".join(self.media_types)
        return Refusal(415, "media-type", f"Send the body as {kinds}, uncompressed.")

    async def _identify(self) -> Credential:
        auth = self.context.auth
        found = await auth.identify(self, self.ticket_room())
        if found is not None:
            return found
        if not auth.is_anonymous(self):
            self.count_failure()
        raise Refusal(401, "unauthenticated", "Sign in, or send a valid credential.")

    def count_failure(self) -> None:
        """
        Count a credential that opened nothing.

        Raises:
            Refusal: 429 from the eleventh of an address within a minute.
        """
        if self.context.auth.failures.is_over(self.request.remote_ip or ""):
            raise Refusal(429, "rate", "Too many invalid credentials; wait a minute.")

    def _acts(self) -> bool:
        """Tell whether the request does more than read: it writes or opens a socket."""
        upgrade = self.request.headers.get("Upgrade", "").lower()
        return self.request.method not in SAFE_METHODS or upgrade == "websocket"

    def check_xsrf_cookie(self) -> None:
        """Do nothing: ``prepare()`` asks for an exact Origin and a JSON body."""

    def check_origin(self, origin: str = "") -> bool:
        """Say yes: ``prepare()`` has judged; Tornado does not always ask."""
        return True

    def compute_etag(self) -> str | None:
        """Give no tag: what is private is not compared with a cached copy."""
        return None

    # Bodies

    def body(self) -> Any:
        """
        Return the JSON value of the request's body, strictly decoded.

        Raises:
            DecodeError: If it is not exact JSON.
        """
        return decode_plain(self.raw_body or b"{}")

    @property
    def raw_body(self) -> bytes:
        """The request's body as it came."""
        return bytes(self.request.body)

    def write_json(self, value: Any, status: int = 200) -> None:
        """Answer with *value*."""
        self.set_status(status)
        self.finish(value)

    def require_room(self, room: RoomKey) -> None:
        """
        Refuse a room that is out of the identity's reach.

        Raises:
            DeniedError: ``not-found``, as for a room that is not there.
        """
        if not self.identity.allows(room):
            raise DeniedError("not-found", "There is no such room.")

    # Refusals

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer a failed request: what went wrong, never what was sent, no trace."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        refusal = as_refusal(error, status_code)
        if not self.request_id and self._is_unwanted_body():
            refusal = self._media_type_refusal()
        self.on_refusal(refusal)
        if refusal.retry_after_seconds is not None:
            self.set_header("Retry-After", str(refusal.retry_after_seconds))
        self.set_status(refusal.status_code)
        self.set_header("Content-Type", f"{JSON}; charset=utf-8")
        self.finish(
            {
                **refusal.more,
                "code": refusal.code,
                "message": refusal.text,
                "request_id": self.request_id or secrets.token_hex(8),
            }
        )

    def on_refusal(self, refusal: Refusal) -> None:
        """Hear of what is refused; for handlers that count it."""

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log a failure of ours with its trace; a refusal is in the access log."""
        if isinstance(value, (tornado.web.HTTPError, VibeError, TimeoutError)):
            return
        logger.error(
            "request %s failed: %s %s",
            self.request_id,
            clip(self.request.method or ""),
            clip(self.request.path),
            exc_info=(typ, value, tb),
            extra={"request_id": self.request_id},
        )


def log_request(handler: tornado.web.RequestHandler) -> None:
    """Log one line a request: no query, no headers."""
    request = handler.request
    status = handler.get_status()
    level = logging.INFO if status < 400 else logging.WARNING
    logger.log(
        level if status != 404 and status >= 300 else logging.DEBUG,
        "%d %s %s (%s) %.1f ms",
        status,
        clip(request.method or "")[:16],
        clip(request.path),
        request.remote_ip,
        1000 * request.request_time(),
        extra={"request_id": getattr(handler, "request_id", "")},
    )


class HealthHandler(VibeHandler):
    """``GET /healthz``: the process answers."""

    public = True

    def get(self) -> None:
        """Say so."""
        self.write_json({"status": "ok"})


class ReadyHandler(VibeHandler):
    """``GET /readyz``: new clients are welcome."""

    public = True

    def get(self) -> None:
        """Say so, or 503 while the server stops."""
        is_ready = not self.context.hub.is_stopping
        self.write_json(
            {"status": "ok" if is_ready else "stopping"}, 200 if is_ready else 503
        )


class NotFoundHandler(VibeHandler):
    """Every path that is nobody's; without a credential that is not told either."""

    async def prepare(self) -> None:
        """
        Judge the request, then refuse it.

        Raises:
            Refusal: 404, or whatever came before.
        """
        await super().prepare()
        raise Refusal(404, "not-found", "There is nothing at this address.")
