"""What the HIL room knows: requests and tasks as their last entries say. No I/O."""

from datetime import datetime
from typing import Any

import msgspec

from vibehq_nb.core import tasks
from vibehq_nb.core.approvals import Approval, Decision
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import HilDecision, HilRequest, Message, TaskState

MAX_FINISHED = 500
"""Finished requests, and finished tasks, that stay in the state; the log has all."""


class Board:
    """A fold of the room's entries; what finished is ordered by when it did."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        """Begin with what :meth:`as_state` returned, or empty."""
        state = state or {}
        self.requests: dict[str, HilRequest] = {}
        self.approvals: dict[str, Approval] = {}
        self.tasks: dict[str, TaskState] = {}
        for plain in state.get("requests", {}).values():
            self.apply(msgspec.convert(plain, HilRequest))
        for plain in state.get("tasks", {}).values():
            self.apply(msgspec.convert(plain, TaskState))

    def as_state(self) -> dict[str, Any]:
        """Return the requests and tasks by id, as plain data."""
        return {
            "requests": {k: as_plain(v) for k, v in self.requests.items()},
            "tasks": {k: as_plain(v) for k, v in self.tasks.items()},
        }

    def apply(self, message: Message) -> None:
        """Fold one entry in; what is finished goes behind what is not."""
        match message:
            case HilRequest(approval_id=approval_id):
                approval = msgspec.convert(as_plain(message), Approval)
                if not approval.is_pending:
                    self.requests.pop(approval_id, None)
                    self.approvals.pop(approval_id, None)
                self.requests[approval_id] = message
                self.approvals[approval_id] = approval
                self._forget_requests()
            case TaskState(task_id=task_id):
                if message.state in tasks.FINAL:
                    self.tasks.pop(task_id, None)
                self.tasks[task_id] = message
                self._forget_tasks()
            case _:
                pass  # decisions and states tell what the two above say already

    def _forget_requests(self) -> None:
        finished = [k for k, v in self.approvals.items() if not v.is_pending]
        for approval_id in finished[:-MAX_FINISHED]:
            del self.requests[approval_id], self.approvals[approval_id]

    def _forget_tasks(self) -> None:
        finished = [k for k, v in self.tasks.items() if v.state in tasks.FINAL]
        for task_id in finished[:-MAX_FINISHED]:
            del self.tasks[task_id]

    @property
    def pending(self) -> list[Approval]:
        """The requests that wait for a decision."""
        return [a for a in self.approvals.values() if a.is_pending]

    @property
    def next_expiry(self) -> datetime | None:
        """When the first of the pending requests expires."""
        return min((a.expires_at for a in self.pending), default=None)

    def find(self, approval_id: str) -> Approval:
        """
        Return the approval with this id.

        Raises:
            DeniedError: ``not-found``.
        """
        approval = self.approvals.get(approval_id)
        if approval is None:
            raise DeniedError("not-found", "There is no such request here.")
        return approval

    def is_held(self, task_id: str | None) -> bool:
        """Tell whether a pending request holds the task."""
        return task_id is not None and any(
            approval.task_id == task_id for approval in self.pending
        )

    def task(self, task_id: str | None) -> tasks.Task | None:
        """Return the task as it stands; one that was not heard of yet is running."""
        if task_id is None:
            return None
        known = self.tasks.get(task_id)
        if known is None:
            return tasks.Task(task_id=task_id, name=task_id)
        return msgspec.convert(as_plain(known), tasks.Task)


def as_plain(struct: msgspec.Struct) -> dict[str, Any]:
    """Return *struct* as plain JSON data, without its wire type."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(struct))
    plain.pop("type", None)
    return plain


def request_message(approval: Approval) -> HilRequest:
    """Return the entry that says where *approval* stands."""
    return HilRequest(**as_plain(approval), offset=0)


def decision_message(approval: Approval, decision: Decision) -> HilDecision:
    """Return the entry that says what was decided."""
    return HilDecision(approval_id=approval.approval_id, **as_plain(decision))


def task_message(task: tasks.Task, step: str) -> TaskState:
    """Return the entry that says where *task* is."""
    return TaskState(
        task_id=task.task_id,
        name=task.name,
        state=task.state.value,
        step=step,
        progress=task.progress,
        offset=0,
    )
