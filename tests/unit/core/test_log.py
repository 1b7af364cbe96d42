import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.errors import GapError
from vibehq_nb.core.ids import Position
from vibehq_nb.core.log import (
    FIRST_HASH,
    Entry,
    EventLog,
    answer,
    chain,
    first_broken,
)

ROOM = "ops/main"


def filled(count: int, **bounds) -> EventLog:
    log = EventLog(ROOM, "e", **bounds)
    for number in range(count):
        log.append(b'{"n":%d}' % number, at=1000 + number)
    return log


def test_offsets_are_dense_and_start_at_one():
    assert [entry.offset for entry in filled(4).since(0)] == [1, 2, 3, 4]


def test_entries_are_chained_from_the_first():
    log = filled(3)
    entries = log.since(0)

    assert first_broken(ROOM, entries, FIRST_HASH) is None
    assert log.head_hash == entries[-1].hash
    assert entries[0].hash == chain(FIRST_HASH, ROOM, 1, 1000, b'{"n":0}')


@given(st.integers(0, 9), st.sampled_from(["body", "at", "hash", "offset"]))
def test_a_changed_entry_is_the_first_broken_one(index, field):
    entries = filled(10).since(0)
    entry = entries[index]
    value = {"body": b"{}", "at": 7, "hash": bytes(32), "offset": 99}[field]
    fields = {"offset": entry.offset, "at": entry.at}
    fields |= {"body": entry.body, "hash": entry.hash} | {field: value}
    entries[index] = Entry(**fields)

    assert first_broken(ROOM, entries, FIRST_HASH) == entries[index].offset


def test_the_chain_tells_rooms_apart():
    assert first_broken("hil/main", filled(1).since(0), FIRST_HASH) == 1


@given(
    st.binary(max_size=4), st.binary(max_size=4), st.integers(1, 99), st.integers(1, 99)
)
def test_the_chain_is_unambiguous(one, other, offset, at):
    if (one, offset) != (other, at):
        assert chain(b"", ROOM, offset, at, one) != chain(b"", ROOM, at, offset, other)


def test_since_returns_what_follows():
    log = filled(5)

    assert [entry.offset for entry in log.since(3)] == [4, 5]
    assert log.since(5) == []


@pytest.mark.parametrize("bounds", [{"max_entries": 4}, {"max_bytes": 28}])
def test_the_oldest_go_first_and_since_raises_gap_error(bounds):
    log = filled(10, **bounds)

    assert (log.oldest, log.head) == (6, 10)
    assert [entry.offset for entry in log.since(6)] == [7, 8, 9, 10]
    with pytest.raises(GapError) as caught:
        log.since(5)
    assert (caught.value.wanted, caught.value.oldest) == (5, 6)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_any_split_gives_the_same_replica(cuts):
    whole = filled(12).since(0)
    replica: list[Entry] = []
    for cut in sorted(cuts):
        replica += filled(cut).since(len(replica))
    replica += filled(12).since(len(replica))

    assert replica == whole


def test_a_log_goes_on_after_what_was_stored():
    before = filled(3)
    after = EventLog(ROOM, "e", before.head, before.head_hash)
    entry = after.append(b"{}", 9)

    assert entry.offset == 4
    assert first_broken(ROOM, [*before.since(0), entry], FIRST_HASH) is None
    with pytest.raises(GapError):
        after.since(2)


@pytest.mark.parametrize(
    ("position", "resume"),
    [
        (None, ("fresh", "")),
        (Position("e", 10), ("resumed", "")),
        (Position("e", 4), ("resumed", "")),
        (Position("e", 3), ("snapshot", "trimmed")),
        (Position("e", 11), ("reset", "ahead")),
        (Position("old", 10), ("reset", "epoch")),
    ],
)
def test_a_resume_is_answered_with_the_truth(position, resume):
    assert answer(position, "e", oldest=4, head=10) == resume


def test_internal_entries_are_told_by_their_type():
    log = EventLog(ROOM, "e")

    assert log.append(b'{"type":"_answered"}', 1).is_internal
    assert not log.append(msgspec.json.encode({"type": "event"}), 1).is_internal
