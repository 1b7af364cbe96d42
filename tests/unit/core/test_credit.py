"""Credit moves with acknowledgements, and no wrong one can hurt."""

from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.credit import WINDOW_BYTES, Credit, Pace


def test_credit_is_spent_and_comes_back() -> None:
    credit = Credit(100, window_bytes=10)

    credit.spend(8)
    assert credit.left == 2
    credit.acknowledge(105)

    assert credit.left == 7
    assert credit.sent == 108


def test_a_late_or_repeated_acknowledgement_does_no_harm() -> None:
    credit = Credit(0, window_bytes=10)
    credit.spend(10)
    credit.acknowledge(8)

    credit.acknowledge(3)
    credit.acknowledge(8)

    assert credit.left == 8


def test_an_acknowledgement_of_the_future_counts_as_far_as_was_sent() -> None:
    credit = Credit(0, window_bytes=10)
    credit.spend(4)

    credit.acknowledge(1_000_000)
    credit.spend(10)

    assert credit.left == 0


def test_a_terminal_waits_for_who_types_while_the_acknowledgements_advance() -> None:
    pace, head, now = Pace(), 10 * WINDOW_BYTES, 5.0
    pace.acknowledge(0)

    for step in range(1, 9):
        assert pace.patience(head, now) > 0
        now += 0.9
        pace.acknowledge(step * WINDOW_BYTES)

    assert pace.patience(head, now) > 0
    pace.acknowledge(9 * WINDOW_BYTES)
    assert pace.patience(head, now) == 0


def test_one_that_stands_still_is_not_waited_for_until_it_advances_again() -> None:
    pace = Pace()
    pace.acknowledge(100)
    head = 100 + WINDOW_BYTES + 1

    assert pace.patience(head, 0.0) == 1.0
    assert pace.patience(head, 0.75) == 0.25
    pace.acknowledge(100)  # once more, and an older one: neither is an advance
    pace.acknowledge(7)
    assert pace.patience(head, 1.0) == 0
    pace.move(head)  # a keyframe is no word of the viewer's
    assert pace.patience(2 * head + WINDOW_BYTES, 1.5) == 0
    pace.acknowledge(head + 1)
    assert pace.patience(2 * head + WINDOW_BYTES, 9.0) == 1.0


def test_the_second_begins_when_it_falls_behind_not_when_it_last_spoke() -> None:
    pace = Pace()
    pace.acknowledge(0)

    assert pace.patience(WINDOW_BYTES, 0.0) == 0
    assert pace.patience(WINDOW_BYTES + 1, 3600.0) == 1.0


def test_one_that_never_acknowledges_is_never_waited_for() -> None:
    pace = Pace()
    pace.move(50)

    assert pace.acked is None
    assert not pace.is_behind(2**40)
    assert pace.patience(2**40, 0.0) == 0


@given(st.lists(st.tuples(st.integers(0, 2**53), st.floats(0, 0.5)), max_size=50))
def test_no_acknowledgements_make_a_terminal_wait_without_end(
    acks: list[tuple[int, float]],
) -> None:
    pace, head, now = Pace(), 2**30, 0.0
    for offset, seconds in acks:
        pace.acknowledge(min(offset, head))
        now += seconds
        pace.patience(head, now)

    pace.patience(head, now)
    assert pace.patience(head, now + 1.0) == 0
