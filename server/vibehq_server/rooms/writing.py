"""Who types into a terminal: the input lease, and who typed how much."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal, Protocol

from vibehq_nb.core.attribution import STRETCH_SECONDS, Attribution, Stretch
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.lease import Lease
from vibehq_nb.core.messages import Writer
from vibehq_nb.core.replies import is_reply
from vibehq_server.rooms.uplink import SESSIONS_KEPT, Uplink
from vibehq_server.rooms.viewer import Viewer

How = Literal["typed", "taken", "given", "left", "expired"]

UNKNOWN = "unknown"
"""Who typed what was taken from a session nobody here remembers."""


class Told(Protocol):
    """Hears what becomes of the keyboard."""

    def writer_changed(self, user: str | None, lost: str | None, how: How) -> None:
        """Hear that the lease passed on."""

    def wrote(self, stretch: Stretch) -> None:
        """Hear who typed how much."""


class Writing:
    """
    The input lease of one terminal, and the attribution of its keys.

    Args:
        uplink: Where keystrokes go.
        clock: Seconds since 1970.
        told: Hears every change of the lease and every stretch of keys.
    """

    def __init__(self, uplink: Uplink, clock: Callable[[], float], told: Told) -> None:
        """Begin with the lease free."""
        self._uplink = uplink
        self._clock = clock
        self._told = told
        self._lease = Lease()
        self._attribution = Attribution()
        self._users: dict[str, str] = {}  # by session; full: the longest silent goes
        self._ending: asyncio.TimerHandle | None = None
        self.typist: Viewer | None = None
        """The viewer whose keys, or whose wish for the lease, came last."""

    @property
    def writer(self) -> str | None:
        """Who holds the lease, or None when it is free."""
        return self._lease.writer(self._clock())

    @property
    def driver(self) -> Viewer | None:
        """The viewer its lease holder typed in last, None while the lease is free."""
        typist, writer = self.typist, self.writer
        if typist is None or writer is None or not typist.connection.is_open:
            return None
        return typist if typist.connection.identity.user == writer else None

    def as_message(self) -> Writer:
        """Return what viewers are told of the lease."""
        now = self._clock()
        user = self._lease.writer(now)
        return Writer(user=user, idle_seconds=round(self._lease.idle_seconds(now), 1))

    def expire(self) -> None:
        """Notice a lease that nobody has renewed."""
        held = self._lease.holder
        if held != self.writer:
            self._changed(None, held, "expired")

    def type(self, viewer: Viewer, data: bytes) -> None:
        """
        Pass on what *viewer* typed; typing takes a free lease.

        What a terminal answers by itself counts from the lease holder alone, and
        takes no lease.

        Raises:
            DeniedError: ``not-writer``, ``no-worker``, ``exited`` or ``frozen``;
                nothing was typed.
        """
        self.expire()
        user, before = viewer.connection.identity.user, self.writer
        if before != user and is_reply(data):
            if viewer.connection.is_raw:  # it counts nothing and means nothing by it
                return
            text = "Only the terminal of whoever types answers programs."
            raise DeniedError("not-writer", text)
        if before not in (None, user):
            idle = self._lease.idle_seconds(self._clock())
            text = f"{before} is typing here ({idle:.0f} s ago); nothing was typed."
            raise DeniedError("not-writer", text)
        self._uplink.type(viewer.session, viewer.input_offset, data)
        viewer.input_offset += len(data)
        self._remember(viewer.session, user)
        self._lease.type(user, self._clock())
        self.typist = viewer
        if before != user:
            self._changed(user, None, "typed")

    def set_writer(self, user: str, action: str, to: str | None = None) -> None:
        """Take the lease for *user*, or give it: back, or *to* somebody."""
        self.expire()
        if action == "take":
            lost = self._lease.take(user, self._clock())
            self._changed(user, lost, "taken")
        elif self._lease.give(user):
            if to is not None:
                self._lease.take(to, self._clock())
            self._changed(to, user, "given")

    def leave(self, user: str) -> None:
        """Free the lease of *user*, who is not here any more."""
        if self._lease.give(user):
            self._changed(None, user, "left")

    def _changed(self, user: str | None, lost: str | None, how: How) -> None:
        self.end_stretch()
        self._told.writer_changed(user, lost, how)

    # Who typed what

    def _remember(self, session: str, user: str) -> None:
        self._users.pop(session, None)
        self._users[session] = user
        if len(self._users) > SESSIONS_KEPT:
            del self._users[next(iter(self._users))]

    def user_of(self, session: str) -> str | None:
        """Return whose keys *session* is, if that is remembered."""
        return self._users.get(session)

    def recall(self, typed: list[Any]) -> dict[str, int]:
        """Take over who had typed before a restart; return the counts by session."""
        for session, user, _total in typed:
            self._remember(session, user)
        return {session: total for session, _user, total in typed}

    def count(self, session: str, before: int, total: int) -> None:
        """Note that the terminal took keys of *session*: now *total*, not *before*."""
        if total <= before:
            return
        user = self._users.get(session, UNKNOWN)
        at_byte, now = self._uplink.stream.head, self._clock()
        ended = self._attribution.take(
            user, session, total - before, total, at_byte, now
        )
        for stretch in ended:
            self._told.wrote(stretch)
        if self._attribution.is_open and self._ending is None:
            loop = asyncio.get_running_loop()
            self._ending = loop.call_later(STRETCH_SECONDS, self.end_stretch)

    def end_stretch(self) -> None:
        """Tell what was typed so far."""
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        for stretch in self._attribution.end():
            self._told.wrote(stretch)
