"""Copies that survive reconnects: terminal bytes and typed keys."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from vibehq_nb.client.replica import (
    Output,
    Redraw,
    SentKeys,
    TerminalReplica,
)
from vibehq_nb.core.ids import Position
from vibehq_nb.core.messages import Connected, TerminalSnapshot, Writer


def connected(resume: str, epoch: str = "e", offset: int = 0) -> Connected:
    return Connected(
        protocol=1,
        version="1",
        connection="c",
        user="u",
        roles=["viewer"],
        epoch=epoch,
        offset=offset,
        oldest=0,
        resume=resume,  # type: ignore[arg-type]
        writer=None,
    )


def snapshot(offset: int, count: int) -> TerminalSnapshot:
    return TerminalSnapshot(epoch="e", offset=offset, cols=80, rows=24, bytes=count)


def test_a_keyframe_then_output_moves_the_position() -> None:
    replica = TerminalReplica()
    replica.receive(connected("fresh", offset=100))

    replica.receive(snapshot(100, 6))
    assert replica.receive(b"key") == []
    assert replica.receive(b"fra") == [Redraw(b"keyfra", 80, 24)]
    assert replica.receive(b"more") == [Output(b"more")]

    assert replica.position == Position("e", 104)


def test_a_link_lost_halfway_through_a_keyframe_keeps_the_position_before_it() -> None:
    replica = TerminalReplica(Position("e", 5))
    replica.receive(connected("snapshot", offset=100))
    replica.receive(snapshot(100, 6))
    replica.receive(b"key")

    replica.receive(connected("resumed", offset=100))

    assert replica.position == Position("e", 5)
    assert replica.receive(b"abc") == [Output(b"abc")]


def test_an_empty_keyframe_is_whole_at_once() -> None:
    replica = TerminalReplica()
    replica.receive(connected("fresh"))

    events = replica.receive(snapshot(0, 0))

    assert events[1:] == [Redraw(b"", 80, 24)]


@given(st.binary(min_size=1, max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_any_split_gives_the_same_screen_and_position(
    data: bytes, cuts: list[int]
) -> None:
    replica = TerminalReplica()
    replica.receive(connected("fresh"))
    replica.receive(snapshot(7, 10))
    stream = b"0123456789" + data
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]

    events = [
        event
        for start, end in itertools.pairwise(edges)
        for event in replica.receive(stream[start:end])
    ]

    redraws = [event for event in events if isinstance(event, Redraw)]
    output = b"".join(event.content for event in events if isinstance(event, Output))
    assert [redraw.content for redraw in redraws] == [b"0123456789"]
    assert output == data
    assert replica.position == Position("e", 7 + len(data))


def test_the_writer_is_known_from_the_newest_message() -> None:
    replica = TerminalReplica()
    replica.receive(connected("fresh"))
    held = Writer(user="ana", idle_seconds=2)
    replica.receive(held)
    assert replica.writer == held

    replica.receive(Writer(user=None))
    assert replica.writer != held


def test_keys_the_server_took_are_not_sent_again() -> None:
    keys = SentKeys()
    keys.push(b"abcdef")
    keys.ack(2)

    assert keys.resume(4, away_seconds=1.0) == b"ef"
    assert keys.sent == 6


def test_keys_are_discarded_after_five_seconds() -> None:
    keys = SentKeys()
    keys.push(b"abcdef")

    assert keys.resume(2, away_seconds=5.1) == b""
    assert keys.sent == 2
    assert keys.push(b"x") == 3


def test_keys_are_discarded_when_the_server_forgot_the_session() -> None:
    keys = SentKeys()
    keys.push(b"abc")
    keys.ack(3)
    keys.push(b"def")

    assert keys.resume(0, away_seconds=0.5) == b""
    assert keys.sent == 0


@given(st.lists(st.one_of(st.binary(max_size=5), st.integers(0, 5)), max_size=30))
def test_every_key_is_taken_at_most_once_and_in_order(
    steps: list[bytes | int],
) -> None:
    """The server takes some of what arrives, then the link breaks, again and again."""
    keys = SentKeys()
    typed, taken, wire = b"", b"", b""
    for step in steps:
        if isinstance(step, bytes):
            keys.push(step)
            typed += step
            wire += step
        else:
            taken += wire[:step]
            wire = keys.resume(len(taken), away_seconds=1.0)

    assert typed.startswith(taken)
    assert taken + wire == typed
