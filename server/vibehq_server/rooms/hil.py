"""
The human in the loop: requests, decisions and the tasks that wait for them.

One audited log. What a decision leads to (the request as it stands, what its task
does) is appended together with it: all of it is stored, or none. The rules are
``vibehq_nb.core.approvals``; this room adds the clock, the ids and the log.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from vibehq_nb.core import approvals, tasks
from vibehq_nb.core.approvals import Approval, Decision, Status
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.messages import (
    AskApproval,
    CancelApproval,
    Decide,
    HilDecision,
    HilRequest,
    HilState,
    Message,
    TaskState,
)
from vibehq_nb.core.roles import Role
from vibehq_server.connection import Connection
from vibehq_server.identity import Identity
from vibehq_server.replicated import ReplicatedRoom
from vibehq_server.rooms.hil_board import (
    Board,
    decision_message,
    request_message,
    task_message,
)

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

MAX_PENDING = 1_000

_STEP_CHARS = 200


class HilRoom(ReplicatedRoom):
    """Who asked for what, who decided, and where each task is."""

    names: ClassVar[frozenset[str] | None] = frozenset({"main"})
    stays: ClassVar[bool] = True
    entries: ClassVar[tuple[type[Message], ...]] = (
        HilRequest,
        HilDecision,
        HilState,
        TaskState,
    )

    def __init__(self, key: RoomKey, hub: "Hub") -> None:
        """Begin with nothing asked."""
        super().__init__(key, hub)
        self._board = Board()
        self._sweep_at: datetime | None = None

    def state(self) -> dict[str, Any]:
        """Return the requests and tasks by id, each as its last entry says."""
        return self._board.as_state()

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state that :meth:`state` returned; ``{}`` is the first."""
        self._board = Board(state)

    def apply(self, message: Message, at_ms: int) -> None:
        """Fold one entry in."""
        self._board.apply(message)

    async def on_start(self, props: Mapping[str, Any]) -> None:
        """Read the log, and go on watching what can expire."""
        await super().on_start(props)
        self._sweep_at = None
        self._watch()

    async def receive(self, connection: Connection, message: Message) -> int | None:
        """Act on a request, a decision or a withdrawal."""
        identity = connection.identity
        match message:
            case AskApproval():
                return self.ask(identity, message).offset
            case Decide():
                return self.decide(identity, message).offset
            case CancelApproval():
                return self.cancel(identity, message).offset
            case _:
                return None

    # What can be asked of the room; inside run() or receive()

    def ask(self, identity: Identity, message: AskApproval) -> HilRequest:
        """
        Ask for a decision; the requester is the human behind *identity*.

        Raises:
            DeniedError: ``unsatisfiable`` if nobody could decide it, ``bad-request``,
                ``busy``, or ``conflict`` if its task is over.
        """
        if len(self._board.pending) >= MAX_PENDING:
            raise DeniedError("busy", "Too many requests wait for a decision.")
        approval = approvals.request(
            uuid.uuid4().hex, message, identity.user, self.now, self.hub.approvers()
        )
        task = self._board.task(approval.task_id)
        if task is not None and task.is_final:
            raise DeniedError("conflict", f"The task is {task.state}; nothing to ask.")
        stored = self._store(approval)
        self._tell(approval, "review", approval.question)
        self._move(task, tasks.Trigger.ASK, approval.question)
        self._watch()
        return stored

    def decide(self, identity: Identity, message: Decide) -> HilDecision:
        """
        Take one vote; the same key of the same person gets the same answer.

        Raises:
            DeniedError: ``not-found``, ``forbidden``, ``conflict`` (decided already:
                a ConflictError, whose ``approval`` has the first decision),
                ``expired``, ``stale``, ``bad-request`` (a reason is missing).
        """
        if identity.kind in ("notebook", "worker") or not identity.has(Role.APPROVER):
            raise DeniedError("forbidden", "Only a person signed in may decide this.")
        approval = self._board.find(message.approval_id)
        if earlier := approval.answer_to(identity.user, message.key):
            return decision_message(approval, earlier)
        self._expire(approval)
        vote = Decision(
            version=message.version,
            verdict=message.verdict,
            action_digest=message.action_digest,
            key=message.key,
            decided_by=identity.user,
            reason=message.reason,
        )
        after = approvals.decide(
            self._board.find(message.approval_id), vote, self.now, self.hub.approvers()
        )
        return self._store_decision(after)

    def cancel(self, identity: Identity, message: CancelApproval | str) -> HilRequest:
        """
        Withdraw a request, given by its message or its id.

        Raises:
            DeniedError: ``not-found``, ``forbidden`` to all but the requester and
                admins, ``conflict`` if it is not pending any more.
        """
        approval_id = message if isinstance(message, str) else message.approval_id
        self._expire(self._board.find(approval_id))
        after = approvals.cancel(
            self._board.find(approval_id),
            identity.user,
            is_admin=identity.has(Role.ADMIN),
        )
        stored = self._store(after)
        self._conclude(after, f"cancelled by {identity.user}")
        return stored

    def consume(
        self, identity: Identity, approval_id: str, action_digest: str
    ) -> HilRequest:
        """
        Use an approval, once, for the action with *action_digest*.

        Raises:
            DeniedError: ``not-found``, ``forbidden`` to all but the requester,
                ``conflict`` if it is not approved or used already, ``stale``.
        """
        approval = self._board.find(approval_id)
        if identity.user != approval.requested_by:
            raise DeniedError("forbidden", "Only who asked may use this approval.")
        return self._store(approvals.consume(approval, action_digest))

    def move_task(
        self, identity: Identity, task_id: str, trigger: tasks.Trigger, step: str = ""
    ) -> TaskState:
        """
        Move a task on; a cancelled one withdraws what was asked for it.

        Raises:
            DeniedError: ``forbidden`` to viewers, ``conflict`` if it is no legal move.
        """
        if identity.roles.isdisjoint({Role.OPERATOR, Role.WORKER, Role.ADMIN}):
            raise DeniedError("forbidden", "Your role may not move tasks.")
        task = self._board.task(task_id)
        assert task is not None
        after = tasks.advance(task, trigger)
        if after.is_final:
            for approval in self._board.pending:
                if approval.task_id == task_id:
                    self._store(approvals.advance(approval, approvals.Trigger.CANCEL))
        return self._store_task(after, step)

    def get(self, approval_id: str) -> HilRequest:
        """
        Return a request as it stands.

        Raises:
            DeniedError: ``not-found``.
        """
        self._board.find(approval_id)
        return self._board.requests[approval_id]

    def list(
        self, status: str | None = None, limit: int = 50, offset: int = 0
    ) -> tuple[list[HilRequest], int]:
        """Return the requests of *status* or all, newest first, and their number."""
        found = [
            request
            for request in self._board.requests.values()
            if status in (None, request.status)
        ]
        found.sort(key=lambda request: request.requested_at, reverse=True)
        return found[offset : offset + limit], len(found)

    # Steps

    def _store(self, approval: Approval) -> HilRequest:
        message = request_message(approval)
        return msgspec.structs.replace(message, offset=self.append(message))

    def _store_decision(self, after: Approval) -> HilDecision:
        *votes, last = after.decisions
        offset = self.append(decision_message(after, last))
        last = msgspec.structs.replace(last, offset=offset)
        after = msgspec.structs.replace(after, decisions=(*votes, last))
        self._store(after)
        self._conclude(after, f"{after.status} by {last.decided_by}: {last.reason}")
        return decision_message(after, last)

    def _store_task(self, task: tasks.Task, step: str) -> TaskState:
        message = task_message(task, step[:_STEP_CHARS] or task.step)
        return msgspec.structs.replace(message, offset=self.append(message))

    def _expire(self, approval: Approval) -> None:
        after = approvals.expire(approval, self.now)
        if after is not approval:
            self._store(after)
            self._conclude(after, "expired: the answer is no")

    def _watch(self) -> None:
        """Have the next request that can expire looked at, even if nobody comes."""
        due = self._board.next_expiry
        if due is not None and (self._sweep_at is None or due < self._sweep_at):
            self._sweep_at = due
            self.call_at(due, partial(self._sweep, due))

    def _sweep(self, due: datetime) -> None:
        if self._sweep_at == due:
            self._sweep_at = None
        for approval in self._board.pending:
            self._expire(approval)
        self._watch()

    def _conclude(self, approval: Approval, reason: str) -> None:
        """Tell what follows for the task, unless another request holds it still."""
        if approval.is_pending or self._board.is_held(approval.task_id):
            return
        task = self._board.task(approval.task_id)
        if approval.status is Status.APPROVED:
            self._tell(approval, "resumed", reason)
            self._move(task, tasks.Trigger.RESUME)
        else:
            self._tell(approval, "paused", reason)
            self._move(task, tasks.Trigger.WITHDRAW)

    def _tell(
        self,
        approval: Approval,
        state: Literal["paused", "review", "resumed"],
        reason: str,
    ) -> None:
        who = approvals.deciders(
            approval.policy, approval.requested_by, self.hub.approvers()
        )
        request = self._board.requests[approval.approval_id]
        self.append(
            HilState(
                task_id=approval.task_id or "",
                state=state,
                approval_id=approval.approval_id,
                reason=reason,
                deciders=sorted(who),
                expires_at=request.expires_at,
                offset=0,
            )
        )

    def _move(
        self, task: tasks.Task | None, trigger: tasks.Trigger, step: str = ""
    ) -> None:
        """Move a task on where that is legal; a decision never fails on its task."""
        if task is None or (task.state, trigger) not in tasks.TRANSITIONS:
            return
        after = tasks.advance(task, trigger)
        if after.state is tasks.State.RESUMING:
            # The room froze nothing itself, so nothing is left to thaw.
            after = tasks.advance(after, tasks.Trigger.THAWED)
        self._store_task(after, step)
