"""The keyboard of one terminal: who has it, whose screen fits, what is kept of it."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from vibehq_nb.core.attribution import Stretch
from vibehq_nb.core.errors import DeniedError, NotStoredError
from vibehq_nb.core.messages import (
    AskSizePolicy,
    Hello,
    Resize,
    SizePolicyChanged,
    SizePolicyNow,
    TakeWriter,
)
from vibehq_nb.core.roles import Role
from vibehq_nb.core.sizes import SizePolicy
from vibehq_server.rooms.notes import Notes
from vibehq_server.rooms.sizing import Sizes
from vibehq_server.rooms.uplink import Uplink
from vibehq_server.rooms.viewer import Viewer
from vibehq_server.rooms.writing import How, Writing

if TYPE_CHECKING:
    from vibehq_server.rooms.terminal import TerminalRoom

logger = logging.getLogger(__name__)

RECALL_SECONDS = 5.0


class Keyboard:
    """
    The input lease and the size policy of one room, both told, both kept.

    Attributes:
        writing: The lease, and the way of every key.
        sizes: The policy, and the way of every size.
    """

    def __init__(self, room: "TerminalRoom", uplink: Uplink, notes: Notes) -> None:
        """Begin with the lease free and the writer's screen deciding."""
        self._room = room
        self._uplink = uplink
        self._notes = notes
        self.writing = Writing(uplink, room.hub.clock, self)
        self.sizes = Sizes(uplink, lambda: self.writing.writer)
        self._recalled: dict[str, Any] = {}

    @property
    def writer(self) -> str | None:
        """Who holds the lease, or None when it is free."""
        return self.writing.writer

    async def recall(self) -> dict[str, Any]:
        """Know again what was set before a restart, and who had typed; return all."""
        try:
            async with asyncio.timeout(RECALL_SECONDS):
                self._recalled = await self._notes.recall()
        except (NotStoredError, TimeoutError):
            logger.warning("%s: its log cannot be read now", self._room.key)
        if sizing := self._recalled.get("sizing"):
            policy = SizePolicy(sizing["policy"], sizing["cols"], sizing["rows"])
            self.sizes.recall(policy)
        return self._recalled

    def stop(self) -> None:
        """Pass nothing on any more; tell what was typed so far."""
        self.sizes.stop()
        self.writing.end_stretch()

    def counted(self, hello: Hello) -> dict[str, int]:
        """Return how many keys of each session were attributed before *hello*."""
        if self._uplink.epoch == hello.epoch:
            return self._uplink.inputs
        is_same = self._recalled.get("epoch") == hello.epoch
        return self.writing.recall(self._recalled["typed"]) if is_same else {}

    def recount(self, hello: Hello, counted: dict[str, int]) -> None:
        """Attribute what the worker took while its answers were lost."""
        for session, total in hello.inputs.items():
            self.writing.count(session, counted.get(session, 0), total)

    def receive(
        self, viewer: Viewer, message: Resize | TakeWriter | AskSizePolicy
    ) -> None:
        """Act on an operator's message about the keyboard or the size."""
        user = viewer.connection.identity.user
        match message:
            case Resize(cols=cols, rows=rows, hidden=is_hidden):
                self.sizes.report(viewer, cols, rows, is_hidden)
            case TakeWriter(action=action, to=to):
                if action == "take":
                    self.writing.typist = viewer
                self.set_writer(user, action, to or None)
            case AskSizePolicy():
                self.set_size_policy(user, message)

    def forget(self, viewer: Viewer) -> None:
        """Let go of what *viewer* had, who is gone."""
        self.sizes.forget(viewer)
        user = viewer.connection.identity.user
        if all(other.connection.identity.user != user for other in self._room.viewers):
            self.writing.leave(user)

    def set_writer(self, user: str, action: str, to: str | None = None) -> None:
        """
        Take the lease for *user*, or give it: back, or *to* somebody who is here.

        Raises:
            DeniedError: ``not-here``; the lease stays.
        """
        if to is not None and not self._may_type(to):
            raise DeniedError("not-here", "Nobody of that name may type here now.")
        self.writing.set_writer(user, action, to)

    def _may_type(self, user: str) -> bool:
        identities = (viewer.connection.identity for viewer in self._room.viewers)
        return any(one.user == user and one.has(Role.OPERATOR) for one in identities)

    def writer_changed(self, user: str | None, lost: str | None, how: How) -> None:
        """Tell every viewer who holds the lease, and let that one's size count."""
        if user != lost:
            self._notes.writer_changed(user, lost, how)
        if user is not None:
            self.sizes.decide()
        self._room.throttle.update()
        self._room.broadcast_message(self.writing.as_message())
        self._room.report()

    def wrote(self, stretch: Stretch) -> None:
        """Keep who typed how much."""
        self._notes.wrote(stretch)

    def set_size_policy(self, user: str, asked: AskSizePolicy) -> None:
        """Let another policy decide; a fixed size not given is the one there is."""
        size = self._uplink.stream.size
        policy = SizePolicy(
            asked.policy, asked.cols or size.cols, asked.rows or size.rows
        )
        self.sizes.set_policy(policy)
        self._notes.add(
            SizePolicyChanged(
                offset=0,
                policy=policy.kind,
                cols=policy.cols,
                rows=policy.rows,
                by=user,
            )
        )
        self._room.broadcast_message(SizePolicyNow(policy=policy.kind, by=user))
