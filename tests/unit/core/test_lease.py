from vibehq_nb.core.lease import LEASE_SECONDS, Lease


def test_typing_takes_a_free_lease_and_keeps_others_out():
    lease = Lease()

    assert lease.type("ana", now=0.0)

    assert lease.writer(1.0) == "ana"
    assert not lease.type("bob", now=1.0)
    assert lease.idle_seconds(4.0) == 4.0


def test_a_lease_is_gone_30_seconds_after_the_last_key():
    lease = Lease()
    lease.type("ana", now=0.0)
    lease.type("ana", now=10.0)

    assert lease.writer(10.0 + LEASE_SECONDS - 0.1) == "ana"
    assert lease.writer(10.0 + LEASE_SECONDS) is None
    assert lease.type("bob", now=10.0 + LEASE_SECONDS)


def test_taking_names_who_lost_it_and_giving_frees_only_ones_own():
    lease = Lease()
    lease.type("ana", now=0.0)

    assert lease.take("bob", now=1.0) == "ana"
    assert lease.take("bob", now=2.0) is None
    assert not lease.give("ana")
    assert lease.give("bob")
    assert lease.writer(2.0) is None
