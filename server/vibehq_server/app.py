"""The standalone server: its parts put together, started, and drained."""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tornado.web
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    ParseBodyConfig,
    ParseMultipartConfig,
    set_parse_body_config,
)

from vibehq_server import __version__
from vibehq_server.auth.authenticator import Keys, local_user
from vibehq_server.auth.origins import AllowList
from vibehq_server.auth.standalone import StandaloneAuthenticator
from vibehq_server.auth.store import AuthStore
from vibehq_server.auth.sweep import keep_sweeping
from vibehq_server.context import ServerContext
from vibehq_server.endpoint import Endpoint, load_keys, take_folder, write_endpoint
from vibehq_server.handlers import NotFoundHandler, log_request
from vibehq_server.hub import Hub
from vibehq_server.local_worker import LocalWorker
from vibehq_server.log_file import open_room_log
from vibehq_server.recordings.keeping import keep_recordings, open_recordings
from vibehq_server.room import Room
from vibehq_server.rooms.grants import GrantsRoom
from vibehq_server.routes import make_handlers
from vibehq_server.settings import Settings, StartError

if TYPE_CHECKING:
    from vibehq_server.parties import Rooms

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
SERVER_LIMITS: dict[str, Any] = {
    "idle_connection_timeout": 30.0,
    "body_timeout": 10.0,
    "max_header_size": 16 * 1024,
    "max_body_size": 256 * 1024,
}
"""Seconds and bytes; Tornado's own are 3,600 s, 64 KiB and 100 MB."""


@dataclass(slots=True)
class RunningServer:
    """
    A standalone server that listens.

    Attributes:
        url: Its base address on this host.
        port: Where it listens.
        context: Its parts.
        keys: What ``endpoint.json`` holds.
    """

    url: str
    port: int
    context: ServerContext
    keys: Keys
    _http: HTTPServer
    _held: ExitStack
    _tasks: "list[asyncio.Task[Any]]" = field(default_factory=list)
    _is_stopped: bool = field(default=False)

    def make_login_link(self) -> str:
        """Return a link that signs the owner in once, within ten minutes."""
        auth = self.context.auth
        assert isinstance(auth, StandaloneAuthenticator)
        return f"{self.url}/login#{auth.make_login_code()}"

    async def stop(self) -> None:
        """Take no more, tell clients to come back, store what is queued; idempotent."""
        if self._is_stopped:
            return
        self._is_stopped = True
        for task in self._tasks:
            task.cancel()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                # It listens on: who comes meanwhile is told 503, and comes back.
                await self.context.hub.stop()
                self._http.stop()
                await self._http.close_all_connections()
        except TimeoutError:
            logger.warning("some clients did not go within %.0f s", DRAIN_SECONDS)
        finally:
            self._http.stop()
            self._held.close()


async def start(
    settings: Settings, parties: Mapping[str, type[Room]] | None = None
) -> RunningServer:
    """
    Start a standalone server; returns once it listens.

    Args:
        settings: Checked here.
        parties: Instead of the built-in ones and ``settings.rooms``; the log of
            grants is there in any case.

    Raises:
        UsageError: If a setting is unsafe or cannot work.
        StartError: If the folder, its room log or the port cannot be had.
    """
    settings.check()
    chosen, rooms = _parties(settings, parties)
    chosen.setdefault("grants", GrantsRoom)
    tls = _tls(settings)
    with ExitStack() as held:
        held.enter_context(take_folder(settings.data))
        listening = _bind(settings)
        held.callback(listening.close)
        port = int(listening.getsockname()[1])
        log = open_room_log(settings)
        held.callback(log.close_now)
        keys = load_keys(settings.data)
        store = AuthStore(settings.data / "auth.sqlite3")
        held.callback(store.close)
        auth = StandaloneAuthenticator(
            store,
            keys,
            local_user(),
            _allowed(settings, port),
            cookie_name=_cookie_name(settings, port),
        )
        hub = Hub(
            chosen,
            log,
            approvers=auth.approvers,
            version=__version__,
            sql_folder=settings.data,
            props=rooms.props if rooms else None,
        )
        hub.recordings = await asyncio.to_thread(open_recordings, settings)
        held.callback(hub.recordings.close)
        await hub.start()
        context = ServerContext(hub, settings, auth)
        context.prefix = rooms.prefix if rooms else context.prefix
        http = _serve(context, tls)
        http.add_socket(listening)
        url = _url(settings, port)
        write_endpoint(settings.data, Endpoint(url, keys, os.getpid()))
        tasks = [
            hub.spawn(keep_sweeping(hub), "sweeper"),
            hub.spawn(keep_recordings(hub), "keeper of recordings"),
            hub.spawn(hub.lag.watch(), "loop lag"),
        ]
        if settings.with_worker:
            keeping = LocalWorker(settings.data).keep()
            tasks.append(hub.spawn(keeping, "keeper of the local worker"))
        return RunningServer(url, port, context, keys, http, held.pop_all(), tasks)


def _parties(
    settings: Settings, parties: Mapping[str, type[Room]] | None
) -> "tuple[dict[str, type[Room]], Rooms | None]":
    # Imported late: a server with its own parties needs none of the built-in ones.
    from vibehq_server.parties import BUILT_IN, load_rooms

    chosen = dict(BUILT_IN if parties is None else parties)
    rooms = load_rooms(settings.rooms) if settings.rooms else None
    return chosen | (rooms.parties() if rooms else {}), rooms


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        bound = socket.create_server((settings.host, settings.port), family=family)
        bound.setblocking(False)
        return bound
    except OSError as error:
        raise StartError(
            f"port {settings.port} on {settings.host} cannot be had: {error.strerror}"
        ) from None


def _allowed(settings: Settings, port: int) -> AllowList:
    scheme = "https" if settings.is_secure else "http"
    return AllowList.of_server(
        settings.host,
        port,
        scheme,
        settings.allowed_hosts,
        settings.origins,
        is_behind_proxy=settings.behind_proxy,
    )


def _cookie_name(settings: Settings, port: int) -> str:
    # Cookies know no ports: without it, two servers on one host would sign each
    # other's browsers out.
    return f"{'__Host-' if settings.is_https else ''}vibehq-{port}"


def _url(settings: Settings, port: int) -> str:
    scheme = "https" if settings.is_secure else "http"
    host = settings.host
    if host in {"0.0.0.0", "::", ""}:
        host = "127.0.0.1"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _serve(context: ServerContext, tls: ssl.SSLContext | None) -> HTTPServer:
    # No handler takes a form with files, so none is parsed.
    set_parse_body_config(
        ParseBodyConfig(multipart=ParseMultipartConfig(enabled=False))
    )
    application = tornado.web.Application(
        make_handlers(context),
        default_handler_class=NotFoundHandler,
        log_function=log_request,
        compress_response=False,
        vibehq=context,
    )
    return HTTPServer(
        application,
        ssl_options=tls,
        xheaders=context.settings.behind_proxy,
        **SERVER_LIMITS,
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None:
        return None
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        tls.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise StartError(f"--tls-cert cannot be used: {error}") from None
    return tls
