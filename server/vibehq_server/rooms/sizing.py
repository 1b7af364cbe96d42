"""The size of one terminal: who asked for which, and what the worker is told."""

import asyncio
from collections.abc import Callable

from vibehq_nb.core.sizes import COALESCE_SECONDS, Report, SizePolicy, Sizing
from vibehq_server.rooms.uplink import Uplink
from vibehq_server.rooms.viewer import Viewer


class Sizes:
    """
    Passes on the size that the policy decides, a burst of them as its last.

    Args:
        uplink: Where sizes go.
        writer: Returns who holds the input lease.
    """

    def __init__(self, uplink: Uplink, writer: Callable[[], str | None]) -> None:
        """Begin with the writer's screen deciding."""
        self._uplink = uplink
        self._writer = writer
        self._sizing = Sizing()
        self._asked_at = float("-inf")
        self._asking: asyncio.TimerHandle | None = None

    @property
    def policy(self) -> SizePolicy:
        """Who decides."""
        return self._sizing.policy

    def set_policy(self, policy: SizePolicy) -> None:
        """Let *policy* decide from now on."""
        self._sizing.policy = policy
        self.decide()

    def recall(self, policy: SizePolicy) -> None:
        """Take over the policy from before a restart."""
        self._sizing.policy = policy

    def report(self, viewer: Viewer, cols: int, rows: int, is_hidden: bool) -> None:
        """Note what fits the screen of *viewer*; a hidden one does not count."""
        if is_hidden:
            self.forget(viewer)
            return
        user = viewer.connection.identity.user
        # By its connection: the one before it of the same session closes later.
        self._sizing.report(viewer.connection, Report(user, cols, rows))
        self.decide()

    def forget(self, viewer: Viewer) -> None:
        """Let the screen of *viewer* count no more."""
        self._sizing.withdraw(viewer.connection)
        if self._sizing.policy.kind == "smallest":
            self.decide()

    def decide(self) -> None:
        """Ask the worker for the size that the policy wants, now or in a moment."""
        if self._asking is not None:
            return
        loop = asyncio.get_running_loop()
        due = self._asked_at + COALESCE_SECONDS - loop.time()
        if due <= 0:
            self._ask()
        else:
            self._asking = loop.call_later(due, self._ask)

    def _ask(self) -> None:
        self.stop()
        wanted = self._sizing.wanted(self._writer())
        size = self._uplink.stream.size
        if wanted is None or wanted == (size.cols, size.rows):
            return
        self._asked_at = asyncio.get_running_loop().time()
        self._uplink.resize(*wanted)

    def stop(self) -> None:
        """Pass nothing on any more."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
