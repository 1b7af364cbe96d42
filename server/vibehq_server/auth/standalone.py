"""Signing in to a standalone server: a one-time link, then a session cookie."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from vibehq_nb.core.roles import PERSON
from vibehq_server.auth.authenticator import Authenticator, Credential, Keys
from vibehq_server.auth.origins import AllowList
from vibehq_server.auth.records import SESSION_SECONDS
from vibehq_server.auth.secrets import (
    CODE_PREFIX,
    GRANT_PREFIX,
    MAX_CREDENTIAL,
    SESSION_PREFIX,
    digest,
    make_credential,
)
from vibehq_server.auth.store import AuthStore

if TYPE_CHECKING:
    from vibehq_server.handlers import VibeHandler

CODE_SECONDS = 600.0


class StandaloneAuthenticator(Authenticator):
    """Judges requests of a server that stands alone."""

    def __init__(
        self,
        store: AuthStore,
        keys: Keys,
        owner: str,
        allowed: AllowList,
        *,
        cookie_name: str = "vibehq",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Listen to the names and pages in *allowed*.

        A *cookie_name* that begins with ``__Host-`` binds the session to https.
        """
        super().__init__(store, keys, owner, monotonic)
        self.allowed = allowed
        self.cookie_name = cookie_name
        self._monotonic = monotonic
        self._codes: dict[str, float] = {}

    def allows_host(self, handler: "VibeHandler") -> bool:
        """Tell whether the Host is on the list."""
        return self.allowed.has_host(handler.request.headers.get("Host", ""))

    def allows_origin(self, handler: "VibeHandler", origin: str) -> bool:
        """Tell whether the Origin is on the list."""
        return self.allowed.has_origin(origin)

    def has_session_credential(self, handler: "VibeHandler") -> bool:
        """Tell whether a session cookie came along."""
        return handler.get_cookie(self.cookie_name) is not None

    async def identify_session(self, handler: "VibeHandler") -> Credential | None:
        """Return whose session the cookie names."""
        if handler.request.headers.get("Authorization"):
            return None  # a credential that opens nothing is not excused by a cookie
        cookie = handler.get_cookie(self.cookie_name)
        if not cookie or not cookie.startswith(SESSION_PREFIX):
            return None
        if len(cookie) > MAX_CREDENTIAL:
            return None
        session = self.store.find_session(cookie)
        return Credential(session.identity(), "cookie") if session else None

    def sign_in_url(self, handler: "VibeHandler") -> str:
        """Return the sign-in page, with the way back."""
        return "/login?next=" + quote(handler.request.path, safe="/")

    def make_login_code(self) -> str:
        """Return a code that signs the owner in once, within ten minutes."""
        now = self._monotonic()
        live = {key: end for key, end in self._codes.items() if end > now}
        code = make_credential(CODE_PREFIX)
        self._codes = live | {digest(code): now + CODE_SECONDS}
        return code

    def sign_in(self, secret: str) -> str | None:
        """Take a login code or a grant's token; return a session cookie's value."""
        if len(secret) > MAX_CREDENTIAL:
            return None
        if secret.startswith(GRANT_PREFIX):
            grant = self.store.find_grant(secret)
            if grant is None:
                return None
            return self.store.create_session(
                grant.user, grant.roles, grant.rooms, grant
            )
        expires = self._codes.pop(digest(secret), 0.0)
        if expires <= self._monotonic():
            return None
        return self.store.create_session(self.owner, PERSON)

    def set_session_cookie(self, handler: "VibeHandler", cookie: str) -> None:
        """Hand the session to the browser; no script there can read it."""
        handler.set_cookie(
            self.cookie_name,
            cookie,
            path="/",
            max_age=int(SESSION_SECONDS),
            httponly=True,
            secure=self.cookie_name.startswith("__Host-"),
            samesite="Strict",
        )
