"""A shared terminal, as asynchronous code uses it; the one implementation of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from vibehq_nb.client.commands import CommandResult
from vibehq_nb.client.errors import TerminalError
from vibehq_nb.client.history import recent_output
from vibehq_nb.client.http import HttpApi
from vibehq_nb.client.runner import Runner
from vibehq_nb.client.session import TerminalSession
from vibehq_nb.client.static import StaticScreen
from vibehq_nb.core.ids import Position


class AsyncTerminal:
    """
    One shared terminal.

    Attributes:
        id: Its room.
        target: What it is attached to: ``local``, ``docker:web-1`` …
        label: How messages for people call it.
    """

    def __init__(self, api: HttpApi, terminal: str, target: str = "local") -> None:
        """Refer to *terminal*; nothing is dialled before it is needed."""
        self.id, self.target = terminal, target
        self.label = terminal if target == "local" else target.partition(":")[2]
        self.label = self.label or terminal
        self.api = api
        self._session: TerminalSession | None = None
        self._runner = Runner(
            self.label, self.attach, self._inspect, self.commands, self._history
        )

    @property
    def path(self) -> str:
        """Where the API keeps it."""
        return f"/api/terminals/{quote(self.id, safe=':')}"

    async def _call(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self.api.request, method, path, body)

    async def _history(self, before: Position) -> bytes:
        return await recent_output(self.api.server, self.id, before)

    async def _inspect(self) -> dict[str, Any]:
        return dict(await self._call("GET", self.path))

    async def attach(self) -> TerminalSession:
        """
        Return the session of this kernel, whose copy is caught up.

        Raises:
            VibeError: If the terminal cannot be viewed.
        """
        session = self._session
        if session is None or session.failure is not None:
            if session is not None:
                await session.close()
            session = TerminalSession(self.api.server, self.id, self.label)
            self._session = session
            await session.__aenter__()
        await session.caught_up()
        return session

    async def detach(self) -> None:
        """Leave the terminal; it runs on."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def run(
        self, command: str, timeout: float | None = 60.0, check: bool = True
    ) -> CommandResult:
        """
        Type *command* into the shell, wait for its end, and return what came of it.

        Everybody who watches sees it. One command at a time: calls wait their turn.
        Cancelling it sends ^C; after *timeout* seconds it runs on.

        Raises:
            CommandFailedError: If its exit code is not 0, unless *check* is False.
            CommandTimeoutError: If it takes longer than *timeout*.
            TerminalBusyError: If the shell is not at its prompt.
            NotWriterError: If somebody else is typing.
            TerminalEndedError: If the shell ends.
        """
        return await self._runner.run(command, timeout, check)

    async def commands(self, limit: int = 100) -> list[dict[str, Any]]:
        """
        Return the last *limit* commands that ran here, the newest last.

        Each has ``number``, ``started_at``, ``user``, ``command``, ``exit_code``,
        ``duration_s``, ``cwd``, ``output_start``, ``output_end``, ``epoch`` and
        ``state``: ended, running or unknown.
        """
        found = await self._call("GET", f"{self.path}/commands?limit={limit}")
        return list(found["commands"])

    async def foreground(self) -> dict[str, Any]:
        """Return what runs in the foreground: name, pid, since (seconds), is_shell."""
        return await self._runner.foreground()

    async def send(self, text: str | bytes) -> None:
        r"""
        Type *text* as it is; ``"\r"`` is Enter.

        Raises:
            NotWriterError: If somebody else is typing; nothing was typed.
        """
        session = await self.attach()
        await session.type(text.encode() if isinstance(text, str) else text)

    async def screen(self) -> str:
        """Return the screen as text, without trailing blanks."""
        return (await self.static()).text

    async def static(self) -> StaticScreen:
        """Return the screen as it is now, for a notebook to keep."""
        session = await self.attach()
        if session.screen is None:
            raise TerminalError(f"{self.label} has sent no screen yet.")
        lines = [line.rstrip() for line in session.screen.text().splitlines()]
        text = "\n".join(lines).rstrip("\n")
        return StaticScreen(self.label, text, session.screen.html())

    async def members(self) -> list[dict[str, Any]]:
        """Return who watches: each user with its roles and number of connections."""
        path = f"/api/rooms/terminal/{quote(self.id, safe=':@')}"
        found: dict[str, dict[str, Any]] = {}
        for one in (await self._call("GET", path))["open"]:
            if one["kind"] != "worker":
                nobody = {"user": one["user"], "roles": one["roles"], "connections": 0}
                found.setdefault(one["user"], nobody)["connections"] += 1
        return [found[user] for user in sorted(found)]

    @contextlib.asynccontextmanager
    async def offline(self) -> AsyncIterator[None]:
        """
        Cut the link for the block, as a broken network does; what runs goes on.

        At its end the link is back, and the copy holds all that was printed meanwhile,
        or a stated gap.
        """
        session = await self.attach()
        session.link.abort()
        try:
            yield
        finally:
            session.link.reconnect()
            await session.caught_up()

    async def take_control(self) -> None:
        """Take the input lease, whoever holds it; that one is told."""
        await self._call("POST", f"{self.path}/writer", {"action": "take"})

    async def give_control(self, to: str | None = None) -> None:
        """
        Give the input lease back, or to somebody who is watching.

        Raises:
            ApiError: ``not-here`` if that user may not type here now.
        """
        body = {"action": "give"} | ({"to": to} if to else {})
        await self._call("POST", f"{self.path}/writer", body)

    async def size_policy(
        self, policy: str, cols: int | None = None, rows: int | None = None
    ) -> None:
        """Say who decides the size: ``writer``, ``smallest``, or ``fixed`` at one."""
        size = {"cols": cols, "rows": rows}
        body = {"policy": policy} | {name: n for name, n in size.items() if n}
        await self._call("POST", f"{self.path}/size", body)

    async def log(self) -> list[dict[str, Any]]:
        """Return what the log beside the bytes holds: who typed when, sizes, more."""
        found: list[dict[str, Any]] = []
        after, is_end = 0, False
        while not is_end:
            path = f"{self.path}/log?after={after}&limit=1000"
            page = await self._call("GET", path)
            for entry in page["entries"]:
                shown = {name: entry[name] for name in ("offset", "at", "type")}
                found.append({**entry["body"], **shown})
            after, is_end = page["next"], page["is_end"]
        return found

    async def freeze(self) -> None:
        """Stop every process of the terminal; it takes no keys until it thaws."""
        await self._call("POST", f"{self.path}/freeze")

    async def thaw(self) -> None:
        """Let the processes of the terminal go on."""
        await self._call("POST", f"{self.path}/thaw")

    async def signal(self, name: str) -> None:
        """Send a signal (``INT``, ``TERM`` …) to the job in the foreground."""
        await self._call("POST", f"{self.path}/signal", {"signal": name})

    async def close(self) -> None:
        """End the terminal for everybody: hang up, then terminate, then kill."""
        await self.detach()
        await self._call("DELETE", self.path)
