"""
The notebook facade: synchronous, one call one effect.

Every method runs a coroutine of ``async_hq`` on the client's own loop and waits for
it, so sockets stay alive while a cell computes. Interrupting a cell cancels what it
waits for: a command is sent ^C, a request for a decision is withdrawn.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from vibehq_nb.client import async_hq, display, loop
from vibehq_nb.client.async_hq import AsyncHQ, Me
from vibehq_nb.client.recording import Recording
from vibehq_nb.client.recordings import (
    RECORDING_COLUMNS,
    AsyncRecording,
    list_recordings,
)
from vibehq_nb.client.scans import Scan
from vibehq_nb.client.tables import findings_frame, plain_frame
from vibehq_nb.client.tasks import Task
from vibehq_nb.client.terminal import Terminal

if TYPE_CHECKING:
    import pandas

TERMINAL_COLUMNS = ("id", "worker", "target", "state", "cols", "rows", "writer")
WORKER_COLUMNS = ("id", "host", "online", "version")


def connect(url: str | None = None, token: str | None = None) -> "HQ":
    """
    Return the server this notebook belongs to.

    Args:
        url: Its address. Without one: ``VIBEHQ_URL``, then the Jupyter server that
            started this kernel.
        token: A grant's, to be whom that is for. Without one: ``VIBEHQ_TOKEN``, then
            what ``vibehq login`` keeps, then Jupyter's own.

    Raises:
        NoServerError: If there is none; the text says how to get one.
    """
    return HQ(loop.run(async_hq.connect(url, token)))


class HQ:
    """A server: its terminals, its scans, its approvals."""

    def __init__(self, hq: AsyncHQ) -> None:
        """Wrap a server that has answered; see :func:`connect`."""
        self._hq = hq

    @property
    def me(self) -> Me:
        """Who this notebook is on the server, and with which roles."""
        return self._hq.me

    def __repr__(self) -> str:
        """Return the same text on every machine."""
        return f"<vibehq server ({self._hq.me.mode})>"

    def terminal(
        self,
        target: str = "local",
        name: str | None = None,
        new: bool = False,
        worker: str | None = None,
    ) -> Terminal:
        """
        Open a terminal, or attach to the one that is there; it displays live.

        Args:
            target: One of the worker's providers and its object; every worker has
                ``local``, a shell on its host.
            name: Which of the worker's terminals; without one, its first, or the
                one called like the object.
            new: A terminal of its own.
            worker: Where, if several are there.
        """
        opened = loop.run(self._hq.terminal(target, name, new, worker))
        return Terminal(opened, self._hq.base)

    def terminals(self) -> "pandas.DataFrame":
        """Return every terminal there is, as a table."""
        return plain_frame(loop.run(self._hq.terminals()), TERMINAL_COLUMNS)

    def recordings(self) -> "pandas.DataFrame":
        """Return the recordings of all terminals, the newest first, as a table."""
        found = loop.run(list_recordings(self._hq.api))
        return plain_frame(found, RECORDING_COLUMNS)

    def recording(self, recording: str) -> Recording:
        """Return the recording with this id; it displays as a player."""
        found = loop.run(AsyncRecording.find(self._hq.api, recording))
        return Recording(found, self._hq.base)

    def workers(self) -> "pandas.DataFrame":
        """Return every worker the server knows, as a table."""
        return plain_frame(loop.run(self._hq.workers()), WORKER_COLUMNS)

    def scan(
        self,
        scope: str = "full",
        on: str | Sequence[str] = "*",
        kinds: Sequence[str] | None = None,
        logs: Sequence[str] | None = None,
        filters: dict[str, Any] | None = None,
        progress: bool = True,
        timeout: float | None = None,
    ) -> Scan:
        """
        Run a scan, show how far it is, and return what it found.

        Args:
            scope: ``full``, or ``incremental`` for what came since the last one.
            on: The workers it runs on; ``*`` for all.
            kinds: Only these kinds of detectors, such as ``["logs"]``.
            logs: These log files too.
            filters: Only findings that pass these, such as ``{"severity": ["high"]}``.
            progress: Whether to show a bar.
            timeout: Seconds; the scan itself has a deadline of its own.

        Raises:
            ScanFailedError: If it ends without a result.
        """
        bar = display.ProgressBar("scan") if progress else None
        work = self._hq.scan(
            scope,
            bar.report if bar else None,
            on=on,
            kinds=kinds,
            logs=logs,
            filters=filters,
        )
        try:
            return loop.run(work, timeout)
        finally:
            if bar is not None:
                bar.close()

    def findings(self, state: str | None = None) -> "pandas.DataFrame":
        """Return what is known now, over all scans, as a table."""
        return findings_frame(loop.run(self._hq.findings(state)))

    def resolve(self, finding: str, note: str) -> None:
        """Mark the finding with this id as resolved, with a note on what was done."""
        loop.run(self._hq.resolve(finding, note))

    def emit(self, name: str, payload: dict[str, Any] | None = None) -> None:
        """Tell everybody who watches of something: a deploy, a note."""
        loop.run(self._hq.emit(name, payload))

    def approvals(self) -> Any:
        """Return the requests that wait for a decision, as a live view."""
        views = display.views()
        if views is not None:
            return views.ApprovalView(base=self._hq.base)
        waiting = loop.run(self._hq.requests())
        return plain_frame(waiting, ("question", "risk", "requested_by", "expires_at"))

    def watch(self) -> Any:
        """Return the findings as a live view that follows every scan."""
        views = display.views()
        if views is not None:
            return views.FindingsView(base=self._hq.base)
        return self.findings()

    def task(
        self,
        name: str,
        key: str | None = None,
        terminals: Iterable[Terminal | str] = (),
    ) -> Task:
        """
        Return a piece of work with gates in it, for a ``with`` block.

        Args:
            name: What people see.
            key: Its id: the same key is the same task. The name if not given.
            terminals: What a review freezes.
        """
        ids = [item if isinstance(item, str) else item.id for item in terminals]
        return Task(self._hq.task(name, key, ids), self._hq.base)
