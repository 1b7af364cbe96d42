"""Credit moves with acknowledgements, and no wrong one can hurt."""

from vibehq_nb.core.credit import Credit


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
