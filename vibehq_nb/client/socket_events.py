"""What a socket tells, to whom, and what the end of a link means."""

import logging
from collections.abc import Callable

from vibehq_nb.client.errors import QueueFullError, RefusedError
from vibehq_nb.client.link import CloseEvent
from vibehq_nb.client.socket_options import Settings

logger = logging.getLogger(__name__)

FINAL_CLOSE = 4500
FINAL_STATUSES = frozenset({401, 403})


class Teller:
    """Calls a socket's callbacks; a mistake of theirs is logged and costs no link."""

    def __init__(self, settings: Settings) -> None:
        """Tell the callbacks of *settings*."""
        self.name = "socket"
        self._settings = settings

    def opened(self) -> None:
        """Tell that the link is up."""
        self.log("open")
        self.tell(self._settings.on_open)

    def message(self, message: str | bytes) -> None:
        """Tell a message."""
        self.tell(self._settings.on_message, message)

    def closed(self, event: CloseEvent) -> None:
        """Tell that a link is lost, or a try failed."""
        self.log("closed with %s", event.code)
        self.tell(self._settings.on_close, event)

    def failed(self, error: Exception) -> None:
        """Tell what went wrong; a message that was not taken is never passed over."""
        if self._settings.on_error is None and isinstance(error, QueueFullError):
            logger.warning("%s: %s", self.name, error)
        self.tell(self._settings.on_error, error)

    def broke(self, error: BaseException) -> None:
        """Log a mistake of the socket itself, with its trace."""
        logger.error("%s: the socket broke", self.name, exc_info=error)

    def log(self, text: str, *values: object) -> None:
        """Log a step: at DEBUG, or at INFO if ``debug`` is on."""
        level = logging.INFO if self._settings.debug else logging.DEBUG
        logger.log(level, "%s: %s", self.name, text % values)

    def should_reconnect(self, event: CloseEvent) -> bool:
        """Tell whether a try follows *event*: the caller's rule, or ours."""
        decide = self._settings.should_reconnect_on_close
        if decide is None:
            return event.code < FINAL_CLOSE and event.status not in FINAL_STATUSES
        try:
            return decide(event)
        except Exception:
            logger.exception("%s: should_reconnect_on_close failed", self.name)
            return True

    def refusal(self, event: CloseEvent) -> RefusedError | None:
        """Return the final error for *event*; None if ending was the caller's rule."""
        if self._settings.should_reconnect_on_close is not None:
            return None
        if event.status:
            return RefusedError(
                event.status,
                f"{self.name} was refused ({event.status}): the credentials do not "
                "reach it.",
            )
        reason = event.reason or "it gave no reason"
        return RefusedError(
            event.code, f"{self.name} closed the socket ({event.code}): {reason}."
        )

    def tell(self, hear: Callable[..., object] | None, *what: object) -> None:
        """Call *hear* with *what*, if there is such a callback."""
        if hear is None:
            return
        try:
            hear(*what)
        except Exception:
            # The log has the trace.
            logger.exception("%s: a callback failed", self.name)
