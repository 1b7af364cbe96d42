import pytest

from vibehq_nb.core.rates import Rate
from vibehq_server.rates import MAX_PER_ADDRESS, Door, Meter
from vibehq_server.refusals import Refusal


def entered(door, address="10.0.0.1", now=0.0, jitter=0.0):
    return door.entered(address, now, jitter)


def open_sockets(door, count, address="10.0.0.1"):
    """Enter *count* sockets that stay."""
    held = [entered(door, address, now=float(n)) for n in range(count)]
    for one in held:
        one.__enter__()
    return held


def test_the_socket_over_an_addresss_share_is_refused_and_others_are_not():
    door = Door()
    held = open_sockets(door, MAX_PER_ADDRESS)

    with pytest.raises(Refusal, check=lambda e: e.status_code == 429), entered(door):
        pass
    with entered(door, "10.0.0.2"):
        pass

    held.pop().__exit__(None, None, None)
    with entered(door, now=1000.0):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_has_a_share_of_its_own(address):
    door = Door(per_address=1, per_loopback=3)
    held = open_sockets(door, 3, address)

    with (
        pytest.raises(Refusal, check=lambda e: e.status_code == 429),
        entered(door, address),
    ):
        pass
    assert door.open[address] == len(held)


def test_a_socket_that_fails_is_no_longer_counted():
    door = Door()
    with pytest.raises(OSError, match="gone"), entered(door):
        raise OSError("gone")

    assert not door.open


@pytest.mark.parametrize(("jitter", "wait"), [(0.0, 1), (0.55, 6), (0.999, 10)])
def test_a_storm_is_spread_over_the_next_seconds(jitter, wait):
    door = Door(rate=Rate(per_second=1, burst=2))
    held = open_sockets(door, 2)

    with (
        pytest.raises(Refusal) as refusal,
        entered(door, now=1.0, jitter=jitter),
        entered(door, now=1.0, jitter=jitter),
    ):
        pass
    assert len(held) == 2
    assert refusal.value.status_code == 503
    assert refusal.value.retry_after_seconds == wait
    with entered(door, now=3.0):
        pass


def test_a_meter_without_a_rate_counts_no_messages():
    meter = Meter(None)

    assert all(meter.allows_message(0.0) for _ in range(100_000))


def test_the_tenth_unknown_type_in_a_row_is_one_too_many():
    meter = Meter(None)

    assert [meter.allows_unknown(n / 10) for n in range(10)] == [True] * 9 + [False]
