"""Join tokens of workers: ten minutes, one name, traded once, in memory only."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from vibehq_nb.core.errors import DeniedError
from vibehq_server.auth.secrets import JOIN_PREFIX, digest, make_credential

INVITE_SECONDS = 600.0
MAX_INVITES = 256


@dataclass(slots=True)
class Invite:
    """
    A join token that is out.

    Attributes:
        worker: The one name it is for.
        by: Who gave it out.
        expires: When it stops, by the clock of its keeper.
        is_used: Whether it was traded.
    """

    worker: str
    by: str
    expires: float
    is_used: bool = False


class Invites:
    """
    The join tokens of one server.

    Over 256 the oldest goes. Those that are over are kept as long as there is room,
    so that it can be told why one opens nothing.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Measure their ten minutes with *monotonic*."""
        self._monotonic = monotonic
        self._invites: OrderedDict[str, Invite] = OrderedDict()

    def mint(self, worker: str, by: str) -> str:
        """Return a token with which a worker may join once, as *worker* alone."""
        token = make_credential(JOIN_PREFIX)
        expires = self._monotonic() + INVITE_SECONDS
        self._invites[digest(token)] = Invite(worker, by, expires)
        while len(self._invites) > MAX_INVITES:
            self._invites.popitem(last=False)
        return token

    def take(self, token: str, worker: str) -> Invite:
        """
        Use up the invite of *token*; :meth:`give_back` undoes it.

        Raises:
            DeniedError: ``join-token``, with why it opens nothing.
        """
        invite = self._invites.get(digest(token))
        again = f"Ask for another one: vibehq worker invite {worker}"
        if invite is None:
            reason = f"This server knows no such join token. {again}"
        elif invite.is_used:
            reason = f"This join token was used already. {again}"
        elif invite.expires <= self._monotonic():
            reason = f"This join token has expired: it is good for 10 minutes. {again}"
        elif invite.worker != worker:
            reason = "This join token is for a worker of another name; check --id."
        else:
            invite.is_used = True
            return invite
        raise DeniedError("join-token", reason)

    def knows(self, token: str) -> bool:
        """Tell whether *token* was given out here, whatever became of it."""
        return digest(token) in self._invites

    def give_back(self, invite: Invite) -> None:
        """Let *invite* be used again: nothing came of it."""
        invite.is_used = False
