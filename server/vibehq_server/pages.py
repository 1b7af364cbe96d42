"""The HTML shells: sign-in, dashboard, one terminal, one approval."""

import re
from html import escape
from typing import ClassVar, cast
from urllib.parse import unquote

import msgspec
import tornado.web

from vibehq_nb.core.errors import DecodeError
from vibehq_server.auth.standalone import StandaloneAuthenticator
from vibehq_server.handlers import VibeHandler
from vibehq_server.refusals import Refusal
from vibehq_server.rooms.grants import note_grant
from vibehq_server.static_files import StaticFile, hash_of

PAGE_CSP = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self' ws: wss:; object-src 'none'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
MAX_ID = 256

_SHELL = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="vibehq-base" content="{base}">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{base}/static/page.css?v={style}">
<body data-view="{view}" data-id="{id}">
{content}
<script type="module" src="{base}/static/{script}?v={version}"></script>
</body>
</html>
"""
_APP = '<main id="app"><noscript><p>This page needs JavaScript.</p></noscript></main>'
_SIGN_IN = """<form>
<h1>VibeHQ</h1>
<label>Sign-in code or access token
<input type="password" autocomplete="off" required maxlength="128"></label>
<button>Sign in</button>
<p role="status">Use the link that the server printed when it started, or
<code>vibehq login-link</code> on its host.</p>
</form>"""

_NEXT = re.compile(r"/(?:[rt]/[A-Za-z0-9:._~%-]{1,256})?")


class PageHandler(VibeHandler):
    """One HTML shell; the script in it draws the view."""

    def initialize(self, view: str, title: str, files: dict[str, StaticFile]) -> None:
        """Show *view* under *title*."""
        self._view, self._title, self._files = view, title, files

    async def prepare(self) -> None:
        """
        Judge the request; a browser without a session is sent to sign in.

        Raises:
            Refusal: As for every handler, but for a missing credential.
        """
        try:
            await super().prepare()
        except Refusal as refusal:
            if refusal.status_code != 401:
                raise
            self.redirect(self.context.auth.sign_in_url(self))

    def get(self, raw_id: str = "") -> None:
        """Answer with the shell."""
        if len(raw_id) > MAX_ID:
            raise tornado.web.HTTPError(404)
        self.write_page(self._view, self._title, raw_id, _APP, "dashboard.js")

    def write_page(
        self, view: str, title: str, raw_id: str, content: str, script: str
    ) -> None:
        """Answer with a shell around *content*, which is HTML already."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", PAGE_CSP)
        self.set_header("X-Frame-Options", "DENY")
        self.finish(
            _SHELL.format(
                base=escape(self.context.base_path),
                title=escape(title),
                view=escape(view),
                id=escape(raw_id),
                content=content,
                script=script,
                style=hash_of(self._files.get("page.css")),
                version=hash_of(self._files.get(script)),
            )
        )


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the sign-in page sends: a one-time code or a grant's token."""

    code: str
    next: str = "/"


class LoginHandler(PageHandler):
    """``/login``: the sign-in page of a standalone server, and what it sends."""

    public: ClassVar[bool] = True

    @property
    def _auth(self) -> StandaloneAuthenticator:
        return cast(StandaloneAuthenticator, self.context.auth)

    def get(self, raw_id: str = "") -> None:
        """Show the page; asking for it uses nothing up."""
        self.write_page("login", "Sign in", "", _SIGN_IN, "login.js")

    async def post(self) -> None:
        """Take a code or a token and hand out a session; a grant's use is noted."""
        try:
            asked = msgspec.convert(self.body(), SignIn)
        except msgspec.ValidationError:
            raise DecodeError("the sign-in has no code") from None
        grant = self._auth.store.find_grant(asked.code)
        if grant is not None:
            address = self.request.remote_ip
            await note_grant(
                self.context.hub, "grant-used", grant.user, grant, address=address
            )
        cookie = self._auth.sign_in(asked.code)
        if cookie is None:
            self.count_failure()
            raise Refusal(401, "unauthenticated", "That code is used up or unknown.")
        self._auth.set_session_cookie(self, cookie)
        self.write_json({"next": safe_next(asked.next)})


class LogoutHandler(VibeHandler):
    """``POST /logout``: end this browser's session and its sockets."""

    def post(self) -> None:
        """Sign out."""
        auth = cast(StandaloneAuthenticator, self.context.auth)
        cookie = self.get_cookie(auth.cookie_name)
        session = auth.store.end_session(cookie) if cookie else None
        if session is not None:
            auth.tickets.forget(session)
            self.context.hub.close_sessions(lambda who: who.session == session)
        self.clear_cookie(auth.cookie_name, path="/")
        self.write_json({})


def safe_next(path: str) -> str:
    """Return *path* if it is one of our pages, else the dashboard."""
    is_plain = "\\" not in unquote(path) and ".." not in unquote(path)
    return path if is_plain and _NEXT.fullmatch(path) else "/"
