from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.backoff import MAX_DELAY, MIN_DELAY, reconnect_delay


def test_delays_are_those_of_partysocket():
    delays = [round(reconnect_delay(retry, 0.0), 3) for retry in range(7)]

    assert delays == [0.0, 3.0, 3.9, 5.07, 6.591, 8.568, 10.0]


@given(st.integers(-5, 10**6), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_bounded_whatever_the_retry(retry, jitter):
    delay = reconnect_delay(retry, jitter)

    assert delay == 0.0 if retry <= 0 else MIN_DELAY * 0.75 <= delay <= MAX_DELAY


@given(st.integers(1, 100))
def test_jitter_takes_off_at_most_a_quarter(retry):
    least, most = reconnect_delay(retry, 0.999999), reconnect_delay(retry, 0.0)

    assert most * 0.75 <= least < most


def test_limits_are_the_callers():
    assert reconnect_delay(9, 0.0, minimum=0.1, maximum=0.2) == 0.2
