"""
What a server counts: plain integers where frames pass, read when metrics are asked for.

A frame costs two integer additions on its own connection: one frame, and its bytes.
What a connection counted is added up when it is gone.
"""

from collections import Counter
from dataclasses import dataclass, fields

from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import Resume
from vibehq_nb.core.messages import Close

MAX_REASONS = 64
OTHER = "other"
CLOSE_CODES = frozenset({*Close, 1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008})
"""Codes with a figure of their own; the peer may send any other."""


@dataclass(slots=True)
class Traffic:
    """Frames and their payloads' bytes, of one connection or of many."""

    received_frames: int = 0
    received_bytes: int = 0
    sent_frames: int = 0
    sent_bytes: int = 0

    def add(self, other: "Traffic") -> None:
        """Add what *other* counted."""
        for field in fields(self):
            total = getattr(self, field.name) + getattr(other, field.name)
            setattr(self, field.name, total)


class Counters:
    """The figures of one server since it started."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.opened: Counter[str] = Counter()
        """Sockets, by party."""
        self.closed: Counter[tuple[str, str]] = Counter()
        """Sockets, by party and close code."""
        self.slow: Counter[str] = Counter()
        """Slow consumers closed, by party."""
        self.refused: Counter[str] = Counter()
        """Handshakes, by the refusal's code."""
        self.resumes: Counter[tuple[str, str]] = Counter()
        """Answers to a resume, by party and answer."""
        self._gone: dict[str, Traffic] = {}

    def note_closed(self, room: RoomKey, code: int, traffic: Traffic) -> None:
        """Count a socket that is gone, and what passed through it."""
        label = str(int(code)) if code in CLOSE_CODES else OTHER
        self.closed[room.party, label] += 1
        self._gone.setdefault(room.party, Traffic()).add(traffic)

    def note_refused(self, code: str) -> None:
        """Count a refused handshake; what rooms of users say is bounded."""
        is_known = code in self.refused or len(self.refused) < MAX_REASONS
        self.refused[code if is_known else OTHER] += 1

    def note_resume(self, room: RoomKey, resume: Resume) -> None:
        """Count an answer."""
        self.resumes[room.party, resume] += 1

    def gone(self, party: str) -> Traffic:
        """Return a copy of what passed through the sockets that are gone."""
        total = Traffic()
        total.add(self._gone.get(party, Traffic()))
        return total
