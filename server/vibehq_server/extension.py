"""The server inside a Jupyter server: the same rooms under ``{base_url}vibehq/``."""

import asyncio
import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.extension.application import ExtensionApp
from traitlets import Bool, Enum, Unicode

from vibehq_server import __version__
from vibehq_server.auth.authenticator import local_user
from vibehq_server.auth.embedded import EmbeddedAuthenticator
from vibehq_server.auth.store import AuthStore
from vibehq_server.auth.sweep import keep_sweeping
from vibehq_server.context import BUILT_IN_PREFIX, ServerContext
from vibehq_server.endpoint import (
    Endpoint,
    load_keys,
    take_free_folder,
    write_endpoint,
)
from vibehq_server.hub import Hub
from vibehq_server.local_worker import LocalWorker
from vibehq_server.log_file import open_room_log
from vibehq_server.parties import BUILT_IN, load_rooms
from vibehq_server.recordings.keeping import keep_recordings, open_recordings
from vibehq_server.routes import make_handlers
from vibehq_server.settings import RECORD, Settings, default_data

DRAIN_SECONDS = 5.0


class JupyterBase(JupyterHandler):
    """What stands behind each of our handlers, for Jupyter's identity provider."""

    def set_signed_cookie(self, *args: Any, **kwargs: Any) -> None:
        """
        Set none: Jupyter's provider answers a token with its login cookie.

        Through our routes a notebook's token must not turn into a person's cookie.
        """

    set_secure_cookie = set_signed_cookie


class VibeExtension(ExtensionApp):
    """VibeHQ for a Jupyter server: rooms, API, dashboard, and the local worker."""

    name = "vibehq"
    description = "Live terminals, scans and approvals for notebooks."
    load_other_extensions = True

    data = Unicode("", help="The data folder; else $VIBEHQ_DATA or the XDG one.").tag(
        config=True
    )
    rooms = Unicode("", help="module:NAME of further room classes.").tag(config=True)
    with_worker = Bool(True, help="Start or adopt the worker of this host.").tag(
        config=True
    )
    record = Enum(RECORD, "never", help="Whether every terminal is recorded.").tag(
        config=True
    )

    def initialize_settings(self) -> None:
        """Take the data folder and put the parts together."""
        serverapp: Any = self.serverapp
        self._held = ExitStack()
        self._tasks: list[asyncio.Task[Any]] = []
        wanted = Path(self.data) if self.data else default_data("embedded")
        lock = self._held.enter_context(take_free_folder(wanted))
        if lock.folder != wanted:
            self.log.warning(
                "vibehq: %s is in use by another Jupyter server; using %s",
                wanted,
                lock.folder,
            )
        log = open_room_log(Settings(lock.folder))
        self._held.callback(log.close_now)
        self._keys = load_keys(lock.folder)
        store = AuthStore(lock.folder / "auth.sqlite3")
        self._held.callback(store.close)
        owner = os.environ.get("JUPYTERHUB_USER") or local_user()
        auth = EmbeddedAuthenticator(store, self._keys, owner)
        rooms = load_rooms(self.rooms) if self.rooms else None
        hub = Hub(
            BUILT_IN | (rooms.parties() if rooms else {}),
            log,
            approvers=auth.approvers,
            version=__version__,
            sql_folder=lock.folder,
            props=rooms.props if rooms else None,
        )
        settings = Settings(lock.folder, record=self.record)
        hub.recordings = open_recordings(settings)
        self._held.callback(hub.recordings.close)
        self._context = ServerContext(
            hub,
            settings,
            auth,
            f"{serverapp.base_url.rstrip('/')}/vibehq",
            "embedded",
            rooms.prefix if rooms else BUILT_IN_PREFIX,
        )
        self.settings["vibehq"] = self._context
        # Jupyter scrubs these from its request log.
        scrubbed = serverapp.web_app.settings.get("extra_log_scrub_param_keys", [])
        self.settings["extra_log_scrub_param_keys"] = [*scrubbed, "ticket"]

    def initialize_handlers(self) -> None:
        """Mount everything; Jupyter puts its base URL in front by itself."""
        serverapp: Any = self.serverapp
        prefix = serverapp.base_url.rstrip("/")
        for pattern, handler, arguments in make_handlers(self._context, JupyterBase):
            relative = pattern.removeprefix(re.escape(prefix))
            self.handlers.append((relative, handler, arguments))

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        """Tell workers where this server is, now that its port is known."""
        folder = self._context.settings.data
        url = f"{_local_url(serverapp)}{self._context.base_path}"
        hub = self._context.hub
        await hub.start()
        write_endpoint(folder, Endpoint(url, self._keys, os.getpid()))
        sweeping = keep_sweeping(hub)
        self._tasks.append(hub.spawn(sweeping, "sweeper"))
        self._tasks.append(hub.spawn(keep_recordings(hub), "keeper of recordings"))
        self._tasks.append(hub.spawn(hub.lag.watch(), "loop lag"))
        if self.with_worker:
            keeping = LocalWorker(folder).keep()
            self._tasks.append(hub.spawn(keeping, "keeper of the local worker"))
        self.log.info("vibehq is at %s/ with its data in %s", url, folder)

    async def stop_extension(self) -> None:
        """Tell clients to come back, store what is queued, say what still runs."""
        for task in self._tasks:
            task.cancel()
        hub = self._context.hub
        online = hub.directory.online()
        running = [
            terminal.id
            for terminal in hub.directory.terminals.values()
            if terminal.worker in online and terminal.state != "exited"
        ]
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await hub.stop()
        except TimeoutError:
            self.log.warning("vibehq: some rooms did not stop in time")
        finally:
            self._held.close()
        if running:
            self.log.warning(
                "vibehq: still running in the worker: %s. They are there again after "
                "the next start.",
                ", ".join(sorted(running)),
            )


def _local_url(serverapp: Any) -> str:
    """Return how a program on this host reaches the Jupyter server."""
    host = serverapp.ip
    if host in {"", "*", "0.0.0.0", "::"}:
        host = "127.0.0.1"
    scheme = "https" if serverapp.certfile else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{serverapp.port}"
