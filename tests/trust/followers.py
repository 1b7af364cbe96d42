"""
Clients that keep every frame they are sent, and the judge of such a history.

The clients decide by the pure replicas of :mod:`vibehq_nb.client.replica`; the judge
does not use those: it reads the raw frames and compares them with the log itself.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from vibehq_nb.client.replica import EventReplica, Output, TerminalReplica
from vibehq_nb.core.codec import Decoder
from vibehq_nb.core.ids import Position
from vibehq_nb.core.messages import DOWNSTREAM

GONE = (OSError, ConnectionClosed, InvalidHandshake, EOFError, TimeoutError)
PAUSE_SECONDS = 0.02
"""Between two tries; there is no crowd here that jitter would spread."""

Json = dict[str, Any]


class Broken(AssertionError):
    """A promise that was not kept."""


@dataclass(frozen=True)
class Door:
    """
    How a client gets in.

    Attributes:
        port: The server's, on this host.
        headers: Its credential.
        via: The port to dial instead: a proxy's.
    """

    port: int
    headers: Mapping[str, str]
    via: int | None = None


async def dial(
    door: Door, room: str, position: Position | None = None, **query: str
) -> ClientConnection:
    """
    Open a socket to ``party/room``.

    Raises:
        Broken: If the server refuses for good.
    """
    if position is not None:
        query |= {"epoch": position.epoch, "offset": str(position.offset)}
    pairs = "&".join(f"{name}={value}" for name, value in query.items())
    try:
        return await connect(
            f"ws://127.0.0.1:{door.port}/parties/{room}?{pairs}",
            host="127.0.0.1",
            port=door.via or door.port,
            additional_headers=dict(door.headers),
            compression=None,
            max_size=None,
            open_timeout=5,
            close_timeout=1,
            ping_interval=None,
        )
    except InvalidStatus as refusal:
        if refusal.response.status_code < 500:
            raise Broken(f"refused: {refusal.response.body!r}") from None
        raise


class Follower:
    """
    Reads one room for as long as its task runs, however often the link breaks.

    Attributes:
        history: What happened, in order: ``("dial", position)``, then each frame.
        answers: Resume and reason of every ``connected``.
        printed: SHA-256 of all terminal bytes a person would have seen printed.
    """

    replica: EventReplica | TerminalReplica

    def __init__(
        self,
        door: Door,
        room: str,
        replica: EventReplica | TerminalReplica,
        on_open: Callable[[ClientConnection], Any] | None = None,
    ) -> None:
        self.replica = replica
        self.history: list[tuple[str, Any]] = []
        self.answers: list[tuple[str, str]] = []
        self.printed = hashlib.sha256()
        self._door, self._room = door, room
        self._decoder = Decoder(DOWNSTREAM[room.partition("/")[0]])
        self._on_open = on_open

    async def run(self) -> None:
        """Dial, read, and again; until cancelled."""
        while True:
            with suppress(*GONE):
                await self._follow()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _follow(self) -> None:
        position = self.replica.position
        async with await dial(self._door, self._room, position) as socket:
            self.history.append(("dial", position))
            if self._on_open is not None:
                await self._on_open(socket)
            async for frame in socket:
                self._take(frame)

    def _take(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            self.history.append(("bytes", frame))
            assert isinstance(self.replica, TerminalReplica)
            for event in self.replica.receive(frame):
                if isinstance(event, Output):
                    self.printed.update(event.content)
            return
        plain: Json = json.loads(frame)
        self.history.append((plain["type"], plain))
        if plain["type"] == "connected":
            self.answers.append((plain["resume"], plain["reason"]))
        self.replica.receive(self._decoder.decode(frame))

    @property
    def offset(self) -> int:
        """How far it is."""
        return self.replica.position.offset if self.replica.position else 0


def judge_entries(
    history: list[tuple[str, Any]],
    epoch: str,
    log: Mapping[int, Json],
    wants: Callable[[Json], bool] = lambda _: True,
) -> int:
    """
    Check that a history is a contiguous run of the one log, or that breaks were told.

    Args:
        history: Of one :class:`Follower` of an event room.
        epoch: The log's.
        log: What readers are sent, by offset.
        wants: Which entries the client's filter lets pass; more may come before the
            server has the filter, never fewer.

    Returns:
        How far the client was served.
    """
    at, told = 0, False
    given: Position | None = None
    for kind, frame in history:
        match kind:
            case "dial":
                given, told = frame, False
                _expect(
                    given is None or given.offset == at,
                    "a client resumes from what it was served",
                )
            case "connected":
                told = _judge_connected(frame, given, epoch)
            case "gap":
                _expect(frame["from"] == at, "a gap begins where the client is")
            case "snapshot":
                _expect(told, "a snapshot comes where the answer announced it")
                _expect(frame["epoch"] == epoch, "a snapshot is of this log")
                at, told = frame["offset"], False
            case "tick":
                _expect(not told, "what was announced comes before the tick")
                _expect(not _missing(log, at, frame["offset"], wants), "tick is true")
                at = max(at, frame["offset"])
            case _ if frame.get("offset") and kind != "accepted":
                offset = frame["offset"]
                _expect(offset > at, f"entry {offset} comes once, and in order")
                _expect(
                    not _missing(log, at, offset - 1, wants), f"no hole before {offset}"
                )
                _expect(log.get(offset) == frame, f"entry {offset} is as stored")
                at = offset
    return at


def _judge_connected(frame: Json, given: Position | None, epoch: str) -> bool:
    resume = frame["resume"]
    if given is None:
        _expect(resume == "fresh", "without a position the answer is fresh")
    elif given.epoch == epoch and given.offset <= frame["offset"]:
        _expect(resume in ("resumed", "snapshot"), "what is kept is resumed")
    else:
        _expect(resume == "reset", "another log is a reset")
    return resume != "resumed"


def _missing(log: Mapping[int, Json], after: int, to: int, wants: Any) -> list[int]:
    return [o for o in range(after + 1, to + 1) if o in log and wants(log[o])]


def judge_bytes(
    history: list[tuple[str, Any]], epoch: str, data: Callable[[int, int], bytes]
) -> tuple[int, int]:
    """
    Check that every byte came once and in order, or was declared missing.

    Args:
        history: Of one :class:`Follower` of a terminal.
        epoch: The terminal's.
        data: The true bytes of a range.

    Returns:
        The offset the client reached, and how many bytes were declared missing.
    """
    judge = _ByteJudge(epoch, data)
    for number, (kind, frame) in enumerate(history):
        step = getattr(judge, f"take_{kind}", None)
        if step is None:
            continue
        try:
            step(frame)
        except Broken as broken:
            before = [_told(one) for one in history[max(0, number - 12) : number + 1]]
            raise Broken(f"{broken}, at {judge.at}, after {before}") from None
    return judge.at, judge.missing


def _told(one: tuple[str, Any]) -> tuple[str, Any]:
    kind, frame = one
    return kind, len(frame) if isinstance(frame, bytes) else frame


class _ByteJudge:
    """Where a client of a terminal is, and what it was announced."""

    def __init__(self, epoch: str, data: Callable[[int, int], bytes]) -> None:
        self.at = self.missing = 0
        self._epoch, self._data = epoch, data
        self._resume = ""
        self._gap: tuple[int, int] | None = None
        self._due = self._lost = 0  # of the keyframe under way

    def take_dial(self, position: Position | None) -> None:
        self.at = position.offset if position else 0
        self._resume, self._gap, self._due = "", None, 0

    def take_connected(self, frame: Json) -> None:
        self._resume = frame["resume"]
        if self._resume != "waiting":
            _expect(frame["epoch"] == self._epoch, "it is this terminal")

    def take_gap(self, frame: Json) -> None:
        _expect(frame["from"] == self.at, "a gap begins where the client is")
        _expect(frame["to"] >= self.at, "a gap does not go back")
        self._resume, self._gap = "snapshot", (self.at, frame["to"])

    def take_snapshot(self, frame: Json) -> None:
        offset = frame["offset"]
        if self._resume == "snapshot":
            _expect(self._gap == (self.at, offset), "the gap is told")
            self._lost = offset - self.at
        elif self._resume == "resumed":
            _expect(offset <= self.at, "a snapshot that skips something is announced")
        else:
            _expect(self._resume in ("fresh", "reset"), "a snapshot is announced")
        self.at, self._due = offset, frame["bytes"]
        self._resume, self._gap = "resumed", None

    def take_bytes(self, frame: bytes) -> None:
        _expect(self._resume == "resumed", "what was announced comes first")
        rest, self._due = frame[self._due :], max(0, self._due - len(frame))
        if not self._due:
            self.missing, self._lost = self.missing + self._lost, 0
        end = self.at + len(rest)
        _expect(rest == self._data(self.at, end), f"the bytes after {self.at}")
        self.at = end

    def take_tick(self, frame: Json) -> None:
        _expect(frame["offset"] <= self.at, "tick is true")


def _expect(holds: bool, claim: str) -> None:
    if not holds:
        raise Broken(f"does not hold: {claim}")
