import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.core.ids import (
    Position,
    RoomKey,
    decode_position,
    is_room_name,
    party_name,
    worker_of,
)


def test_a_position_is_whole_or_none():
    assert decode_position("e", "12") == Position("e", 12)
    assert decode_position("e", "0") == Position("e", 0)
    for epoch, offset in [(None, "1"), ("e", None), ("", "1"), ("e", "")]:
        assert decode_position(epoch, offset) is None


@pytest.mark.parametrize("offset", ["-1", "1.0", "1e3", " 1", "٣", "9" * 17, "x"])
def test_an_offset_is_a_short_run_of_digits(offset):
    assert decode_position("e", offset) is None


def test_an_epoch_is_at_most_64_characters():
    assert decode_position("e" * 64, "1") is not None
    assert decode_position("e" * 65, "1") is None


@pytest.mark.parametrize("name", ["a", "a" * 256, "web-1:logs", "%20", "a%2Fb", "~!"])
def test_these_are_room_names(name):
    assert is_room_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "a" * 257, "a/b", "a b", "a\tb", "a?b", "a#b", 'a"b', "ü", "\x7f"],
)
def test_these_are_no_room_names(name):
    assert not is_room_name(name)


@pytest.mark.parametrize("name", ["%", "%2", "%zz", "a%", "%00", "%1f", "%7F", "%0A"])
def test_a_room_name_has_no_broken_or_control_escape(name):
    assert not is_room_name(name)


@given(st.text(max_size=300))
def test_a_room_name_is_short_visible_ascii(name):
    if is_room_name(name):
        assert name.isascii()
        assert name.isprintable()
        assert 1 <= len(name) <= 256


@pytest.mark.parametrize(
    ("class_name", "party"),
    [
        ("TerminalServer", "terminal-server"),
        ("OpsMonitorBroadcast", "ops-monitor-broadcast"),
        ("Ops", "ops"),
        ("HIL", "hil"),
        ("MY_ROOM", "my-room"),
        ("room", "room"),
        ("Room_", "room"),
    ],
)
def test_party_names_are_those_of_partyserver(class_name, party):
    assert party_name(class_name) == party


def test_a_terminal_names_its_worker():
    assert worker_of("web-1") == "web-1"
    assert worker_of("web-1:logs:a") == "web-1"


def test_a_room_key_reads_as_its_path():
    assert str(RoomKey("ops", "main")) == "ops/main"
