"""The ring of a terminal's bytes, and the sizes inside it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.errors import GapError
from vibehq_nb.core.stream import ByteStream, Size

chunks = st.lists(st.binary(max_size=40), max_size=30)


@given(chunks, st.integers(1, 200))
def test_since_returns_the_tail_of_what_was_appended(
    appended: list[bytes], capacity: int
) -> None:
    stream = ByteStream(capacity=capacity)
    for chunk in appended:
        stream.append(chunk)
    whole = b"".join(appended)

    assert stream.head == len(whole)
    assert stream.head - stream.oldest <= capacity
    assert len(whole) - capacity <= stream.oldest <= len(whole)
    for offset in range(stream.oldest, stream.head + 1):
        assert stream.since(offset) == whole[offset:]
        assert stream.since(offset, 7) == whole[offset : offset + 7]


@given(chunks, st.integers(1, 60))
def test_a_replica_fed_in_pieces_equals_its_source(
    appended: list[bytes], step: int
) -> None:
    source, replica = ByteStream(), ByteStream()
    for chunk in appended:
        source.append(chunk)
    while piece := source.since(replica.head, step):
        replica.append(piece)

    assert replica.head == source.head
    assert replica.since(0) == source.since(0)


def test_since_raises_gap_error_when_bytes_were_dropped() -> None:
    stream = ByteStream(capacity=4)
    stream.append(b"abcdef")

    with pytest.raises(GapError) as caught:
        stream.since(1)

    assert (caught.value.wanted, caught.value.oldest) == (1, 2)
    assert stream.since(2) == b"cdef"


def test_since_ahead_of_the_head_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="offset 1 is ahead of the head 0"):
        ByteStream().since(1)


def test_a_chunk_larger_than_the_ring_keeps_its_end() -> None:
    stream = ByteStream(capacity=3)
    stream.append(b"ab")

    stream.append(b"cdefgh")

    assert (stream.oldest, stream.head) == (5, 8)
    assert stream.since(5) == b"fgh"
    assert not stream.holds(4)
    assert stream.holds(8)
    assert not stream.holds(9)


def test_a_ring_may_begin_at_any_offset() -> None:
    stream = ByteStream(start=100)

    assert stream.append(b"ab") == 102
    assert stream.since(100) == b"ab"


def test_sizes_hold_from_their_offset_on() -> None:
    stream = ByteStream(80, 24)
    stream.append(b"abc")
    assert stream.resize(100, 30)
    assert not stream.resize(100, 30)
    stream.append(b"de")
    stream.resize(90, 20)

    assert stream.size_at(2) == Size(0, 80, 24)
    assert stream.size_at(3) == Size(3, 100, 30)
    assert stream.next_size(0) == Size(3, 100, 30)
    assert stream.next_size(3) == Size(5, 90, 20)
    assert stream.next_size(5) is None
    assert stream.size == Size(5, 90, 20)


def test_a_second_size_at_one_offset_takes_the_place_of_the_first() -> None:
    stream = ByteStream(80, 24)
    stream.append(b"abc")
    stream.resize(100, 30)

    stream.resize(90, 20)

    assert stream.size_at(3) == Size(3, 90, 20)
    assert stream.next_size(0) == Size(3, 90, 20)


def test_sizes_go_with_the_bytes_they_were_for() -> None:
    stream = ByteStream(80, 24, capacity=4)
    for cols in range(81, 90):
        stream.append(b"ab")
        stream.resize(cols, 24)

    assert stream.oldest == 14
    assert stream.size_at(14).cols == 87
    assert stream.size_at(0).cols == 87


def test_a_storm_of_resizes_is_bounded() -> None:
    stream = ByteStream()
    for n in range(3000):
        stream.append(b"x")
        stream.resize(80 + n % 2, 24)

    assert len(stream._sizes) <= 1024


@given(st.binary(max_size=300), st.integers(1, 100))
def test_safe_tail_is_a_suffix_that_begins_a_line(output: bytes, limit: int) -> None:
    stream = ByteStream()
    stream.append(output)

    start, tail = stream.safe_tail(limit)

    assert tail == output[start:]
    assert len(tail) <= limit
    if start > 0 and b"\n" in output[-limit:]:
        assert output[start - 1 : start] == b"\n"
