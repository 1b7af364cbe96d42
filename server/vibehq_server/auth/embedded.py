"""
Jupyter's identity, taken over: a token is a notebook, a login cookie is a person.

Jupyter's own ``prepare`` is not run: it lets a request without an Origin in and does
not look at the Origin of token requests. What is used of Jupyter is its Host check and
its identity provider, so JupyterHub's and others' providers work unchanged.
"""

import inspect
import logging
import re
from typing import TYPE_CHECKING, Any

from vibehq_nb.core.roles import NOTEBOOK, PERSON
from vibehq_server.auth.authenticator import Authenticator, Credential
from vibehq_server.auth.origins import decode_host, decode_origin
from vibehq_server.identity import Identity

if TYPE_CHECKING:
    from vibehq_server.handlers import VibeHandler

logger = logging.getLogger(__name__)

_GENERATED = re.compile(r"[0-9a-f]{32}")
_PORTS = {"http": 80, "https": 443}
MAX_PERSONS = 1024


class EmbeddedAuthenticator(Authenticator):
    """Judges requests of a server inside a Jupyter server."""

    _persons: frozenset[str] = frozenset()

    def allows_host(self, handler: "VibeHandler") -> bool:
        """Ask Jupyter, which knows whether it may be reached from elsewhere."""
        jupyter: Any = handler
        is_ours = decode_host(handler.request.headers.get("Host", "")) is not None
        return is_ours and bool(jupyter.check_host())

    def allows_origin(self, handler: "VibeHandler", origin: str) -> bool:
        """
        Tell whether *origin* is this very server as the browser sees it.

        A proxy that ends TLS leaves the scheme here at http; so an https page of the
        same host and port is this server, an http page of an https server is not.
        """
        page = decode_origin(origin)
        host = decode_host(handler.request.headers.get("Host", ""))
        if page is None or host is None:
            return False
        allowed = str(handler.settings.get("allow_origin") or "")
        if allowed and decode_origin(allowed) == page:
            return True
        if page.scheme == "http" and handler.request.protocol == "https":
            return False
        return (page.name, page.port) == (host.name, host.port or _PORTS[page.scheme])

    def has_session_credential(self, handler: "VibeHandler") -> bool:
        """Tell whether any cookie came along; Jupyter's provider knows its name."""
        provider = handler.settings["identity_provider"]
        try:
            return handler.get_cookie(provider.get_cookie_name(handler)) is not None
        except Exception:  # another provider's own idea of cookies: assume one came
            return bool(handler.request.headers.get("Cookie"))

    async def identify_session(self, handler: "VibeHandler") -> Credential | None:
        """Return whom Jupyter knows; nobody where its authentication is off."""
        provider: Any = handler.settings["identity_provider"]
        if not provider.auth_enabled:
            logger.warning("refused: this Jupyter server asks for no token or password")
            return None
        user = provider.get_user(handler)
        if inspect.isawaitable(user):
            user = await user
        if user is None:
            return None
        jupyter: Any = handler
        jupyter.current_user = jupyter._jupyter_current_user = user
        name, session = self._name(str(user.username))
        if handler.request.headers.get("Authorization"):
            if not provider.is_token_authenticated(handler):
                return None  # a bad token is not excused by a cookie
            return Credential(Identity(name, "notebook", NOTEBOOK, session), "token")
        if len(self._persons) < MAX_PERSONS:
            self._persons |= {name}
        return Credential(Identity(name, "person", PERSON, session), "cookie")

    def _name(self, username: str) -> tuple[str, str]:
        """Return the user and session; a generated name tells browsers apart only."""
        if _GENERATED.fullmatch(username):
            return self.owner, username[:8]
        return username, ""

    def approvers(self) -> frozenset[str]:
        """Return the persons seen; before the first, the owner."""
        return (self._persons or frozenset({self.owner})) | self.store.approvers()

    def sign_in_url(self, handler: "VibeHandler") -> str:
        """Return Jupyter's own sign-in page."""
        from tornado.httputil import url_concat

        return url_concat(handler.get_login_url(), {"next": handler.request.path})
