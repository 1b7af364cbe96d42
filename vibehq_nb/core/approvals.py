"""
Approvals: who may decide, what a decision binds, and what comes of it.

Rules only. The clock, the ids and the list of people who may approve come in as
arguments; whoever calls stores what comes out, or it did not happen.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec

from vibehq_nb.core.approval_model import (
    FINAL,
    NO_GROUPS,
    TRANSITIONS,
    Approval,
    Decision,
    Groups,
    Kind,
    Policy,
    Status,
    Trigger,
    deciders,
    decode_policy,
    digest,
    mermaid,
)
from vibehq_nb.core.codec import check_plain
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import AskApproval

__all__ = [
    "FINAL",
    "TRANSITIONS",
    "Approval",
    "ConflictError",
    "Decision",
    "Policy",
    "Status",
    "Trigger",
    "advance",
    "cancel",
    "consume",
    "decide",
    "deciders",
    "decode_policy",
    "digest",
    "expire",
    "mermaid",
    "request",
]

_MUST_SAY_WHY = frozenset({"high", "critical"})


class ConflictError(DeniedError):
    """The request is not pending any more; ``approval`` says what became of it."""

    def __init__(self, approval: Approval) -> None:
        """Name what became of *approval*, and who decided it."""
        last = approval.decisions[-1] if approval.decisions else None
        by = f" by {last.decided_by}" if last and last.status != "pending" else ""
        super().__init__("conflict", f"This request is already {approval.status}{by}.")
        self.approval = approval


def request(
    approval_id: str,
    ask: AskApproval,
    requester: str,
    now: datetime,
    approvers: Collection[str],
    groups: Groups = NO_GROUPS,
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
    if policy.allow_self and names_nobody and policy.quorum == 1:
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
    groups: Groups = NO_GROUPS,
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
