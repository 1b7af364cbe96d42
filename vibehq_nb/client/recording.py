"""A recording of a terminal, as a notebook uses it."""

import html
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from vibehq_nb.client import display, loop
from vibehq_nb.client.recordings import AsyncRecording
from vibehq_nb.client.static import StaticScreen, screen_html
from vibehq_nb.client.tables import plain_frame
from vibehq_nb.core.errors import UsageError, VibeError

if TYPE_CHECKING:
    import pandas

COMMAND_COLUMNS = ("number", "time", "command", "exit_code", "seconds")


class Recording:
    """
    One recording; displays as a player, and as its last screen in a saved notebook.

    Attributes:
        id: Its name on the server.
        terminal: What was recorded.
    """

    def __init__(self, recording: AsyncRecording, base: str = "") -> None:
        """Wrap a recording; see :meth:`vibehq_nb.client.terminal.Terminal.record`."""
        self.id, self.terminal = recording.id, recording.terminal
        self._recording = recording
        self._base = base

    def __repr__(self) -> str:
        """Return the same text at every run."""
        return f"<recording of {self.terminal}>"

    def __enter__(self) -> Self:
        """Record."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Stop."""
        self.stop()

    def stop(self) -> None:
        """End it; does nothing if it has ended."""
        loop.run(self._recording.stop())

    def export(self, path: str | os.PathLike[str], version: int = 3) -> Path:
        """
        Write it to *path* as an asciicast, for ``asciinema play``; return the path.

        Args:
            path: The file, such as ``incident.cast``.
            version: 3, or 2 for programs that know no other.
        """
        return loop.run(self._recording.export(path, version))

    def commands(self) -> "pandas.DataFrame":
        """Return the commands in it, as a table: when, what, and their exit codes."""
        found = loop.run(self._recording.describe())["commands"]
        return plain_frame(found, COMMAND_COLUMNS)

    def describe(self) -> dict[str, Any]:
        """Return all that is known of it: times, commands, gaps, segments."""
        return loop.run(self._recording.describe())

    def verify(self) -> bool:
        """Tell whether every segment is still what was hashed when it was written."""
        return loop.run(self._recording.verify())

    def pin(self, reason: str = "") -> None:
        """Keep it for good, not only for the server's 30 days."""
        loop.run(self._recording.pin(reason))

    def unpin(self) -> None:
        """Let it go when it is old."""
        loop.run(self._recording.unpin())

    def static(self) -> StaticScreen:
        """Return its last screen, for a saved notebook to keep."""
        return loop.run(self._recording.static())

    def replay(self, height: int = 0) -> Any:
        """
        Return a player, *height* pixels high (0: as its rows need).

        Space pauses, the arrow keys seek, N and P jump to the next and the previous
        command.

        Raises:
            UsageError: If anywidget is not installed.
        """
        views = display.views()
        if views is None:
            raise UsageError('Views need anywidget: pip install "vibehq-nb[lab]".')
        return views.RecordingView(
            recording=self.id,
            title=repr(self),
            base=self._base,
            height=height,
            snapshot=self._still(),
        )

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if display.views() is not None and display.in_notebook():
            return self.replay()._repr_mimebundle_(**options)
        return {"text/html": self._still(), "text/plain": repr(self)}

    def _still(self) -> str:
        """Return its last screen as HTML, or its name where there is none."""
        try:
            return self.static()._repr_html_()
        except VibeError:
            return screen_html(html.escape(repr(self)))
