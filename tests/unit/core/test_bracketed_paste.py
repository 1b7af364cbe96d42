"""A paste cannot end itself early."""

import pytest

from vibehq_nb.core.bracketed_paste import MAX_SESSIONS, PasteGuard

S, E = b"\x1b[200~", b"\x1b[201~"


@pytest.mark.parametrize(
    ("typed", "reaches"),
    [
        (b"plain keys", b"plain keys"),
        (S + b"text" + E, S + b"text" + E),
        (S + b"text" + E + b"\r", S + b"text" + E + b"\r"),
        (S + b"a" + E + b"rm -rf /\r" + E, S + b"arm -rf /\r" + E),
        (S + b"a" + E + b"b" + E + b"c" + E + b"\r", S + b"abc" + E + b"\r"),
        (S + b"a" + E + S + b"b" + E, S + b"a" + E + S + b"b" + E),
        (b"x" + S + b"a" + E, b"x" + S + b"a" + E),
        (E + b"keys outside a paste", E + b"keys outside a paste"),
    ],
)
def test_only_the_last_end_mark_of_a_paste_ends_it(typed, reaches):
    assert PasteGuard().clean("s", typed) == reaches


def test_a_paste_over_several_frames_stays_open_for_its_session_alone():
    guard = PasteGuard()
    assert guard.clean("ana", S + b"first") == S + b"first"
    assert guard.clean("bob", b"a" + E + b"b" + E) == b"a" + E + b"b" + E
    assert guard.clean("ana", b"a" + E + b"b" + E) == b"ab" + E
    assert guard.clean("ana", b"c" + E + b"d" + E) == b"c" + E + b"d" + E


def test_open_pastes_of_countless_sessions_cost_bounded_memory():
    guard = PasteGuard()
    for number in range(3 * MAX_SESSIONS):
        guard.clean(f"s{number}", S)
    assert len(guard._open) == MAX_SESSIONS
