from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.rates import Bucket, Rate

STEPS = st.lists(st.floats(0, 3), max_size=200)


def test_a_burst_is_taken_at_once_and_no_more():
    bucket = Bucket(Rate(per_second=1, burst=3))

    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]


def test_what_was_refused_costs_nothing():
    bucket = Bucket(Rate(per_second=2, burst=1))
    assert bucket.take(0.0)
    for _ in range(100):
        assert not bucket.take(0.1)

    assert bucket.take(0.5)


def test_a_rest_gives_the_burst_back_and_never_more():
    bucket = Bucket(Rate(per_second=10, burst=2))
    assert bucket.take(0.0)

    assert [bucket.take(1000.0) for _ in range(3)] == [True, True, False]


def test_a_clock_set_back_gives_nothing_twice():
    bucket = Bucket(Rate(per_second=1, burst=1))
    assert bucket.take(100.0)

    assert not bucket.take(50.0)
    assert not bucket.take(100.5)
    assert bucket.take(101.0)


@given(STEPS)
def test_never_more_than_the_burst_and_what_came_back(steps):
    bucket, now, taken = Bucket(Rate(per_second=5, burst=7)), 0.0, 0
    for step in steps:
        now += step
        taken += bucket.take(now)

        assert taken <= 7 + 5 * now + 1e-6
