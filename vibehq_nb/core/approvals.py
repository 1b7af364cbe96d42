"""
Approvals: which moves are legal, who may decide, and what a decision binds.

Rules only. The clock, the ids and the list of people who may approve come in as
arguments; whoever calls stores what comes out, or it did not happen.
"""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vibehq_nb.core.codec import check_plain, encode_canonical
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import AskApproval

Kind = Literal["confirm", "review"]
Verdict = Literal["approve", "reject"]
Groups = Mapping[str, Collection[str]]

_NO_GROUPS: Groups = {}
_MUST_SAY_WHY = frozenset({"high", "critical"})


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
        veto: How many rejections close the request.
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
    """

    version: int
    verdict: Verdict
    action_digest: str
    key: str
    decided_by: str
    reason: str = ""
    at: datetime | None = None
    status: Status = Status.PENDING


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


class ConflictError(DeniedError):
    """The request is not pending any more; ``approval`` says what became of it."""

    def __init__(self, approval: Approval) -> None:
        """Name what became of *approval*, and who decided it."""
        last = approval.decisions[-1] if approval.decisions else None
        by = f" by {last.decided_by}" if last and last.status != "pending" else ""
        super().__init__("conflict", f"This request is already {approval.status}{by}.")
        self.approval = approval


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
        raise DeniedError("bad-request", f"The policy is wrong: {error}.") from None
    if policy.allow_self and not allow_self:
        raise DeniedError("bad-request", "A review is decided by another person.")
    return policy


def deciders(
    policy: Policy,
    requester: str,
    approvers: Collection[str],
    groups: Groups = _NO_GROUPS,
) -> frozenset[str]:
    """Return those of *approvers* who may decide what *requester* asks for."""
    return frozenset(
        user
        for user in approvers
        if policy.names(user, groups) and (policy.allow_self or user != requester)
    )


def request(
    approval_id: str,
    ask: AskApproval,
    requester: str,
    now: datetime,
    approvers: Collection[str],
    groups: Groups = _NO_GROUPS,
) -> Approval:
    """
    Return a new pending request.

    Args:
        approval_id: Unique for all time.
        ask: What is asked.
        requester: The human who asks, himself or through his notebook.
        now: The time, UTC.
        approvers: Everybody who may decide on this server.
        groups: The members of each group a policy may name.

    Raises:
        DeniedError: ``unsatisfiable`` if it could never be decided,
            ``bad-request`` for a policy that is wrong.
        DecodeError: If the action has no exact JSON form.
    """
    policy = decode_policy(ask.kind, ask.policy)
    check_plain(ask.context)
    _refuse_unsatisfiable(ask.kind, policy, requester, approvers, groups)
    return Approval(
        approval_id=approval_id,
        kind=ask.kind,
        question=ask.question,
        action=ask.action,
        action_digest=digest(ask.action),
        risk=ask.risk,
        policy=policy,
        requested_by=requester,
        requested_at=now,
        expires_at=now + timedelta(seconds=ask.expires_in),
        reason=ask.reason,
        task_id=None if isinstance(ask.task_id, msgspec.UnsetType) else ask.task_id,
        order_id=ask.order_id,
        conversation_id=ask.conversation_id,
        context=ask.context,
    )


def _refuse_unsatisfiable(
    kind: Kind,
    policy: Policy,
    requester: str,
    approvers: Collection[str],
    groups: Groups,
) -> None:
    names_nobody = not policy.users and not policy.groups
    if kind == "confirm" and names_nobody and policy.quorum == 1:
        return
    eligible = deciders(policy, requester, approvers, groups)
    if len(eligible) >= policy.quorum:
        return
    if kind == "review" and not frozenset(approvers) - {requester}:
        reason = (
            f"Nobody but you ({requester}) may approve on this server. "
            "Use task.confirm(…), or a shared server: vibehq serve."
        )
    elif not eligible:
        reason = "Nobody whom the policy names may decide this on this server."
    else:
        reason = (
            f"The policy asks for {policy.quorum} people, but only {len(eligible)} may "
            f"decide this on this server: {', '.join(sorted(eligible))}."
        )
    raise DeniedError("unsatisfiable", reason)


def decide(
    approval: Approval,
    decision: Decision,
    now: datetime,
    approvers: Collection[str],
    groups: Groups = _NO_GROUPS,
) -> Approval:
    """
    Take one vote and return the request as it stands then.

    Returns *approval* itself if ``decision.key`` was used by this decider before:
    the stored answer holds, see :meth:`Approval.answer_to`.

    Args:
        approval: The request, as stored.
        decision: The vote.
        now: The time, UTC; at or after ``expires_at`` every vote is refused.
        approvers: Who may decide on this server now; the vote of somebody who no
            longer may does not count. The decider is taken to be one of them.
        groups: The members of each group a policy may name, now.

    Raises:
        ConflictError: If it is not pending any more.
        DeniedError: ``forbidden`` (one's own review, not named by the policy),
            ``expired``, ``stale`` (another version or action), ``bad-request``
            (a reason is missing).
    """
    if approval.answer_to(decision.decided_by, decision.key):
        return approval
    may_decide = {*approvers, decision.decided_by}
    eligible = deciders(approval.policy, approval.requested_by, may_decide, groups)
    _refuse_decider(approval, decision.decided_by, eligible)
    _refuse_closed(approval, now)
    _refuse_stale(approval, decision)
    _refuse_silence(approval, decision)
    status = _count([*approval.decisions, decision], approval.policy, eligible)
    taken = msgspec.structs.replace(decision, at=now, status=status)
    return msgspec.structs.replace(
        approval,
        status=status,
        version=approval.version + 1,
        decisions=(*approval.decisions, taken),
    )


def _refuse_decider(approval: Approval, user: str, eligible: Collection[str]) -> None:
    if user in eligible:
        return
    if user == approval.requested_by:
        raise DeniedError("forbidden", "You asked for this; another person decides it.")
    raise DeniedError("forbidden", "The policy of this request does not name you.")


def _refuse_closed(approval: Approval, now: datetime) -> None:
    if approval.status is Status.EXPIRED or (
        approval.is_pending and now >= approval.expires_at
    ):
        raise DeniedError("expired", "This request has expired: the answer is no.")
    if not approval.is_pending:
        raise ConflictError(approval)


def _refuse_stale(approval: Approval, decision: Decision) -> None:
    if decision.action_digest != approval.action_digest:
        raise DeniedError("stale", "The action is not the one you decided on; reload.")
    if decision.version != approval.version:
        raise DeniedError("stale", "The request has changed since you saw it; reload.")


def _refuse_silence(approval: Approval, decision: Decision) -> None:
    if decision.reason.strip():
        return
    if decision.verdict == "reject":
        raise DeniedError("bad-request", "Say why: a rejection needs a reason.")
    if approval.risk in _MUST_SAY_WHY:
        text = f"Say why: to approve a {approval.risk} risk needs a reason."
        raise DeniedError("bad-request", text)


def _count(
    votes: Collection[Decision], policy: Policy, eligible: Collection[str]
) -> Status:
    latest = {vote.decided_by: vote.verdict for vote in votes}
    valid = [verdict for user, verdict in latest.items() if user in eligible]
    if valid.count("reject") >= policy.veto:
        return TRANSITIONS[Status.PENDING, Trigger.REJECT]
    if valid.count("approve") >= policy.quorum:
        return TRANSITIONS[Status.PENDING, Trigger.APPROVE]
    return Status.PENDING


def advance(approval: Approval, trigger: Trigger) -> Approval:
    """
    Move the request on by *trigger*, without a vote.

    Raises:
        ConflictError: If that is no legal move from where it stands.
    """
    status = TRANSITIONS.get((approval.status, trigger))
    if status is None or trigger in (Trigger.APPROVE, Trigger.REJECT):
        raise ConflictError(approval)
    return msgspec.structs.replace(
        approval, status=status, version=approval.version + 1
    )


def expire(approval: Approval, now: datetime) -> Approval:
    """Return the request expired if its time is over; else as it is (a late timer)."""
    if not approval.is_pending or now < approval.expires_at:
        return approval
    return advance(approval, Trigger.EXPIRE)


def cancel(approval: Approval, user: str, *, is_admin: bool = False) -> Approval:
    """
    Withdraw a request.

    Raises:
        DeniedError: ``forbidden`` to all but the requester and admins.
        ConflictError: If it is not pending any more.
    """
    if user != approval.requested_by and not is_admin:
        raise DeniedError("forbidden", "Only who asked, or an admin, may cancel this.")
    return advance(approval, Trigger.CANCEL)


def consume(approval: Approval, action_digest: str) -> Approval:
    """
    Use an approval for the action with *action_digest*: once.

    Raises:
        ConflictError: If it is not approved, or used already.
        DeniedError: ``stale`` if the action is not the approved one.
    """
    if approval.status is Status.APPROVED and action_digest != approval.action_digest:
        raise DeniedError("stale", "The action is not the one that was approved.")
    return advance(approval, Trigger.CONSUME)


def mermaid() -> str:
    """Return the state diagram of a request, drawn from the table."""
    lines = ["stateDiagram-v2", f"    [*] --> {Status.PENDING}"]
    lines += [
        f"    {before} --> {after}: {trigger}"
        for (before, trigger), after in TRANSITIONS.items()
    ]
    lines += [f"    {status} --> [*]" for status in Status if status in FINAL]
    return "\n".join(lines) + "\n"
