import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.tasks import FINAL, TRANSITIONS, State, Task, Trigger, advance


def task(state: State = State.RUNNING) -> Task:
    return Task(task_id="t", name="rotate certs", state=state)


def run(start: Task, *triggers: Trigger) -> Task:
    for trigger in triggers:
        start = advance(start, trigger)
    return start


def test_a_task_pauses_waits_for_a_decision_and_goes_on():
    steps = [
        Trigger.PAUSE,
        Trigger.FROZEN,
        Trigger.ASK,
        Trigger.RESUME,
        Trigger.THAWED,
        Trigger.SUCCEED,
    ]
    states = []
    now = task()
    for trigger in steps:
        now = advance(now, trigger)
        states.append(now.state)

    assert states == [
        "pausing",
        "paused",
        "review",
        "resuming",
        "running",
        "succeeded",
    ]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("trigger", Trigger)
def test_what_is_not_in_the_table_is_refused(state, trigger):
    if (state, trigger) in TRANSITIONS:
        assert advance(task(state), trigger).state == TRANSITIONS[state, trigger]
    else:
        with pytest.raises(DeniedError) as caught:
            advance(task(state), trigger)
        assert caught.value.code == "conflict"


@pytest.mark.parametrize("state", set(State) - FINAL)
@pytest.mark.parametrize(
    ("trigger", "end"), [(Trigger.CANCEL, "cancelled"), (Trigger.FAIL, "failed")]
)
def test_stop_wins_in_every_state_that_is_not_final(state, trigger, end):
    assert advance(task(state), trigger).state == end


def test_leave_to_go_on_before_it_stood_still_is_not_lost():
    now = run(task(), Trigger.PAUSE, Trigger.RESUME)
    assert now.state == "pausing"

    assert run(now, Trigger.FROZEN).state == "resuming"


def test_leave_given_for_an_earlier_pause_does_not_end_a_later_one():
    now = run(task(), Trigger.PAUSE, Trigger.RESUME, Trigger.FROZEN, Trigger.THAWED)

    assert run(now, Trigger.PAUSE, Trigger.FROZEN).state == "paused"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(sorted(Trigger)), max_size=30), st.integers(0, 30))
def test_cancel_ends_a_task_whatever_happened_before_and_nothing_revives_it(
    triggers, cut
):
    now = task()
    for trigger in [*triggers[:cut], Trigger.CANCEL, *triggers[cut:]]:
        was_final = now.is_final
        try:
            now = advance(now, trigger)
        except DeniedError:
            continue
        assert not was_final

    assert now.is_final
