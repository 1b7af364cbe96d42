"""The pure part of a room's storage: what entries make of key-values."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.codec import Decoder, encode
from vibehq_nb.core.errors import UsageError
from vibehq_server.storage import MAX_VALUE_BYTES, Changes, KeyValues, Stored

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)
KEYS = st.text("abc", min_size=1, max_size=2)
STEPS = st.lists(st.tuples(KEYS, PLAIN) | KEYS, max_size=12)


def apply(kept, steps):
    changes = Changes(kept)
    for step in steps:
        if isinstance(step, tuple):
            changes.put(*step)
        else:
            changes.delete(step)
    return changes.as_entry()


@given(st.lists(STEPS, max_size=5))
def test_replayed_entries_give_the_same_values_and_the_same_size(transactions):
    live, replayed, plain = KeyValues(), KeyValues(), {}
    decoder = Decoder((Stored,))
    for steps in transactions:
        entry = apply(live, steps)
        assert live.size_after(entry) >= 0
        expected = live.size_after(entry)
        live.fold(entry)
        assert live.size_bytes == expected
        replayed.fold(decoder.decode(encode(entry)))
        for step in steps:
            if isinstance(step, tuple):
                plain[step[0]] = step[1]
            else:
                plain.pop(step, None)

    assert {key: live.get(key) for key in live.keys("")} == plain
    assert {key: replayed.get(key) for key in replayed.keys("")} == plain
    assert replayed.size_bytes == live.size_bytes
    saved = msgspec.json.decode(msgspec.json.encode(live.as_state()))
    assert KeyValues(saved).size_bytes == live.size_bytes


def test_a_transaction_reads_what_it_wrote_and_others_do_not():
    kept = KeyValues({"a": 1, "b": 2})
    changes = Changes(kept)
    changes.put("a", 5)

    assert changes.delete("b") is True
    assert changes.delete("b") is False
    assert (changes.get("a"), changes.get("b", "gone")) == (5, "gone")
    assert (kept.get("a"), kept.get("b")) == (1, 2)


def test_what_is_read_is_a_copy():
    kept = KeyValues({"a": [1]})
    kept.get("a").append(2)

    assert kept.get("a") == [1]


@pytest.mark.parametrize(
    "value", [float("nan"), {1: 2}, b"bytes", object(), "\ud800", 2**60, {"a"}]
)
def test_a_value_that_is_not_plain_data_is_refused(value):
    with pytest.raises(UsageError, match="not plain data"):
        Changes(KeyValues()).put("a", value)


def test_a_value_that_nests_deeper_than_it_could_be_read_back_is_refused():
    value = []
    for _ in range(20):
        value = [value]
    with pytest.raises(UsageError):
        Changes(KeyValues()).put("a", value)


@pytest.mark.parametrize("key", ["", "k" * 2049])
def test_a_key_has_bounds(key):
    with pytest.raises(UsageError, match="key"):
        Changes(KeyValues()).put(key, 1)


def test_a_value_has_a_bound():
    with pytest.raises(UsageError, match=str(MAX_VALUE_BYTES)):
        Changes(KeyValues()).put("a", "x" * MAX_VALUE_BYTES)
