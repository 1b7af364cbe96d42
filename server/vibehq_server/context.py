"""What every handler can reach: the hub, the settings, the judge of credentials."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vibehq_server.auth.authenticator import Authenticator

if TYPE_CHECKING:
    from collections.abc import Callable

    from vibehq_server.hub import Hub
    from vibehq_server.requests import Response
    from vibehq_server.settings import Settings


BUILT_IN_PREFIX = "parties"


def _answer_as_usual(_error: BaseException) -> None:
    return None


@dataclass(slots=True)
class ServerContext:
    """
    One server's parts, as the handlers see them.

    Attributes:
        hub: The rooms.
        settings: The values fixed at start.
        auth: Judges Host, Origin and credentials.
        base_path: What stands before every path of ours: ``""`` standalone,
            ``/user/bob/vibehq`` embedded.
        mode: Which of the two it is.
        on_error: Asked for another answer to a failure than 500 and a reference.
        prefix: What stands before the party in the address of a user's room.
    """

    hub: "Hub"
    settings: "Settings"
    auth: Authenticator
    base_path: str = ""
    mode: Literal["embedded", "standalone"] = "standalone"
    prefix: str = BUILT_IN_PREFIX
    on_error: "Callable[[BaseException], Response | None]" = _answer_as_usual
