import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.backoff import MAX_DELAY, MIN_DELAY, Backoff, reconnect_delay


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


def test_a_backoff_waits_as_partysocket_does():
    backoff = Backoff()

    delays = [backoff.begin(0.0) for _ in range(8)]

    rounded = [delay and round(delay, 2) for delay in delays]
    assert rounded == [0.0, 3.0, 3.9, 5.07, 6.59, 8.57, 10.0, 10.0]
    assert backoff.retry_count(0.0) == 7


def test_a_link_that_held_for_min_uptime_starts_the_count_anew():
    backoff = Backoff(min_uptime=5.0)
    for _ in range(4):
        backoff.begin(0.0)

    backoff.opened(100.0)
    counts = backoff.retry_count(104.9), backoff.retry_count(105.0)
    backoff.lost(105.0)

    assert counts == (3, 0)
    assert backoff.begin(0.0) == 3.0


def test_a_link_lost_before_min_uptime_counts_on():
    backoff = Backoff(min_uptime=5.0)
    backoff.begin(0.0)
    backoff.begin(0.0)

    backoff.opened(100.0)
    backoff.lost(104.9)

    assert backoff.retry_count(200.0) == 1
    assert backoff.begin(0.0) == pytest.approx(3.9)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_after_max_retries_no_try_is_allowed(retries):
    backoff = Backoff(max_retries=retries)

    tries = [backoff.begin(0.0) for _ in range(retries + 2)]

    assert [delay is None for delay in tries] == [False] * (retries + 1) + [True]
    backoff.reset()
    assert backoff.begin(0.0) == 0.0
