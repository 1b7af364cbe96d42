"""``/api/workers/…``: a worker is invited, joins with its token, and is stopped."""

from typing import Annotated

import msgspec
from msgspec import Meta

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import StopWorker
from vibehq_nb.core.roles import Role
from vibehq_server.api.base import ApiHandler
from vibehq_server.api.grants import give, worker_rooms
from vibehq_server.auth.invites import INVITE_SECONDS
from vibehq_server.auth.secrets import MAX_CREDENTIAL
from vibehq_server.auth.store import WORKER_KEY_SECONDS
from vibehq_server.rooms.grants import note
from vibehq_server.settings import LOOPBACK

WorkerName = Annotated[str, Meta(max_length=64, pattern=r"\A[A-Za-z0-9._-]+\Z")]


class AskInvite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An invitation for one worker."""

    worker: WorkerName


class InvitesHandler(ApiHandler):
    """``POST /api/workers/invites``: a token with which one worker joins once."""

    async def post(self) -> None:
        """Make one; it is noted before it opens anything, and shown this once."""
        self.require(Role.ADMIN)
        asked = self.decode_body(AskInvite)
        by = self.identity.user
        data = {"worker": asked.worker, "expires_in": INVITE_SECONDS}
        await note(self.context.hub, "worker-invited", by, data)
        token = self.context.auth.invites.mint(asked.worker, by)
        self.answer({**data, "token": token, "url": self._outside_url()}, 201)

    def _outside_url(self) -> str | None:
        """Return how other hosts reach this server, as far as it knows."""
        settings = self.context.settings
        scheme = "https" if settings.is_https else "http"
        if settings.allowed_hosts:
            return f"{scheme}://{settings.allowed_hosts[0]}{self.context.base_path}"
        if settings.host in LOOPBACK or self.context.mode == "embedded":
            return None
        return f"{scheme}://{settings.host}:{settings.port}{self.context.base_path}"


class AskJoin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worker that shows its join token."""

    token: Annotated[str, Meta(max_length=MAX_CREDENTIAL)]
    worker: WorkerName
    host: Annotated[str, Meta(max_length=256)] = ""


class JoinHandler(ApiHandler):
    """``POST /api/workers/join``: a join token for a worker's own key."""

    public = True

    async def post(self) -> None:
        """
        Trade it, once; the key stays good until it is revoked as a grant.

        Raises:
            DeniedError: ``join-token``, with why it opens nothing.
        """
        asked = self.decode_body(AskJoin)
        auth = self.context.auth
        if not auth.invites.knows(asked.token):
            self.count_failure()
        invite = auth.invites.take(asked.token, asked.worker)
        try:
            draft = auth.store.draft_grant(
                invite.worker,
                {Role.WORKER},
                worker_rooms(invite.worker),
                WORKER_KEY_SECONDS,
                invite.by,
            )
            how = {"how": "invite", "host": asked.host}
            key, grant = await give(self.context, draft, **how)
        except BaseException:
            auth.invites.give_back(invite)
            raise
        self.answer({"worker": grant.user, "key": key, "grant": grant.id}, 201)


class AskStop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether to stop also what runs."""

    force: bool = False


class StopHandler(ApiHandler):
    """``POST /api/workers/{id}/stop``: end a worker and its terminals."""

    async def post(self, worker: str) -> None:
        """
        Ask it to; operators who reach the worker, not only terminals of it.

        Raises:
            DeniedError: ``still-running`` if jobs run and it is not forced.
        """
        key = self.context.hub.key("worker", worker)
        if not self.context.hub.directory.may_see_worker(self.identity, worker):
            raise DeniedError("not-found", "There is no such worker.")
        self.require(Role.OPERATOR)
        if not self.identity.allows(key):
            raise DeniedError(
                "forbidden",
                "Your grant is for terminals of this worker; a stop ends all of them. "
                f"It takes a grant for worker/{worker}.",
            )
        asked = self.decode_body(AskStop)
        if worker not in self.context.hub.directory.workers:
            raise DeniedError("not-found", "There is no such worker.")
        room = await self.live_room(*key)
        result = await room.request(StopWorker(id="", force=asked.force))
        self.answer({"id": worker, **result})
