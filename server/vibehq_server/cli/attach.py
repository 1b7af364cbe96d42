"""``vibehq terminal attach``: this terminal's keys and screen for a remote one."""

import asyncio
import signal
import sys
import tty
from collections.abc import Callable

from vibehq_nb.client.errors import RefusedError
from vibehq_nb.client.http import Server
from vibehq_nb.client.replica import Output, Redraw, TerminalEvent
from vibehq_nb.client.session import TerminalSession
from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.messages import (
    Connected,
    ContainerDisconnected,
    Exited,
    Gap,
    Message,
    Resize,
    Title,
    Writer,
)
from vibehq_nb.core.roles import Role
from vibehq_server.cli.keyboard import CtrlKey
from vibehq_server.cli.local_screen import LocalScreen, raw_keyboard
from vibehq_server.cli.output import complain
from vibehq_server.cli.typist import Typist

NOTICE_SECONDS = 3.0


def check_here() -> None:
    """
    Refuse to attach without a terminal.

    Raises:
        UsageError: If standard input or output is none.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "attach needs a terminal to type in and to show what comes; programs use "
            "term.run() of the Python client"
        )


def attach_here(
    server: Server, terminal: str, leave: CtrlKey, is_read_only: bool
) -> int:
    """
    Join *terminal* until *leave* is pressed; the remote program is not touched by it.

    Returns the shell's exit code, or 128 and the number of the signal that ended it;
    0 if it runs on.

    Raises:
        UsageError: If standard input or output is no terminal.
        RefusedError: If the server refuses.
    """
    check_here()
    what = "watching" if is_read_only else "attached to"
    complain(f"{what} {terminal}; {leave.name} leaves it running")
    with raw_keyboard():
        ended = asyncio.run(Attachment(server, terminal, leave, is_read_only).run())
    if ended is None:
        complain(f"{terminal} runs on")
        return 0
    code, how = exit_code_of(ended)
    complain(f"{terminal} ended {how}")
    return code


def exit_code_of(ended: Exited) -> tuple[int, str]:
    """Return the exit code that stands for how a shell ended, and that in words."""
    if ended.code is None and ended.signal is None:
        return 1, "with its worker; how is not known"
    if ended.signal is None:
        return ended.code or 0, f"with code {ended.code}"
    number = int(getattr(signal, f"SIG{ended.signal}", 0))
    return 128 + number, f"by signal {ended.signal}"


class Attachment:
    """One remote terminal, shown and typed into here; it comes back by itself."""

    def __init__(
        self, server: Server, terminal: str, leave: CtrlKey, is_read_only: bool
    ) -> None:
        """Prepare; nothing is dialled yet."""
        self._session = TerminalSession(server, terminal)
        self._here = LocalScreen(self._keyframe)
        self._typist = Typist(self._session, leave, self._say, self._leave)
        self._typist.is_read_only = is_read_only
        self._was_lost = False
        self._writer: str | None = None
        self._standing = ""  # what is said until something else is true
        self._notice_timer: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[Exited | None]

    async def run(self) -> Exited | None:
        """
        Show it until its shell ends, which is returned, or until one leaves.

        Raises:
            RefusedError: If the server refuses this for good.
        """
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        for number, act in self._signals().items():
            loop.add_signal_handler(number, act)
        self._session.on_link = self._linked
        self._session.listen(self._show)
        typing = asyncio.create_task(self._typist.run())
        try:
            async with self._session:
                return await self._ended
        finally:
            typing.cancel()
            await asyncio.wait([typing])
            self._stand("")  # what is left here is the terminal's alone

    def _signals(self) -> dict[int, Callable[[], None]]:
        leaving = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
        return {
            signal.SIGWINCH: self._report_size,
            signal.SIGCONT: self._wake,
            **dict.fromkeys(leaving, self._leave),
        }

    def _leave(self, ended: Exited | None = None) -> None:
        if not self._ended.done():
            self._ended.set_result(ended)

    def _keyframe(self) -> bytes:
        screen = self._session.screen
        return b"" if screen is None or screen.kind != "vt" else screen.keyframe(0)

    # What the server says

    def _linked(self, error: RefusedError | None) -> None:
        self._was_lost = True
        if error is None:
            self._stand("the connection is lost; trying again")
        elif not self._ended.done():
            self._ended.set_exception(error)

    def _show(self, event: TerminalEvent) -> None:
        match event:
            case Output(content):
                self._here.write(content)
            case Redraw(content):
                self._here.paint(content)
            case Connected():
                self._greet(event)
            case Exited():
                self._leave(event)
            case _:
                self._note(event)

    def _note(self, message: Message) -> None:
        match message:
            case Gap(from_=start, to=end, reason=reason):
                self._say(f"{end - start} bytes were skipped: {reason}")
            case Title(text=text):
                self._here.set_title(text)
            case ContainerDisconnected(worker=worker):
                self._stand(f"worker {worker} is away; what runs there may run on")
            case Writer(user=user):
                self._note_writer(user)

    def _note_writer(self, user: str | None) -> None:
        before, self._writer = self._writer, user
        if user not in (None, self._typist.me):
            self._say(f"{user} types here now")
        elif user is not None and before is not None:
            self._say("you type here now")

    def _greet(self, connected: Connected) -> None:
        standing = {
            "waiting": "the worker is away; waiting for it",
            "frozen": "frozen: it takes no keys until it thaws",
        }
        state = "waiting" if connected.resume == "waiting" else str(connected.state)
        had_notice = bool(self._standing)
        self._stand(standing.get(state, ""))
        if connected.resume == "reset":
            self._say("the shell that was here is gone; this is another one")
        elif state == "running" and had_notice:
            self._say("connected again" if self._was_lost else "it goes on")
        self._writer = connected.writer or None
        self._was_lost &= state == "waiting"
        self._typist.is_read_only |= Role.OPERATOR not in connected.roles
        self._report_size()

    # What this terminal says

    def _stand(self, text: str) -> None:
        self._standing = text
        self._say("")

    def _say(self, text: str) -> None:
        """Show *text* for some seconds; then, or for none, what stands."""
        if self._notice_timer is not None:
            self._notice_timer.cancel()
            self._notice_timer = None
        self._here.say(text or self._standing)
        if text:
            loop = asyncio.get_running_loop()
            self._notice_timer = loop.call_later(NOTICE_SECONDS, self._say, "")

    def _report_size(self) -> None:
        # Whose size counts is decided by the room.
        if not self._typist.is_read_only:
            cols, rows = self._here.size
            self._session.send(Resize(cols=cols, rows=rows))

    def _wake(self) -> None:
        # Whoever stopped this program took the keyboard's modes along.
        tty.setraw(sys.stdin.fileno())
        self._report_size()
        self._here.repaint()
