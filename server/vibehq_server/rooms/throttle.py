"""The worker's credit: held back while the one who types is behind."""

import asyncio
from collections.abc import Callable

from vibehq_server.rooms.uplink import Uplink
from vibehq_server.rooms.viewer import Viewer


class Throttle:
    """
    Lets the worker send on, unless the viewer of whoever types has to catch up.

    Without credit the worker stops reading and the kernel blocks the program, so that
    this viewer gets every byte and ^C is seen at once. All others are served from the
    ring as ever. See :class:`vibehq_nb.core.credit.Pace` for how long it is waited for.
    """

    def __init__(
        self,
        uplink: Uplink,
        find_driver: Callable[[], Viewer | None],
        clock: Callable[[], float],
    ) -> None:
        """Hold back the credit of *uplink*; *clock* is seconds that never go back."""
        self._uplink = uplink
        self._find_driver = find_driver
        self._clock = clock
        self._awaited: Viewer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def update(self) -> None:
        """Grant credit or hold it back, and look again when that may have changed."""
        if self._is_over:
            return
        driver = self._find_driver()
        head, now = self._uplink.stream.head, self._clock()
        patience = 0.0 if driver is None else driver.pace.patience(head, now)
        self._await(driver if patience else None)
        if not patience:
            self._uplink.grant()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(patience, self._look_again)

    def stop(self) -> None:
        """Look no more: the room ends."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()

    def _await(self, viewer: Viewer | None) -> None:
        if self._awaited is not None:
            self._awaited.is_awaited = False
        if viewer is not None:
            viewer.is_awaited = True
        self._awaited = viewer

    def _look_again(self) -> None:
        self._timer = None
        self.update()
