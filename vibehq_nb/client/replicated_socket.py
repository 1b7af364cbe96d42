"""
A socket to an event room that loses nothing: positions down, acknowledgements up.

The position goes with every try, so that the room sends exactly what is missing or says
what it cannot. A message with an id is sent until the room has accepted it; the room
applies an id once for each (user, ``_pk``).
"""

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Unpack

import msgspec

from vibehq_nb.client.errors import QueueFullError, UnacceptedError
from vibehq_nb.client.link import CloseEvent
from vibehq_nb.client.replica import Progress
from vibehq_nb.client.socket import PartySocket
from vibehq_nb.client.socket_options import PartyOptions
from vibehq_nb.client.socket_queues import size_bytes
from vibehq_nb.core.errors import DeniedError, UsageError
from vibehq_nb.core.ids import Position
from vibehq_nb.core.messages import Close
from vibehq_nb.core.party_url import Query

MOST_UNACCEPTED = 256
"""As many ids as a room remembers of one sender."""


@dataclass(frozen=True, slots=True)
class ResumeAnswer:
    """
    What a room made of the position that was sent.

    Attributes:
        resume: ``fresh``: none was given; a snapshot comes. ``resumed``: exactly what
            is missing comes. ``snapshot``: some of it is no longer kept; ``gap`` will
            never come. ``reset``: it is of another life of the log; a snapshot comes.
            ``waiting``: nothing comes yet.
        reason: The room's word for why.
        position: Where the room's log ends.
        gap: The half-open range (from, to] of offsets that will never be sent.
    """

    resume: str
    reason: str
    position: Position
    gap: tuple[int, int] | None = None


@dataclass(slots=True)
class _Unaccepted:
    frame: str
    answer: asyncio.Future[int]


class ReplicatedPartySocket(PartySocket):
    """
    A PartySocket that resumes, and whose submitted messages happen exactly once.

    Messages come as the room sent them; an entry that was seen before a reconnect does
    not come again.
    """

    def __init__(
        self,
        *,
        position: Position | None = None,
        on_resume: Callable[[ResumeAnswer], object] | None = None,
        **options: Unpack[PartyOptions],
    ) -> None:
        """
        Prepare the socket; nothing is dialled yet.

        Args:
            position: Where to resume from.
            on_resume: Told the room's answer to each link's position.
            **options: See :class:`PartySocket`.

        Raises:
            UsageError: As PartySocket does.
        """
        super().__init__(**options)
        self._progress = Progress(position)
        self._on_resume = on_resume
        self._resume: ResumeAnswer | None = None  # a gap's, until the gap is told
        # At most MOST_UNACCEPTED, and max_enqueued_bytes: submit() raises beyond.
        self._unaccepted: dict[str, _Unaccepted] = {}

    @property
    def position(self) -> Position | None:
        """
        How much was received; None before the first snapshot.

        Who stores a position for later stores that of the last message it has done
        something about: those not yet read count as received here.
        """
        return self._progress.position

    def submit(self, message: Mapping[str, object]) -> asyncio.Future[int]:
        """
        Send *message* until the room accepts it; the future tells its offset.

        It is sent now or with the next link, and again with each further one until it
        is answered, in the order of the calls. It gets an ``id`` if it has none.
        The future raises DeniedError where the room refuses it, and UnacceptedError
        where the socket ends first. Cancelling it ends the repeats, not the message.

        Raises:
            QueueFullError: If 256 messages or ``max_enqueued_bytes`` wait already;
                nothing is sent then.
            UsageError: If one with this id waits already.
        """
        message_id = str(message.get("id") or uuid.uuid4().hex)
        if message_id in self._unaccepted:
            raise UsageError("A message with this id waits for its answer already.")
        frame = msgspec.json.encode({**message, "id": message_id}).decode()
        if not self._may_wait(frame):
            raise QueueFullError(
                "A message was not sent: too many wait to be accepted. Await some."
            )
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(partial(self._forget_if_cancelled, message_id))
        self._unaccepted[message_id] = _Unaccepted(frame, answer)
        if self._link is not None and self._link.is_open:
            self._link.write(frame)
        return answer

    def _may_wait(self, frame: str) -> bool:
        frames = [frame, *(item.frame for item in self._unaccepted.values())]
        size = sum(map(size_bytes, frames))
        is_small = size <= self._settings.max_enqueued_bytes
        return is_small and len(frames) <= MOST_UNACCEPTED

    def _forget_if_cancelled(
        self, message_id: str, answer: asyncio.Future[int]
    ) -> None:
        if answer.cancelled():
            self._unaccepted.pop(message_id, None)

    def update_properties(self, **changes: Unpack[PartyOptions]) -> None:
        """
        Do as PartySocket does; the position is forgotten if the room is another one.

        Raises:
            UsageError: As PartySocket does, and while messages wait to be accepted:
                under another id they could happen twice.
        """
        if self._unaccepted:
            raise UsageError("Messages wait to be accepted: await them first.")
        before = self.room_url
        super().update_properties(**changes)
        if self.room_url != before:
            self._progress.position = None

    def _more_query(self) -> Query:
        position = self._progress.position
        if position is None:
            return {}
        return {"epoch": position.epoch, "offset": position.offset}

    def _first_frames(self) -> Iterable[str | bytes]:
        return [item.frame for item in self._unaccepted.values()]

    def _takes(self, message: str | bytes) -> bool:
        said = _decode(message)
        kind = said.text("type")
        if kind in ("accepted", "error"):
            self._note_answer(kind, said)
        is_new = self._progress.take(
            kind, said.number("offset"), said.text("epoch"), said.text("resume")
        )
        if kind in ("connected", "gap"):
            self._note_resume(kind, said)
        return is_new

    def _note_resume(self, kind: str, said: "_Said") -> None:
        answer, self._resume = self._resume, None
        if kind == "gap" and answer is not None:
            answer = replace(answer, gap=(said.number("from"), said.number("to")))
        elif kind == "connected":
            head = Position(said.text("epoch"), said.number("offset"))
            answer = ResumeAnswer(said.text("resume"), said.text("reason"), head)
            if answer.resume == "snapshot":
                self._resume = answer  # its gap follows
                return
        if answer is not None:
            self._teller.tell(self._on_resume, answer)

    def _note_answer(self, kind: str, said: "_Said") -> None:
        item = self._unaccepted.pop(said.text("id"), None)
        if item is None or item.answer.done():
            return
        if kind == "accepted":
            item.answer.set_result(said.number("offset"))
        else:
            denied = DeniedError(said.text("code"), said.text("message"))
            item.answer.set_exception(denied)

    def _lose(self, event: CloseEvent, error: Exception | None) -> None:
        if event.code == Close.TOO_BIG and self._unaccepted:
            # Sent again it would end every link: the longest is what was too long.
            longest = max(self._unaccepted.items(), key=lambda one: len(one[1].frame))
            message_id, item = longest
            del self._unaccepted[message_id]
            if not item.answer.done():
                text = f"The room takes no message of {len(item.frame)} characters."
                item.answer.set_exception(DeniedError("too-big", text))
        super()._lose(event, error)

    def _end(self, error: Exception | None) -> None:
        super()._end(error)
        text = "The socket ended before the room accepted this: it may have happened."
        for item in list(self._unaccepted.values()):
            if not item.answer.done():
                item.answer.set_exception(UnacceptedError(text))
        self._unaccepted.clear()


class _Said(dict[str, object]):
    """What a message says; a room's own may say anything under any name."""

    def text(self, name: str) -> str:
        found = self.get(name)
        return found if isinstance(found, str) else ""

    def number(self, name: str) -> int:
        found = self.get(name)
        return found if isinstance(found, int) else 0


def _decode(message: str | bytes) -> _Said:
    if isinstance(message, bytes):
        return _Said()
    try:
        found = msgspec.json.decode(message)
    except msgspec.DecodeError:
        return _Said()
    return _Said(found) if isinstance(found, dict) else _Said()
