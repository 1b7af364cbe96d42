"""A shared terminal, as a notebook uses it."""

import contextlib
import html
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vibehq_nb.client import display, loop
from vibehq_nb.client.commands import CommandResult
from vibehq_nb.client.recording import Recording
from vibehq_nb.client.recordings import (
    RECORDING_COLUMNS,
    AsyncRecording,
    list_recordings,
)
from vibehq_nb.client.static import StaticScreen, screen_html
from vibehq_nb.client.tables import commands_frame, log_frame, plain_frame
from vibehq_nb.client.terminals import AsyncTerminal
from vibehq_nb.core.errors import UsageError, VibeError

if TYPE_CHECKING:
    import pandas

MEMBER_COLUMNS = ("user", "roles", "connections")


class Terminal:
    """
    One shared terminal; displays live, and as its last screen in a saved notebook.

    Attributes:
        id: Its room.
        target: What it is attached to.
    """

    def __init__(self, terminal: AsyncTerminal, base: str = "") -> None:
        """Wrap a terminal that is open; see :meth:`vibehq_nb.HQ.terminal`."""
        self.id, self.target = terminal.id, terminal.target
        self._terminal = terminal
        self._base = base
        # A cell that runs again drops the old object: its socket goes with it.
        weakref.finalize(self, _leave, terminal).atexit = False

    def __repr__(self) -> str:
        """Return the same text at every run."""
        return f"<terminal {self.id} ({self.target})>"

    def run(
        self, command: str, timeout: float | None = 60.0, check: bool = True
    ) -> CommandResult:
        """
        Type *command* into the shell for all to see, and return what came of it.

        Args:
            command: One line or several.
            timeout: Seconds to wait for its end; None to wait for good. It runs on
                after that; interrupting the cell sends it ^C.
            check: Whether an exit code other than 0 is an error.

        Raises:
            CommandFailedError: If its exit code is not 0, unless *check* is False.
            CommandTimeoutError: If it takes longer than *timeout*.
            TerminalBusyError: If a program runs in the foreground.
            NotWriterError: If somebody else is typing.
        """
        return loop.run(self._terminal.run(command, timeout, check))

    def commands(self, limit: int = 100) -> "pandas.DataFrame":
        """
        Return the last *limit* commands that ran here, by anybody, as a table.

        The newest last, with the columns of
        :data:`~vibehq_nb.client.tables.COMMAND_COLUMNS`. ``output_start`` and
        ``output_end`` are places in the terminal's bytes.
        """
        return commands_frame(loop.run(self._terminal.commands(limit)))

    def send(self, text: str) -> None:
        r"""Type *text* as it is; ``"\r"`` is Enter, ``"\x03"`` is ^C."""
        loop.run(self._terminal.send(text))

    def screen(self) -> str:
        """Return the screen as text, without trailing blanks."""
        return loop.run(self._terminal.screen())

    def static(self) -> StaticScreen:
        """Return the screen as it is now, for a saved notebook to keep."""
        return loop.run(self._terminal.static())

    def members(self) -> "pandas.DataFrame":
        """Return who watches: user, roles, and over how many connections."""
        return plain_frame(loop.run(self._terminal.members()), MEMBER_COLUMNS)

    @contextlib.contextmanager
    def offline(self) -> Iterator[None]:
        """
        Cut this notebook's link for the block, as a broken network does.

        What runs goes on. At the end of the block all that was printed meanwhile is
        here, or a stated gap.
        """
        away = self._terminal.offline()
        loop.run(away.__aenter__())
        try:
            yield
        finally:
            loop.run(away.__aexit__(None, None, None))

    def take_control(self) -> None:
        """Take the keyboard from whoever has it; that one is told."""
        loop.run(self._terminal.take_control())

    def give_control(self, to: str | None = None) -> None:
        """Give the keyboard back, or to somebody who is watching."""
        loop.run(self._terminal.give_control(to))

    def size_policy(
        self, policy: str, cols: int | None = None, rows: int | None = None
    ) -> None:
        """Say who decides the size: ``writer``, ``smallest``, or ``fixed`` at one."""
        loop.run(self._terminal.size_policy(policy, cols, rows))

    def log(self) -> "pandas.DataFrame":
        """Return who typed when, who held the keyboard, sizes: never what was typed."""
        return log_frame(loop.run(self._terminal.log()))

    def record(self) -> Recording:
        """
        Record the output from now on, for all to see; keys are never recorded.

        Use it in a ``with`` block, or call its ``stop()``. A recording that runs
        already goes on, and this is it.
        """
        started = loop.run(AsyncRecording.start(self._terminal.api, self.id))
        return Recording(started, self._base)

    def recordings(self) -> "pandas.DataFrame":
        """Return this terminal's recordings, the newest first, as a table."""
        found = loop.run(list_recordings(self._terminal.api, self.id))
        return plain_frame(found, RECORDING_COLUMNS)

    def signal(self, name: str = "INT") -> None:
        """Send a signal to the job in the foreground."""
        loop.run(self._terminal.signal(name))

    def freeze(self) -> None:
        """Stop every process of the terminal; it takes no keys until it thaws."""
        loop.run(self._terminal.freeze())

    def thaw(self) -> None:
        """Let the processes of the terminal go on."""
        loop.run(self._terminal.thaw())

    def detach(self) -> None:
        """Leave the terminal; it runs on."""
        loop.run(self._terminal.detach())

    def close(self) -> None:
        """End the terminal for everybody."""
        loop.run(self._terminal.close())

    def view(self, height: int = 0) -> Any:
        """
        Return a live view, *height* pixels high (0: as its rows need).

        Raises:
            UsageError: If anywidget is not installed.
        """
        views = display.views()
        if views is None:
            raise UsageError('Views need anywidget: pip install "vibehq-nb[lab]".')
        return views.TerminalView(
            terminal=self.id,
            title=repr(self),
            base=self._base,
            height=height,
            snapshot=self._still(),
        )

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if display.views() is not None and display.in_notebook():
            return self.view()._repr_mimebundle_(**options)
        return {"text/html": self._still(), "text/plain": repr(self)}

    def _still(self) -> str:
        """Return the screen as HTML, or its name where there is none to be had."""
        try:
            return self.static()._repr_html_()
        except VibeError:
            return screen_html(html.escape(repr(self)))


def _leave(terminal: AsyncTerminal) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is gone already
        loop.shared().submit(terminal.detach())
