"""Messages of the hil room: requests, decisions, tasks."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from vibehq_nb.core.messages.base import (
    Count,
    Message,
    MessageId,
    Name,
    Object,
    Text,
    Words,
)


class AskApproval(Message, tag="hil-request", forbid_unknown_fields=True):
    """Ask for a decision on one exact action."""

    question: Annotated[str, Meta(min_length=1, max_length=2000)]
    action: Object
    kind: Literal["confirm", "review"]
    id: MessageId | UnsetType = UNSET
    reason: Text = ""
    risk: Literal["low", "medium", "high", "critical"] = "medium"
    task_id: Name | UnsetType = UNSET
    policy: Object = msgspec.field(default_factory=dict)
    expires_in: Annotated[float, Meta(ge=1, le=7 * 86400)] = 3600.0
    """Seconds from acceptance; then the answer is no."""
    terminals: Words = msgspec.field(default_factory=list)
    order_id: Text | None = None
    conversation_id: Text | None = None
    context: Object = msgspec.field(default_factory=dict)


class HilRequest(Message):
    """A request as it stands."""

    approval_id: str
    kind: Literal["confirm", "review"]
    question: str
    action: Object
    action_digest: str
    risk: str
    reason: str
    policy: Object
    requested_by: str
    requested_at: str
    expires_at: str
    status: str
    version: int
    task_id: str | None
    order_id: str | None
    conversation_id: str | None
    context: Object
    decisions: list[Object]
    offset: Count


class Decide(Message, tag="hil-decision", forbid_unknown_fields=True):
    """Approve or reject exactly the action with this digest."""

    approval_id: Name
    version: Count
    verdict: Literal["approve", "reject"]
    action_digest: Annotated[str, Meta(min_length=64, max_length=64)]
    key: MessageId
    """Chosen by the decider: the same key gets the same answer."""
    reason: Annotated[str, Meta(max_length=2000)] = ""
    id: MessageId | UnsetType = UNSET


class HilDecision(Message):
    """A decision that is stored."""

    approval_id: str
    version: int
    verdict: str
    reason: str
    action_digest: str
    key: str
    decided_by: str
    status: str
    at: str
    offset: Count


class CancelApproval(Message, tag="hil-cancel", forbid_unknown_fields=True):
    """Withdraw a request of one's own."""

    approval_id: Name
    id: MessageId | UnsetType = UNSET


class HilState(Message):
    """What a task waits for, for everything that must freeze or thaw."""

    task_id: str
    state: Literal["paused", "review", "resumed"]
    approval_id: str
    reason: str
    deciders: list[str]
    expires_at: str
    offset: Count


class TaskState(Message):
    """Where a task is."""

    task_id: str
    name: str
    state: str
    step: str
    progress: float
    offset: Count
