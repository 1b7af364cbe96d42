from dataclasses import dataclass, field
from types import SimpleNamespace

from vibehq_nb.core.credit import Pace
from vibehq_nb.core.messages import Message
from vibehq_nb.core.stream import ByteStream
from vibehq_server.rooms.viewer import WINDOW_BYTES, Chunks, Viewer


@dataclass
class Wire:
    """Collects what a viewer is sent; stands for a connection that keeps up."""

    sent: list[object] = field(default_factory=list)
    outbox: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(pending=0))

    def write(self, frame: bytes) -> None:
        self.sent.append(frame)

    def send_message(self, message: Message) -> None:
        self.sent.append(message)


def parsed(offset: int) -> Pace:
    pace = Pace()
    pace.acknowledge(offset)
    return pace


def payload(frame: bytes) -> bytes:
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


def test_a_viewer_is_sent_each_size_exactly_at_its_offset():
    stream = ByteStream(80, 24)
    stream.append(b"wide")
    stream.resize(40, 10)
    stream.append(b"narrow")
    viewer = Viewer(Wire(), "s", size=(80, 24), phase="live")
    chunks = Chunks(stream)

    while chunks.advance(viewer):
        pass

    wide, resized, narrow = viewer.connection.sent
    assert payload(wide) == b"wide"
    assert (resized.cols, resized.rows, resized.offset) == (40, 10, 4)
    assert payload(narrow) == b"narrow"
    assert viewer.cursor == stream.head


def test_two_viewers_at_one_place_are_sent_the_very_same_frame():
    stream = ByteStream(80, 24)
    stream.append(b"x" * 1000)
    chunks = Chunks(stream)
    first, second = (Viewer(Wire(), s, size=(80, 24)) for s in "ab")

    chunks.advance(first)
    chunks.advance(second)

    assert first.connection.sent[0] is second.connection.sent[0]


def test_a_viewer_ahead_of_the_ring_waits_for_it():
    stream = ByteStream(80, 24)
    stream.append(b"0123456789")
    viewer = Viewer(Wire(), "s", size=(80, 24), cursor=12)
    chunks = Chunks(stream)

    assert not chunks.advance(viewer)
    stream.append(b"abcd")
    assert chunks.advance(viewer)
    assert payload(viewer.connection.sent[0]) == b"cd"


def test_what_is_owed_after_a_resume_is_never_skipped_however_slow_the_viewer():
    stream = ByteStream(80, 24)
    stream.append(b"x" * (WINDOW_BYTES * 3))
    viewer = Viewer(
        Wire(), "s", owed_until=stream.head, pace=parsed(0), cursor=WINDOW_BYTES
    )

    viewer.cursor += 1
    assert viewer.is_blocked
    assert not viewer.has_lost(stream)

    viewer.owed_until = 0
    assert viewer.has_lost(stream)
