"""A keystroke is taken at most once, whatever the links do."""

from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.input_ledger import MAX_SESSIONS, InputLedger


def test_input_that_follows_is_fresh_as_a_whole() -> None:
    ledger = InputLedger()

    assert ledger.fresh("a", 0, b"abc") == b"abc"
    assert ledger.take("a", 3) == 3
    assert ledger.fresh("a", 3, b"de") == b"de"


def test_what_was_taken_before_is_not_fresh() -> None:
    ledger = InputLedger()
    ledger.take("a", 3)

    assert ledger.fresh("a", 0, b"abc") == b""
    assert ledger.fresh("a", 1, b"bcde") == b"de"


def test_input_with_a_hole_before_it_is_refused() -> None:
    ledger = InputLedger()
    ledger.take("a", 3)

    assert ledger.fresh("a", 4, b"x") is None
    assert ledger.taken("a") == 3


def test_sessions_do_not_mix() -> None:
    ledger = InputLedger()
    ledger.take("a", 3)

    assert ledger.taken("b") == 0
    assert ledger.counts() == {"a": 3}


def test_the_idlest_session_is_forgotten_first() -> None:
    ledger = InputLedger()
    for n in range(MAX_SESSIONS):
        ledger.take(str(n), 1)
    ledger.take("0", 1)

    ledger.take("new", 1)

    assert len(ledger.counts()) == MAX_SESSIONS
    assert ledger.taken("0") == 2
    assert ledger.taken("1") == 0


@given(st.binary(max_size=60), st.data())
def test_any_repetition_and_refusal_types_each_key_once(
    keys: bytes, draw: st.DataObject
) -> None:
    ledger, typed = InputLedger(), b""
    for _ in range(20):
        start = draw.draw(st.integers(0, ledger.taken("a")))
        end = draw.draw(st.integers(start, len(keys)))
        fresh = ledger.fresh("a", start, keys[start:end])
        assert fresh is not None
        if draw.draw(st.booleans()):  # the queue had room
            ledger.take("a", len(fresh))
            typed += fresh

    assert typed == keys[: len(typed)]
    assert ledger.taken("a") == len(typed)
