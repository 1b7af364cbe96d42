"""Who types into a terminal, and whose screen decides its size."""

import logging
from collections.abc import Callable

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.lease import Lease
from vibehq_nb.core.messages import Writer
from vibehq_server.rooms.uplink import Uplink
from vibehq_server.rooms.viewer import Viewer

logger = logging.getLogger(__name__)


class Writing:
    """
    The input lease of one terminal, and the size its holder wants.

    Args:
        uplink: Where keystrokes and sizes go.
        clock: Seconds since 1970.
        on_change: Called when the lease has passed to somebody else.
    """

    def __init__(
        self, uplink: Uplink, clock: Callable[[], float], on_change: Callable[[], None]
    ) -> None:
        """Begin with the lease free."""
        self._uplink = uplink
        self._clock = clock
        self._on_change = on_change
        self._lease = Lease()

    @property
    def writer(self) -> str | None:
        """Who holds the lease, or None when it is free."""
        return self._lease.writer(self._clock())

    def as_message(self) -> Writer:
        """Return what viewers are told of the lease."""
        now = self._clock()
        user = self._lease.writer(now)
        return Writer(user=user, idle_seconds=round(self._lease.idle_seconds(now), 1))

    def expire(self) -> None:
        """Notice a lease that nobody has renewed."""
        if self._lease.holder != self.writer:
            self._on_change()

    def type(self, viewer: Viewer, data: bytes) -> None:
        """
        Pass on what *viewer* typed; typing takes a free lease.

        Raises:
            DeniedError: ``not-writer``, ``no-worker`` or ``exited``; nothing was typed.
        """
        user, before = viewer.connection.identity.user, self.writer
        if before not in (None, user):
            idle = self._lease.idle_seconds(self._clock())
            text = f"{before} is typing here ({idle:.0f} s ago); nothing was typed."
            raise DeniedError("not-writer", text)
        self._uplink.type(viewer.session, viewer.input_offset, data)
        viewer.input_offset += len(data)
        self._lease.type(user, self._clock())
        if before != user:
            self.resize(viewer)
            self._on_change()

    def set_writer(self, user: str, action: str) -> None:
        """Take the lease for *user*, or give it back, as *action* says."""
        if action == "take":
            lost = self._lease.take(user, self._clock())
            if lost is not None:
                logger.info("%s took the input lease from %s", user, lost)
        elif not self._lease.give(user):
            return
        self._on_change()

    def resize(self, viewer: Viewer) -> None:
        """Pass on a wish for a size: the writer's, or any operator's while free."""
        if viewer.cols and self.writer in (None, viewer.connection.identity.user):
            self._uplink.resize(viewer.cols, viewer.rows)
