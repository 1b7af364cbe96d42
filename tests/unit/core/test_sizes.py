"""Whose screen decides."""

from vibehq_nb.core.sizes import Report, SizePolicy, Sizing


def sizing(policy="writer"):
    made = Sizing(SizePolicy(policy, 132, 43))
    made.report("a1", Report("ana", 100, 30))
    made.report("b1", Report("bob", 80, 50))
    return made


def test_the_writers_screen_decides():
    assert sizing().wanted("ana") == (100, 30)
    assert sizing().wanted("bob") == (80, 50)


def test_a_writer_without_a_screen_changes_nothing():
    assert sizing().wanted("kernel") is None


def test_while_nobody_types_the_newest_screen_decides():
    made = sizing()
    made.report("a1", Report("ana", 90, 20))
    assert made.wanted(None) == (90, 20)


def test_of_two_screens_of_the_writer_the_newest_decides():
    made = sizing()
    made.report("a2", Report("ana", 60, 20))
    assert made.wanted("ana") == (60, 20)
    made.withdraw("a2")
    assert made.wanted("ana") == (100, 30)


def test_smallest_takes_each_dimension_from_whoever_is_smallest():
    made = sizing("smallest")
    assert made.wanted("ana") == (80, 30)
    made.withdraw("b1")
    assert made.wanted("bob") == (100, 30)
    made.withdraw("a1")
    assert made.wanted(None) is None


def test_fixed_is_fixed_whatever_screens_report():
    assert sizing("fixed").wanted("ana") == (132, 43)
