"""
Rooms inside another Tornado application: the rooms alone, without our server.

    mount = Mount(Rooms([Counter]), data=Path("state"))
    app = tornado.web.Application([*mount.handlers(), (r"/", MyPage)])
    await mount.start()
    ...
    await mount.stop()

A request that is no room's goes on to the application's next handler.
"""

import inspect
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vibehq_nb.core.ids import RoomKey
from vibehq_server.auth.authenticator import Authenticator, Credential, Keys
from vibehq_server.auth.origins import decode_host, decode_origin
from vibehq_server.auth.store import AuthStore
from vibehq_server.context import ServerContext
from vibehq_server.hub import Hub
from vibehq_server.identity import Identity
from vibehq_server.parties import Rooms
from vibehq_server.requests import Response
from vibehq_server.room_logs.folder_lock import lock_folder
from vibehq_server.room_logs.memory import MemoryRoomLog
from vibehq_server.room_logs.port import RoomLog
from vibehq_server.room_logs.sqlite import SqliteRoomLog
from vibehq_server.routes import Route, room_routes
from vibehq_server.settings import Settings

if TYPE_CHECKING:
    import tornado.httputil

    from vibehq_server.handlers import VibeHandler

Identify = Callable[
    ["tornado.httputil.HTTPServerRequest"], Identity | Awaitable[Identity | None] | None
]
_PORTS = {"http": 80, "https": 443}


class Mount:
    """
    The rooms of another Tornado application.

    Args:
        rooms: Which there are, and under which prefix.
        data: The folder of their logs, for this process alone; None keeps them in
            memory.
        identify: Says who is asking, for rooms whose access is ``session``; without
            it, those let nobody in. It has to know a forged request from a real one:
            what comes with a cookie also has to come from a page of the same origin,
            which is checked here.
        on_error: Called with a failure that would be answered with 500; may return
            what to answer instead.
        clock: Seconds since 1970; by default the real ones.
    """

    def __init__(
        self,
        rooms: Rooms,
        *,
        data: Path | None = None,
        identify: Identify | None = None,
        on_error: Callable[[BaseException], Response | None] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Take *data*; nothing is listened to before :meth:`handlers` are mounted."""
        self._held = ExitStack()
        log: RoomLog = MemoryRoomLog()
        if data is not None:
            self._held.enter_context(lock_folder(data))
            log = SqliteRoomLog(data / "rooms.sqlite3")
        self.hub = Hub(
            rooms.parties(),
            log,
            clock=clock or time.time,
            sql_folder=data,
            props=rooms.props,
        )
        store = AuthStore(None)
        self._held.callback(store.close)
        self._context = ServerContext(
            self.hub, Settings(data or Path()), _AppsOwn(store, identify)
        )
        self._context.prefix = rooms.prefix
        if on_error is not None:
            self._context.on_error = on_error

    def handlers(self) -> list[Route]:
        """Return what to put into the application's list of handlers."""
        return room_routes(self._context.prefix, mounted=self._context)

    async def start(self) -> None:
        """Arm the alarms that were set before a restart."""
        await self.hub.start()

    async def stop(self) -> None:
        """Tell every client to come back, finish what is queued, let go."""
        await self.hub.stop()
        self._held.close()


class _AppsOwn(Authenticator):
    """Believes the application."""

    def __init__(self, store: AuthStore, identify: Identify | None) -> None:
        keys = Keys(secrets.token_hex(32), secrets.token_hex(32))  # nobody has them
        super().__init__(store, keys, "")
        self._identify = identify

    def allows_host(self, handler: "VibeHandler") -> bool:
        """Leave it to the application, which knows its names."""
        return True

    def allows_origin(self, handler: "VibeHandler", origin: str) -> bool:
        """Tell whether the page comes from where it asks."""
        page = decode_origin(origin)
        host = decode_host(handler.request.headers.get("Host", ""))
        if page is None or host is None:
            return False
        return (page.name, page.port) == (host.name, host.port or _PORTS[page.scheme])

    async def identify(
        self, handler: "VibeHandler", room: RoomKey | None
    ) -> Credential | None:
        """Ask the application."""
        return await self.identify_session(handler)

    async def identify_session(self, handler: "VibeHandler") -> Credential | None:
        """Ask the application."""
        found: Any = self._identify(handler.request) if self._identify else None
        identity: Identity | None = await found if inspect.isawaitable(found) else found
        if identity is None:
            return None
        # Whatever else came along, it may have been the cookie that was believed.
        is_cookie = "Cookie" in handler.request.headers
        return Credential(identity, "cookie" if is_cookie else "bearer")

    def has_session_credential(self, handler: "VibeHandler") -> bool:
        """Tell whether a cookie came along."""
        return "Cookie" in handler.request.headers

    def sign_in_url(self, handler: "VibeHandler") -> str:
        """Return the application's first page."""
        return "/"
