"""What a request for approval is made of, and the table of its legal moves."""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vibehq_nb.core.codec import encode_canonical
from vibehq_nb.core.errors import DeniedError

Kind = Literal["confirm", "review"]
Verdict = Literal["approve", "reject"]
Groups = Mapping[str, Collection[str]]
NO_GROUPS: Groups = {}


class Status(StrEnum):
    """Where a request stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    CONSUMED = "consumed"
    LAPSED = "lapsed"
    UNKNOWN = "unknown"
    """Used, but a crash hid the result; a person says what it was."""


class Trigger(StrEnum):
    """What moves a request on."""

    APPROVE = "approve"
    REJECT = "reject"
    EXPIRE = "expire"
    CANCEL = "cancel"
    SUPERSEDE = "supersede"
    CONSUME = "consume"
    LAPSE = "lapse"
    LOSE = "lose"


TRANSITIONS: dict[tuple[Status, Trigger], Status] = {
    (Status.PENDING, Trigger.APPROVE): Status.APPROVED,
    (Status.PENDING, Trigger.REJECT): Status.REJECTED,
    (Status.PENDING, Trigger.EXPIRE): Status.EXPIRED,
    (Status.PENDING, Trigger.CANCEL): Status.CANCELLED,
    (Status.PENDING, Trigger.SUPERSEDE): Status.SUPERSEDED,
    (Status.APPROVED, Trigger.CONSUME): Status.CONSUMED,
    (Status.APPROVED, Trigger.LAPSE): Status.LAPSED,
    (Status.APPROVED, Trigger.LOSE): Status.UNKNOWN,
    (Status.UNKNOWN, Trigger.CONSUME): Status.CONSUMED,
    (Status.UNKNOWN, Trigger.LAPSE): Status.LAPSED,
}
"""Every legal move; what is absent is refused."""

FINAL = frozenset(Status) - {status for status, _ in TRANSITIONS}
"""Where nothing moves any more."""


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Who decides, and how many of them.

    Attributes:
        users: Who may decide; empty, with no groups: every approver.
        groups: Whose members may decide.
        quorum: How many distinct people must approve.
        veto: How many rejections close the request: one. A request cannot ask for
            more; requests stored by earlier versions may hold more.
        allow_self: Whether the requester may decide: on a confirmation only.
    """

    users: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    groups: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    quorum: Annotated[int, Meta(ge=1, le=20)] = 1
    veto: Annotated[int, Meta(ge=1, le=20)] = 1
    allow_self: bool = False

    def names(self, user: str, groups: Groups) -> bool:
        """Tell whether the policy lets *user* decide, leaving aside who asked."""
        if not self.users and not self.groups:
            return True
        return user in self.users or any(
            user in groups.get(group, ()) for group in self.groups
        )


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """
    One vote. ``at`` and ``status`` are set when it is taken.

    Attributes:
        version: Of the request, as the decider saw it.
        verdict: The vote.
        action_digest: Of the action, as the decider saw it.
        key: Chosen by the decider; the same key gets the same answer.
        decided_by: The person.
        reason: Required on a rejection, and on an approval of high risk.
        at: When it was taken.
        status: Of the request after it.
        offset: Where the log holds it; set by whoever stores it.
    """

    version: int
    verdict: Verdict
    action_digest: str
    key: str
    decided_by: str
    reason: str = ""
    at: datetime | None = None
    status: Status = Status.PENDING
    offset: int = 0


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """
    A request for a decision on one exact action, as it stands.

    Attributes:
        version: Grows by one with every change.
        decisions: Every vote, the newest last; a changed vote keeps the one before.
    """

    approval_id: str
    kind: Kind
    question: str
    action: dict[str, Any]
    action_digest: str
    risk: str
    policy: Policy
    requested_by: str
    requested_at: datetime
    expires_at: datetime
    reason: str = ""
    status: Status = Status.PENDING
    version: int = 1
    task_id: str | None = None
    order_id: str | None = None
    conversation_id: str | None = None
    context: dict[str, Any] = {}
    decisions: tuple[Decision, ...] = ()

    @property
    def is_pending(self) -> bool:
        """Whether it waits for a decision."""
        return self.status is Status.PENDING

    def answer_to(self, user: str, key: str) -> Decision | None:
        """Return the decision that *user* made with *key*, if any."""
        for decision in self.decisions:
            if (decision.decided_by, decision.key) == (user, key):
                return decision
        return None


def digest(action: Mapping[str, Any]) -> str:
    """
    Return what an approval binds: SHA-256 of the canonical JSON of *action*, in hex.

    Raises:
        DecodeError: If the action has no exact JSON form.
    """
    return hashlib.sha256(encode_canonical(dict(action))).hexdigest()


def decode_policy(kind: Kind, plain: Mapping[str, Any]) -> Policy:
    """
    Return the policy a request asks for; ``allow_self`` follows from its kind.

    Raises:
        DeniedError: ``bad-request`` naming the field.
    """
    allow_self = kind == "confirm"
    try:
        policy = msgspec.convert({"allow_self": allow_self, **plain}, Policy)
    except msgspec.ValidationError as error:
        raise DeniedError("bad-request", _policy_fault(str(error))) from None
    if policy.allow_self and not allow_self:
        raise DeniedError("bad-request", "A review is decided by another person.")
    if policy.veto > 1:
        text = "One rejection closes a request; a policy cannot ask for more (veto)."
        raise DeniedError("bad-request", text)
    return policy


def _policy_fault(text: str) -> str:
    if "unknown field" in text:  # its name is input, and is not echoed
        return "The policy has an unknown field."
    return f"The policy is wrong: {text}."


def deciders(
    policy: Policy,
    requester: str,
    approvers: Collection[str],
    groups: Groups = NO_GROUPS,
) -> frozenset[str]:
    """Return those of *approvers* who may decide what *requester* asks for."""
    return frozenset(
        user
        for user in approvers
        if policy.names(user, groups) and (policy.allow_self or user != requester)
    )


def mermaid() -> str:
    """Return the state diagram of a request, drawn from the table."""
    lines = ["stateDiagram-v2", f"    [*] --> {Status.PENDING}"]
    lines += [
        f"    {before} --> {after}: {trigger}"
        for (before, trigger), after in TRANSITIONS.items()
    ]
    lines += [f"    {status} --> [*]" for status in Status if status in FINAL]
    return "\n".join(lines) + "\n"
