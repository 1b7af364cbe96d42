"""A shared terminal, as asynchronous code uses it; the one implementation of it."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from vibehq_nb.client.commands import CommandResult
from vibehq_nb.client.errors import (
    CommandFailedError,
    CommandTimeoutError,
    TerminalBusyError,
    TerminalEndedError,
    TerminalError,
)
from vibehq_nb.client.history import recent_output
from vibehq_nb.client.http import HttpApi
from vibehq_nb.client.replica import Output, TerminalEvent
from vibehq_nb.client.session import TerminalSession
from vibehq_nb.client.shell import Capture, typed_form
from vibehq_nb.client.static import StaticScreen
from vibehq_nb.core.errors import VibeError
from vibehq_nb.core.messages import Exited, Gap
from vibehq_nb.core.vt import plain_text

INTERRUPT = b"\x03"
PROMPT_SECONDS = 3.0
FIRST_MARK_SECONDS = 0.6
LOOK_AGAIN_SECONDS = 1.0


@dataclass
class _Heard(Capture):
    """A capture that listens to a session."""

    is_shell_gone: bool = False

    def hear(self, event: TerminalEvent) -> None:
        match event:
            case Output(content):
                self.feed(content)
            case Gap():
                self.lose()
            case Exited():
                self.is_shell_gone = True


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
        self._running = asyncio.Lock()

    @property
    def path(self) -> str:
        """Where the API keeps it."""
        return f"/api/terminals/{quote(self.id, safe=':')}"

    async def _call(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self.api.request, method, path, body)

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

    async def run(self, command: str, check: bool = True) -> CommandResult:
        """
        Type *command* into the shell, wait for its end, and return what came of it.

        Everybody who watches sees it. One command at a time: calls wait their turn.
        Cancelling it sends ^C.

        Raises:
            CommandFailedError: If its exit code is not 0, unless *check* is False.
            TerminalBusyError: If the shell is not at its prompt.
            NotWriterError: If somebody else is typing.
            TerminalEndedError: If the shell ends.
        """
        async with self._running:
            await self._ensure_idle()
            session = await self.attach()
            word = None if await self._marks(session) else secrets.token_hex(8)
            keys = typed_form(command, session.shell, word)
            result = await self._follow(session, command, keys, _Heard(word))
        if check and not result.ok:
            raise CommandFailedError(result, self.label)
        return result

    async def run_within(
        self, command: str, seconds: float | None, check: bool = True
    ) -> CommandResult:
        """
        Do as :meth:`run`, for at most *seconds*.

        Raises:
            CommandTimeoutError: When the time is over; the command was sent ^C.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self.run(command, check)
        except CommandTimeoutError:
            raise
        except TimeoutError:
            raise CommandTimeoutError(command, self.label, seconds or 0.0) from None

    async def foreground(self) -> dict[str, Any]:
        """Return what runs in the foreground: name, pid, since (seconds), is_shell."""
        found = await self._call("GET", self.path)
        if found.get("state") == "exited" or found.get("exited"):
            raise TerminalEndedError(f"The shell in {self.label} has ended.")
        return dict(found.get("foreground") or {})

    async def _is_idle(self) -> bool:
        return bool((await self.foreground()).get("is_shell", True))

    async def _ensure_idle(self) -> None:
        job = await self.foreground()
        if job.get("is_shell", True):
            return
        detail = await self._call("GET", self.path)
        raise TerminalBusyError(
            str(job.get("name") or "A program"),
            self.label,
            str(detail.get("writer") or ""),
            duration_text(job.get("since")),
        )

    async def _marks(self, session: TerminalSession) -> bool:
        """Tell whether the shell marks its commands, having waited for its prompt."""
        shell = session.shell
        position = session.replica.position
        if not shell.has_marks and position is not None:
            history = await recent_output(self.api.server, self.id, position)
            shell.recall(history)
            # A shell that printed nothing yet is still starting.
            patience = FIRST_MARK_SECONDS if history else PROMPT_SECONDS
            await session.until(lambda: shell.has_marks, patience)
        if not shell.has_marks:
            return False
        if not await session.until(lambda: shell.is_at_prompt, PROMPT_SECONDS):
            raise TerminalBusyError("A command of the shell", self.label, "", "")
        return True

    async def _follow(
        self, session: TerminalSession, command: str, keys: bytes, capture: _Heard
    ) -> CommandResult:
        was_free = session.replica.writer is None
        stop_listening = session.listen(capture.hear)
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            await session.type(keys)
            await self._await_end(session, capture)
        except asyncio.CancelledError:
            await self._interrupt(session)
            raise
        finally:
            stop_listening()
        seconds = clock() - started
        if was_free:
            session.give_back()
        output = plain_text(capture.output).rstrip("\n")
        return CommandResult(
            command, capture.exit_code, output, seconds, self.label, capture.is_cut
        )

    async def _await_end(self, session: TerminalSession, capture: _Heard) -> None:
        while True:
            done = await session.until(
                lambda: capture.has_ended or capture.is_shell_gone, LOOK_AGAIN_SECONDS
            )
            if capture.is_shell_gone:
                raise TerminalEndedError(
                    f"The shell in {self.label} ended while the command ran."
                )
            # Output may hold a mark of its own: the end is the shell's only when the
            # shell is back. After a gap, its being back is all there is to go by.
            if (done or capture.is_cut) and await self._is_idle():
                return
            capture.go_on()

    async def _interrupt(self, session: TerminalSession) -> None:
        try:
            await session.type(INTERRUPT)
        except VibeError:
            return  # the terminal is gone or somebody else's by now

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


def duration_text(seconds: object) -> str:
    """Return *seconds* as ``mm:ss`` or ``h:mm:ss``; nothing if they are no number."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return ""
    hours, rest = divmod(max(int(seconds), 0), 3600)
    minutes = f"{rest // 60:02d}:{rest % 60:02d}"
    return f"{hours}:{minutes}" if hours else minutes
