"""The one table of addresses, the same standalone and inside Jupyter."""

import re
from typing import Any

from tornado.web import RequestHandler

from vibehq_server.api import (
    grants,
    hil,
    ops,
    recordings,
    rooms,
    session,
    terminal_commands,
    terminals,
    workers,
)
from vibehq_server.context import BUILT_IN_PREFIX, ServerContext
from vibehq_server.handlers import (
    HealthHandler,
    NotFoundHandler,
    ReadyHandler,
    VibeHandler,
)
from vibehq_server.metrics import MetricsHandler
from vibehq_server.pages import LoginHandler, LogoutHandler, PageHandler
from vibehq_server.seed_routes import OpsBroadcastSocket, WorkerTerminalSocket
from vibehq_server.socket_handler import RoomSocket
from vibehq_server.static_files import (
    StaticHandler,
    assets_folder,
    list_static_files,
    static_folder,
)

Route = tuple[str, type[RequestHandler], dict[str, Any]]

_ONE = "([^/]+)"


def _api_routes() -> list[tuple[str, type[VibeHandler]]]:
    return [
        ("/metrics", MetricsHandler),
        ("/api/me", session.MeHandler),
        ("/api/tickets", session.TicketsHandler),
        ("/api/grants", grants.GrantsHandler),
        (f"/api/grants/{_ONE}", grants.GrantHandler),
        ("/api/login-links", session.LoginLinksHandler),
        ("/api/rooms", rooms.RoomsHandler),
        (f"/api/rooms/{_ONE}/{_ONE}", rooms.RoomHandler),
        (f"/api/rooms/{_ONE}/{_ONE}/log", rooms.RoomLogHandler),
        ("/api/workers", terminals.WorkersHandler),
        ("/api/workers/invites", workers.InvitesHandler),
        ("/api/workers/join", workers.JoinHandler),
        (f"/api/workers/{_ONE}/stop", workers.StopHandler),
        (f"/api/workers/{_ONE}/terminal", WorkerTerminalSocket),
        ("/api/terminals", terminals.TerminalsHandler),
        (f"/api/terminals/{_ONE}", terminals.TerminalHandler),
        (
            f"/api/terminals/{_ONE}/(signal|writer|size|freeze|thaw)",
            terminals.TerminalActionHandler,
        ),
        (f"/api/terminals/{_ONE}/log", terminals.TerminalLogHandler),
        (
            f"/api/terminals/{_ONE}/commands",
            terminal_commands.TerminalCommandsHandler,
        ),
        (f"/api/terminals/{_ONE}/recordings", recordings.TerminalRecordingsHandler),
        (f"/api/terminals/{_ONE}/recordings/stop", recordings.StopRecordingHandler),
        ("/api/recordings", recordings.RecordingsHandler),
        (f"/api/recordings/{_ONE}", recordings.RecordingHandler),
        (f"/api/recordings/{_ONE}/cast", recordings.CastHandler),
        (f"/api/recordings/{_ONE}/verify", recordings.VerifyRecordingHandler),
        (f"/api/recordings/{_ONE}/(pin|unpin)", recordings.PinRecordingHandler),
        ("/api/ops/scan", ops.ScanHandler),
        ("/api/ops/scans", ops.ScansHandler),
        (f"/api/ops/scans/{_ONE}", ops.ScansHandler),
        ("/api/ops/issues", ops.IssuesHandler),
        (f"/api/ops/issues/{_ONE}/resolve", ops.ResolveHandler),
        ("/api/ops/broadcast", OpsBroadcastSocket),
        ("/api/hil/requests", hil.RequestsHandler),
        (f"/api/hil/requests/{_ONE}", hil.RequestHandler),
        (f"/api/hil/requests/{_ONE}/response", hil.ResponseHandler),
        (f"/api/hil/requests/{_ONE}/status", hil.StatusHandler),
        (f"/api/hil/requests/{_ONE}/use", hil.UseHandler),
    ]


def make_handlers(
    context: ServerContext, base_class: type[RequestHandler] | None = None
) -> list[Route]:
    """
    Return pattern, handler and its arguments for every address.

    Args:
        context: The server; its base path stands before every pattern.
        base_class: Mixed in behind each handler: Jupyter's, inside Jupyter.
    """
    files = list_static_files(static_folder(), assets_folder())
    shells: list[Route] = [
        ("/", PageHandler, {"view": "dashboard", "title": "VibeHQ", "files": files}),
        (
            f"/t/{_ONE}",
            PageHandler,
            {"view": "terminal", "title": "Terminal", "files": files},
        ),
        (
            f"/r/{_ONE}",
            PageHandler,
            {"view": "approval", "title": "Approval", "files": files},
        ),
    ]
    if context.mode == "standalone":
        sign_in = {"view": "login", "title": "Sign in", "files": files}
        shells += [("/login", LoginHandler, sign_in), ("/logout", LogoutHandler, {})]
    routes: list[Route] = [
        ("/healthz", HealthHandler, {}),
        ("/readyz", ReadyHandler, {}),
        (f"/static/{_ONE}", StaticHandler, {"files": files}),
        *shells,
        *((pattern, kind, {}) for pattern, kind in _api_routes()),
        *(
            route
            for prefix in dict.fromkeys((BUILT_IN_PREFIX, context.prefix))
            for route in room_routes(prefix)
        ),
        ("/.*", NotFoundHandler, {}),
    ]
    return [
        (re.escape(context.base_path) + pattern, _mixed(kind, base_class), arguments)
        for pattern, kind, arguments in routes
    ]


def room_routes(prefix: str, mounted: ServerContext | None = None) -> list[Route]:
    """
    Return the addresses of the rooms under *prefix*.

    Args:
        prefix: One or more parts.
        mounted: Whose rooms they are, in another application.
    """
    # A doubled slash is one, as for PartyServer's router.
    pattern = "/+" + "/+".join(map(re.escape, prefix.split("/")))
    room = "/+[^/]+/+[^/].*" if mounted else "/.*"
    arguments: dict[str, Any] = {"prefix": prefix}
    if mounted is not None:
        arguments["mounted"] = mounted
    return [(pattern + room, RoomSocket, arguments)]


def _mixed(
    kind: type[RequestHandler], base_class: type[RequestHandler] | None
) -> type[RequestHandler]:
    """Return *kind*, in front of *base_class*; what is not ours is refused here."""
    if not issubclass(kind, VibeHandler):
        raise TypeError(f"{kind.__name__} does not judge its requests")
    if base_class is None:
        return kind
    mixed: type[RequestHandler] = type(kind.__name__, (kind, base_class), {})
    judges = [k for k in mixed.__mro__ if "prepare" in vars(k)]
    if not issubclass(judges[0], VibeHandler):
        raise TypeError(f"{kind.__name__} does not judge its requests")
    for name in mixed.SUPPORTED_METHODS:
        method = getattr(mixed, name.lower())
        if method is not RequestHandler._unimplemented_method:
            # Jupyter asks every method to say whether it asks for a user. Ours are
            # judged before any of them runs.
            method.__dict__.setdefault("__allow_unauthenticated", False)
    return mixed
