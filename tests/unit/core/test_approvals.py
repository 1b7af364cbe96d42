from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from vibehq_nb.core import approvals
from vibehq_nb.core.approvals import (
    FINAL,
    TRANSITIONS,
    Approval,
    ConflictError,
    Decision,
    Status,
    Trigger,
)
from vibehq_nb.core.errors import DecodeError, DeniedError
from vibehq_nb.core.messages import AskApproval

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
PEOPLE = frozenset({"ana", "bob", "eve", "tom"})


def make(kind: str = "review", requester: str = "ana", **fields) -> Approval:
    approvers = fields.pop("approvers", PEOPLE)
    groups = fields.pop("groups", {})
    ask = AskApproval(
        question="Restart web-1?",
        action=fields.pop("action", {"command": "restart web-1"}),
        kind=kind,
        **fields,
    )
    return approvals.request("a1", ask, requester, NOW, approvers, groups)


def vote(approval: Approval, user: str = "bob", verdict: str = "approve", **fields):
    given_ = {
        "version": approval.version,
        "verdict": verdict,
        "action_digest": approval.action_digest,
        "key": f"{user}-{approval.version}",
        "decided_by": user,
        "reason": "because" if verdict == "reject" else "",
    }
    return Decision(**(given_ | fields))


def decide(approval: Approval, *who: str, now=NOW, approvers=PEOPLE, **fields):
    for user in who:
        cast = vote(approval, user, **fields)
        approval = approvals.decide(approval, cast, now, approvers)
    return approval


def refused(code: str):
    def matches(error: DeniedError) -> bool:
        return error.code == code

    return pytest.raises(DeniedError, check=matches)


def test_a_request_is_pending_and_bound_to_its_action():
    approval = make(expires_in=60.0)

    assert (approval.status, approval.version) == ("pending", 1)
    assert approval.expires_at == NOW + timedelta(seconds=60)
    assert approval.action_digest == approvals.digest({"command": "restart web-1"})
    assert len(approval.action_digest) == 64


def test_a_digest_ignores_the_order_of_keys_and_nothing_else():
    assert approvals.digest({"a": 1, "b": [1]}) == approvals.digest({"b": [1], "a": 1})
    assert len({approvals.digest(a) for a in ({"a": 1}, {"a": "1"}, {"a": 2}, {})}) == 4


def test_an_action_without_exact_json_is_refused():
    with pytest.raises(DecodeError):
        make(action={"size": float("nan")})


def test_a_review_nobody_else_can_decide_says_what_to_do_instead():
    with refused("unsatisfiable") as caught:
        make(approvers={"ana"})

    assert str(caught.value) == (
        "Nobody but you (ana) may approve on this server. "
        "Use task.confirm(…), or a shared server: vibehq serve."
    )


def test_a_confirmation_is_possible_where_one_is_alone():
    assert decide(make("confirm", approvers={"ana"}), "ana").status == "approved"


@pytest.mark.parametrize(
    "policy",
    [{"quorum": 4}, {"users": ["zoe"]}, {"groups": ["dba"]}, {"users": ["ana"]}],
)
def test_a_policy_nobody_can_satisfy_is_refused_at_creation(policy):
    with refused("unsatisfiable"):
        make(policy=policy)


@pytest.mark.parametrize(
    "policy",
    [{"quorum": 0}, {"quorum": "2"}, {"veto": 99}, {"colour": 1}, {"allow_self": True}],
)
def test_a_wrong_policy_is_a_bad_request_without_echo(policy):
    with refused("bad-request") as caught:
        make(policy=policy)

    assert "colour" not in str(caught.value)


def test_a_group_of_the_policy_may_decide():
    groups = {"dba": {"eve"}}
    approval = make(policy={"groups": ["dba"]}, groups=groups)

    with refused("forbidden"):
        approvals.decide(approval, vote(approval, "bob"), NOW, PEOPLE, groups)
    after = approvals.decide(approval, vote(approval, "eve"), NOW, PEOPLE, groups)

    assert after.status == "approved"


def test_one_approval_approves_and_is_recorded():
    after = decide(make(), "bob")

    assert (after.status, after.version) == ("approved", 2)
    [taken] = after.decisions
    assert (taken.decided_by, taken.at, taken.status) == ("bob", NOW, "approved")


def test_one_reject_closes_and_needs_a_reason():
    with refused("bad-request"):
        decide(make(), "bob", verdict="reject", reason=" \n")

    assert decide(make(), "bob", verdict="reject").status == "rejected"


@pytest.mark.parametrize("risk", ["high", "critical"])
def test_to_approve_a_high_risk_needs_a_reason(risk):
    with refused("bad-request"):
        decide(make(risk=risk), "bob")

    assert decide(make(risk=risk), "bob", reason="seen it").status == "approved"


def test_nobody_decides_his_own_review():
    with refused("forbidden"):
        decide(make(), "ana")
    with refused("forbidden"):
        decide(make(), "ana", verdict="reject")


def test_somebody_the_policy_does_not_name_is_refused():
    with refused("forbidden"):
        decide(make(policy={"users": ["eve"]}), "bob")


def test_a_quorum_counts_distinct_people():
    approval = make(policy={"quorum": 2})
    once = decide(approval, "bob")
    twice = decide(once, "bob")

    assert (once.status, twice.status) == ("pending", "pending")
    assert decide(twice, "eve").status == "approved"


def test_a_changed_vote_counts_as_it_is_now_and_both_are_kept():
    approval = decide(make(policy={"quorum": 2}), "bob")
    after = decide(approval, "bob", verdict="reject")

    assert after.status == "rejected"
    assert [taken.verdict for taken in after.decisions] == ["approve", "reject"]


def test_the_vote_of_somebody_revoked_meanwhile_does_not_count():
    approval = decide(make(policy={"quorum": 2}), "bob")

    after = decide(approval, "eve", approvers={"eve", "tom"})

    assert after.status == "pending"
    assert decide(after, "tom", approvers={"eve", "tom"}).status == "approved"


def test_a_request_cannot_ask_that_one_rejection_is_not_enough():
    with refused("bad-request") as caught:
        make(policy={"veto": 2})

    assert "One rejection closes" in str(caught.value)
    assert decide(make(policy={"veto": 1}), "bob", verdict="reject").status == (
        "rejected"
    )


@pytest.mark.parametrize("second", ["approve", "reject"])
def test_a_second_decision_conflicts_and_names_the_first(second):
    decided = decide(make(), "bob")

    with refused("conflict") as caught:
        decide(decided, "eve", verdict=second)

    assert isinstance(caught.value, ConflictError)
    assert caught.value.approval is decided
    assert str(caught.value) == "This request is already approved by bob."


def test_the_same_key_gets_the_same_answer_forever():
    approval = make()
    cast = vote(approval, "bob", key="k1")
    decided = approvals.decide(approval, cast, NOW, PEOPLE)
    late = NOW + timedelta(days=9)

    again = approvals.decide(decided, cast, late, PEOPLE)

    assert again is decided
    assert again.answer_to("bob", "k1") == decided.decisions[0]
    with refused("conflict"):  # a key is its decider's own
        approvals.decide(decided, vote(approval, "eve", key="k1"), NOW, PEOPLE)


@pytest.mark.parametrize("wrong", [{"version": 2}, {"action_digest": "0" * 64}])
def test_a_decision_on_something_else_is_stale(wrong):
    with refused("stale"):
        decide(make(), "bob", **wrong)


@given(st.dictionaries(st.text(max_size=5), st.integers(-9, 9), max_size=3))
def test_no_changed_action_is_covered_by_an_approval(other):
    approved = decide(make(), "bob")

    with refused("stale"):
        approvals.consume(approved, approvals.digest(other))


@pytest.mark.parametrize(
    ("ms", "status"), [(-1, "approved"), (0, "expired"), (1, "expired")]
)
def test_the_deadline_itself_is_too_late(ms, status):
    approval = make(expires_in=60.0)
    now = approval.expires_at + timedelta(milliseconds=ms)

    if status == "expired":
        with refused("expired"):
            decide(approval, "bob", now=now)
        assert approvals.expire(approval, now).status == "expired"
    else:
        assert decide(approval, "bob", now=now).status == "approved"
        assert approvals.expire(approval, now) is approval


def test_a_late_timer_changes_nothing():
    decided = decide(make(), "bob")

    assert approvals.expire(decided, NOW + timedelta(days=9)) is decided


def test_a_decision_on_an_expired_request_is_refused_as_expired():
    expired = approvals.expire(make(), NOW + timedelta(days=1))

    with refused("expired"):
        decide(expired, "bob")


def test_only_the_requester_or_an_admin_cancels():
    with refused("forbidden"):
        approvals.cancel(make(), "bob")

    assert approvals.cancel(make(), "ana").status == "cancelled"
    assert approvals.cancel(make(), "bob", is_admin=True).status == "cancelled"
    with refused("conflict"):
        approvals.cancel(decide(make(), "bob"), "ana")


def test_an_approval_is_used_once():
    approved = decide(make(), "bob")
    used = approvals.consume(approved, approved.action_digest)

    assert used.status == "consumed"
    with refused("conflict"):
        approvals.consume(used, approved.action_digest)
    with refused("conflict"):
        approvals.consume(make(), approved.action_digest)


def test_an_approval_that_may_have_been_used_is_unknown_until_a_person_says():
    lost = approvals.advance(decide(make(), "bob"), Trigger.LOSE)

    assert lost.status == "unknown"
    assert approvals.advance(lost, Trigger.CONSUME).status == "consumed"
    assert approvals.advance(lost, Trigger.LAPSE).status == "lapsed"


@pytest.mark.parametrize("trigger", [Trigger.APPROVE, Trigger.REJECT])
def test_nothing_is_decided_without_a_vote(trigger):
    with refused("conflict"):
        approvals.advance(make(), trigger)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("trigger", set(Trigger) - {Trigger.APPROVE, Trigger.REJECT})
def test_what_is_not_in_the_table_is_refused(status, trigger):
    approval = msgspec.structs.replace(make(), status=status)

    if (status, trigger) in TRANSITIONS:
        after = approvals.advance(approval, trigger)
        assert after.status == TRANSITIONS[status, trigger]
        assert after.version == 2
    else:
        with refused("conflict"):
            approvals.advance(approval, trigger)


def test_final_is_where_nothing_moves():
    assert {
        "rejected",
        "expired",
        "cancelled",
        "superseded",
        "consumed",
        "lapsed",
    } == FINAL


def test_the_diagram_shows_every_move_of_the_table():
    drawn = approvals.mermaid().splitlines()

    assert drawn[0] == "stateDiagram-v2"
    assert "    pending --> approved: approve" in drawn
    assert sum(": " in line for line in drawn) == len(TRANSITIONS)
    assert sum(line.endswith("[*]") for line in drawn) == len(FINAL)


def test_an_approval_survives_json():
    approval = decide(make(policy={"quorum": 2}, task_id="t"), "bob")

    copy = msgspec.json.decode(msgspec.json.encode(approval), type=Approval)

    assert copy == approval


class ApprovalMachine(RuleBasedStateMachine):
    """Any votes, clocks and withdrawals: what is decided was decided by the rules."""

    @initialize(
        quorum=st.integers(1, 3),
        kind=st.sampled_from(["review", "confirm"]),
    )
    def ask(self, quorum, kind):
        self.now = NOW
        self.approval = make(kind, policy={"quorum": quorum}, expires_in=100.0)
        self.before = self.approval
        self.votes = {}

    def attempt(self, change):
        self.before = self.approval
        try:
            self.approval = change()
        except DeniedError:
            return False
        return self.approval is not self.before

    @rule(
        user=st.sampled_from(sorted(PEOPLE)),
        verdict=st.sampled_from(["approve", "reject"]),
        stale=st.booleans(),
        key=st.integers(0, 5),
    )
    def vote(self, user, verdict, stale, key):
        version = self.approval.version - stale
        cast = vote(self.approval, user, verdict, version=version, key=str(key))
        if self.attempt(
            lambda: approvals.decide(self.approval, cast, self.now, PEOPLE)
        ):
            assert not stale
            assert self.now < self.approval.expires_at
            assert self.before.status == "pending"
            self.votes[user] = verdict

    @rule(seconds=st.integers(-5, 60))
    def clock(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule()
    def timer(self):
        self.attempt(lambda: approvals.expire(self.approval, self.now))

    @rule(user=st.sampled_from(["ana", "bob"]))
    def cancel(self, user):
        if self.attempt(lambda: approvals.cancel(self.approval, user)):
            assert user == "ana"

    @precondition(lambda self: self.approval.status == "approved")
    @rule(trigger=st.sampled_from(["consume", "lapse", "lose", "expire", "cancel"]))
    def use(self, trigger):
        self.attempt(lambda: approvals.advance(self.approval, Trigger(trigger)))

    @invariant()
    def moves_are_legal(self):
        if not hasattr(self, "approval"):
            return
        a, b = self.before, self.approval
        assert a.status == b.status or b.status in {
            after for (before, _), after in TRANSITIONS.items() if before == a.status
        }
        assert b.version - a.version == (a is not b)
        assert b.decisions[: len(a.decisions)] == a.decisions
        self.before = b

    @invariant()
    def approval_has_its_people(self):
        if getattr(self, "approval", None) is None:
            return
        status, policy = self.approval.status, self.approval.policy
        if status in ("approved", "consumed", "lapsed", "unknown"):
            people = [u for u, v in self.votes.items() if v == "approve"]
            assert len(people) >= policy.quorum
            assert self.approval.kind == "confirm" or "ana" not in people
        if status == "rejected":
            assert "reject" in self.votes.values()


TestApprovalMachine = ApprovalMachine.TestCase
TestApprovalMachine.settings = settings(
    max_examples=80, stateful_step_count=25, deadline=None
)
