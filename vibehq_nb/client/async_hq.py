"""The facade's one implementation: coroutines that run on the client's loop."""

import asyncio
from typing import Any, NamedTuple
from urllib.parse import quote

from vibehq_nb.client.decisions import AsyncTask
from vibehq_nb.client.discovery import find_server
from vibehq_nb.client.errors import ApiError, NoServerError
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.client.scans import Report, Scan, scan
from vibehq_nb.client.terminals import AsyncTerminal
from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.messages import PROTOCOL

WORKER_TRIES = 20
WORKER_PAUSE_SECONDS = 0.25


class Me(NamedTuple):
    """Who we are on a server, and what that server is."""

    user: str
    roles: tuple[str, ...]
    mode: str
    version: str


class AsyncHQ:
    """
    A server, as asynchronous code uses it.

    Attributes:
        api: Its HTTP API.
        me: Who we are there.
    """

    def __init__(self, api: HttpApi, me: Me) -> None:
        """Use a server that has answered; see :func:`connect`."""
        self.api, self.me = api, me

    @property
    def base(self) -> str:
        """What a view is told: empty where its own page serves the rooms."""
        return "" if self.me.mode == "embedded" else self.api.server.url

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the API's answer, without holding up the loop."""
        return await asyncio.to_thread(self.api.request, method, path, body)

    async def terminal(
        self,
        target: str = "local",
        name: str | None = None,
        new: bool = False,
        worker: str | None = None,
    ) -> AsyncTerminal:
        """
        Open a terminal, or attach to the one that is there.

        Args:
            target: One of the worker's providers and its object; every worker has
                ``local``, a shell on its host.
            name: Which of the worker's terminals; without one, its first, or the
                one called like the object.
            new: A terminal of its own, under the first free number.
            worker: Where, if several are there.

        Raises:
            ApiError: If it cannot be opened; its sentence says what to do.
        """
        body: dict[str, Any] = {"target": target}
        if new and name is None:
            name = await self._free_name()
        if name is not None:
            body["name"] = name
        if worker is not None:
            body["worker"] = worker
        opened = await self._when_there_is_a_worker("/api/terminals", body)
        return AsyncTerminal(self.api, str(opened["id"]), target)

    async def _when_there_is_a_worker(self, path: str, body: object) -> Any:
        # A server that has just started is a moment ahead of its own worker.
        for _ in range(WORKER_TRIES):
            try:
                return await self.call("POST", path, body)
            except ApiError as error:
                if error.code != "no-worker":
                    raise
                await asyncio.sleep(WORKER_PAUSE_SECONDS)
        return await self.call("POST", path, body)

    async def _free_name(self) -> str:
        taken = {entry["id"].partition(":")[2] for entry in await self.terminals()}
        number = 2
        while str(number) in taken:
            number += 1
        return str(number)

    async def terminals(self) -> list[dict[str, Any]]:
        """Return every terminal there is."""
        found: list[dict[str, Any]] = (await self.call("GET", "/api/terminals"))[
            "terminals"
        ]
        return found

    async def workers(self) -> list[dict[str, Any]]:
        """Return every worker the server knows."""
        found: list[dict[str, Any]] = (await self.call("GET", "/api/workers"))[
            "workers"
        ]
        return found

    async def scan(
        self, scope: str = "full", report: Report | None = None, **options: Any
    ) -> Scan:
        """Run a scan and return it complete; see :func:`scans.scan`."""
        return await scan(self.api, scope, report=report, **options)

    async def findings(self, state: str | None = None) -> list[dict[str, Any]]:
        """Return what is known now, over all scans."""
        query = f"&state={quote(state)}" if state else ""
        found = await self.call("GET", f"/api/ops/issues?limit=1000{query}")
        rows: list[dict[str, Any]] = found.get("issues", [])
        return rows

    async def resolve(self, finding: str, note: str) -> None:
        """Mark a finding as resolved, with a note on what was done."""
        path = f"/api/ops/issues/{quote(finding, safe='')}/resolve"
        await self.call("POST", path, {"note": note})

    async def emit(self, name: str, payload: dict[str, Any] | None = None) -> None:
        """Tell everybody of something: a deploy, a note."""
        body = {"name": name, "data": payload or {}}
        await self.call("POST", "/api/ops/broadcast", body)

    async def requests(self, status: str = "pending") -> list[dict[str, Any]]:
        """Return the requests for a decision in this state, newest first."""
        found = await self.call("GET", f"/api/hil/requests?status={quote(status)}")
        rows: list[dict[str, Any]] = found["requests"]
        return rows

    def task(self, name: str, key: str | None, terminals: list[str]) -> AsyncTask:
        """Return a task; the server hears of it at its first gate."""
        return AsyncTask(self.api, name, key or name, terminals)


async def connect(url: str | None = None, token: str | None = None) -> AsyncHQ:
    """
    Find the server, say hello, and return it.

    With *token*, a grant's, be whom that is for.

    Raises:
        NoServerError: If there is none, or it does not answer.
        ApiError: If it refuses the credentials.
        UsageError: If its version and ours do not go together.
    """
    server = find_server(url)
    if token is not None:
        server = Server(server.url, token)
    api = HttpApi(server)
    found = await asyncio.to_thread(_hello, api)
    if found is None:
        # The address of Jupyter itself: the rooms are one level down.
        server = Server(f"{server.url}/vibehq", server.token, server.scheme)
        api = HttpApi(server)
        found = await asyncio.to_thread(_hello, api)
    if found is None:
        raise NoServerError(
            f"{server.url.removesuffix('/vibehq')} is no VibeHQ server. If it is a "
            'Jupyter server: pip install "vibehq-nb[lab]" in its environment and '
            "restart it."
        )
    _check_protocol(found, server)
    roles = tuple(str(role) for role in found.get("roles", ()))
    words = (str(found.get(name, "")) for name in ("mode", "version"))
    return AsyncHQ(api, Me(str(found.get("user", "")), roles, *words))


def _hello(api: HttpApi) -> dict[str, Any] | None:
    try:
        found = api.request("GET", "/api/me")
    except ApiError as error:
        if error.status == 0:
            raise NoServerError(error.message) from None
        if error.status == 404 or error.code == "not-json":
            return None
        raise _with_advice(error, api.server) from None
    return found if isinstance(found, dict) and "protocol" in found else None


def _with_advice(error: ApiError, server: Server) -> ApiError:
    if error.status not in (401, 403):
        return error
    advice = f"Sign in: vibehq login {server.url}, or set VIBEHQ_TOKEN."
    return ApiError(error.status, error.code, f"{error.message} {advice}")


def _check_protocol(found: dict[str, Any], server: Server) -> None:
    theirs = found["protocol"]
    if theirs in (PROTOCOL, PROTOCOL + 1):
        return
    older = "this environment" if theirs > PROTOCOL else f"the server {server.url}"
    raise UsageError(
        f"The server speaks protocol {theirs}, this client {PROTOCOL}: upgrade "
        f"vibehq-nb in {older}."
    )
