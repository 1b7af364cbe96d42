"""Keys add up to stretches."""

from vibehq_nb.core.attribution import STRETCH_BYTES, Attribution, Stretch


def test_keys_of_one_session_within_a_second_are_one_stretch():
    attribution = Attribution()
    assert attribution.take("ana", "s1", 1, 1, 500, 10.0) == []
    assert attribution.take("ana", "s1", 2, 3, 501, 10.9) == []
    assert attribution.end() == [Stretch("ana", "s1", 500, 3, 3, 10.0)]
    assert attribution.end() == []


def test_another_writer_ends_the_stretch():
    attribution = Attribution()
    attribution.take("ana", "s1", 1, 1, 0, 10.0)
    assert attribution.take("bob", "s2", 1, 1, 7, 10.1) == [
        Stretch("ana", "s1", 0, 1, 1, 10.0)
    ]
    assert attribution.is_open


def test_a_second_ends_the_stretch():
    attribution = Attribution()
    attribution.take("ana", "s1", 1, 1, 0, 10.0)
    assert [s.bytes for s in attribution.take("ana", "s1", 5, 6, 7, 11.0)] == [1]


def test_four_kibibytes_end_the_stretch_at_once():
    attribution = Attribution()
    ended = attribution.take("ana", "s1", STRETCH_BYTES, STRETCH_BYTES, 0, 10.0)
    assert [s.bytes for s in ended] == [STRETCH_BYTES]
    assert not attribution.is_open
