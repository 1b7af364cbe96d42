"""What viewers of a terminal type, on its way to the worker and answered from there."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import UNSET

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import InputAck
from vibehq_server.rooms.uplink import REFUSALS, Uplink
from vibehq_server.rooms.viewer import Viewer
from vibehq_server.rooms.writing import Writing

if TYPE_CHECKING:
    from vibehq_server.rooms.terminal import TerminalRoom

HELD_SECONDS = 5.0
HELD_BYTES = 64 * 1024
"""What is typed on a raw connection waits so long for the worker; more is refused."""


class Keystrokes:
    """Counts, passes on and answers the keystrokes of one terminal's viewers."""

    def __init__(
        self,
        room: "TerminalRoom",
        uplink: Uplink,
        writing: Writing,
        clock: Callable[[], float],
    ) -> None:
        """Pass on by *writing*; *clock* is seconds that never go back."""
        self._room = room
        self._uplink = uplink
        self._writing = writing
        self._clock = clock

    def take(self, viewer: Viewer, keys: bytes) -> None:
        """
        Pass on what *viewer* typed.

        What was typed before a new count was known, and is sent again, is dropped.
        A raw connection cannot be told to wait: what it types while the worker is away
        is held for 5 s, at most 64 KiB.

        Raises:
            DeniedError: ``not-writer``, ``no-worker`` or ``exited``; nothing was typed.
        """
        if viewer.awaits_count:
            return
        if self._uplink.is_online or not viewer.connection.is_raw:
            self._writing.type(viewer, keys)
        elif len(viewer.held_keys) + len(keys) > HELD_BYTES:
            text = "The worker is away, and too much was typed meanwhile."
            raise DeniedError("no-worker", text)
        else:
            if not viewer.held_keys:
                viewer.held_at = self._clock()
            viewer.held_keys += keys

    def release(self, viewer: Viewer) -> None:
        """Pass on what was held for the worker, unless that is too long ago."""
        keys, viewer.held_keys = viewer.held_keys, b""
        if not keys:
            return
        try:
            if self._clock() - viewer.held_at > HELD_SECONDS:
                text = "The worker was away for too long; nothing was typed."
                raise DeniedError("no-worker", text)
            self._writing.type(viewer, keys)
        except DeniedError as error:
            self._room.refuse(viewer.connection, error.code, error.reason)

    def recount(self, viewer: Viewer) -> None:
        """Count from what the worker took; tell a viewer that is live."""
        taken = self._uplink.inputs.get(viewer.session, 0)
        viewer.recounted_at = self._uplink.last_number
        if viewer.phase == "live":
            viewer.count_anew(taken)
            self._room.tell(viewer, "resumed", "")

    def begin_at(self, viewer: Viewer, offset: int) -> None:
        """Note that what *viewer* types from here on knows the count *offset*."""
        viewer.tells_count = True
        if offset == viewer.input_offset:
            viewer.awaits_count = False

    def answer(self, viewer: Viewer, ack: InputAck) -> None:
        """Tell *viewer* what became of its keystrokes."""
        if not ack.refused:
            viewer.connection.send_message(InputAck(offset=ack.offset))
        elif ack.number is UNSET or ack.number > viewer.recounted_at:
            # What was sent behind a refused frame is refused too: one answer is due.
            reason = str(ack.refused)
            if reason in REFUSALS:
                self._room.refuse(viewer.connection, reason, REFUSALS[reason])
            self.recount(viewer)
