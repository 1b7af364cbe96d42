"""Serves the viewers of one terminal from the ring its room keeps."""

from collections.abc import Iterator

from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.messages import Exited, Gap, Hello, TerminalSnapshot, Tick
from vibehq_server.connection import Connection
from vibehq_server.notices import note_gap
from vibehq_server.rooms.uplink import Uplink
from vibehq_server.rooms.viewer import Viewer

HEAD_BYTES = 1024
"""More than the messages ahead of a keyframe's bytes take."""


class Audience:
    """The viewers of one terminal, each at its own place in the ring."""

    def __init__(self, room: RoomKey, uplink: Uplink) -> None:
        """Begin with nobody in *room*."""
        self._room = room
        self._uplink = uplink
        self._viewers: dict[Connection, Viewer] = {}

    def __iter__(self) -> Iterator[Viewer]:
        """Iterate over the viewers as they are now."""
        return iter(tuple(self._viewers.values()))

    def __len__(self) -> int:
        """Return how many watch."""
        return len(self._viewers)

    def __contains__(self, connection: object) -> bool:
        """Tell whether *connection* is a viewer's."""
        return connection in self._viewers

    def __getitem__(self, connection: Connection) -> Viewer:
        """Return the viewer behind *connection*."""
        return self._viewers[connection]

    def add(self, viewer: Viewer) -> None:
        """Take in a viewer; it is served on as its outbox drains."""
        self._viewers[viewer.connection] = viewer
        viewer.connection.outbox.on_drain = lambda: self.serve(viewer)

    def remove(self, connection: Connection) -> Viewer | None:
        """Let a viewer go; None if it was none."""
        return self._viewers.pop(connection, None)

    def needed(self, hello: Hello) -> int | None:
        """Return the smallest offset the worker has that a viewer goes on from."""
        positions = [v.position for v in self if v.phase != "joining"]
        kept = range(hello.oldest, hello.offset + 1)
        return min(
            (p.offset for p in positions if p and p[0] == hello.epoch and p[1] in kept),
            default=None,
        )

    def pump(self, viewer: Viewer) -> None:
        """Send *viewer* what it is owed, as far as it can take it now."""
        uplink = self._uplink
        while viewer.phase == "live" and viewer.connection.is_open:
            if uplink.is_fetching and viewer.cursor < uplink.stream.oldest:
                return
            if viewer.has_lost(uplink.stream):
                viewer.resume, viewer.reason, viewer.phase = (
                    "snapshot",
                    "slow",
                    "joining",
                )
                self.serve(viewer)
                return
            if viewer.is_blocked or not uplink.chunks.advance(viewer):
                break
        exited = uplink.exited
        if exited is None or viewer.told_exit or viewer.phase != "live":
            return
        if viewer.cursor >= exited.offset:
            viewer.told_exit = True
            viewer.connection.send_message(exited)

    def serve(self, viewer: Viewer) -> None:
        """Go on with a viewer that can take more: bytes, or a keyframe."""
        if viewer.phase == "live":
            self.pump(viewer)
        elif viewer.phase == "joining" and viewer.takes_keyframe:
            self._uplink.ask_keyframe()

    def pump_all(self) -> None:
        """Send every viewer what it is owed."""
        for viewer in self:
            self.pump(viewer)

    def tick(self) -> None:
        """Give every viewer a frame, so that it knows the socket lives; serve it on."""
        for viewer in self:
            viewer.connection.send_message(Tick(offset=viewer.cursor))
            viewer.tick()
            self.serve(viewer)

    def tell_unjoined(self, exited: Exited) -> None:
        """Tell the end to those whose bytes will not lead them to it."""
        for viewer in self:
            if viewer.phase != "live":
                viewer.connection.send_message(exited)

    def paint_joining(self, snapshot: TerminalSnapshot, frames: list[bytes]) -> None:
        """Give the keyframe to those who wait for one and can take it."""
        size = HEAD_BYTES + sum(map(len, frames))
        for viewer in self:
            if viewer.phase != "joining" or not viewer.takes_keyframe:
                continue
            if viewer.connection.outbox.has_room(size):
                self._paint(viewer, snapshot, frames)

    def _paint(
        self, viewer: Viewer, snapshot: TerminalSnapshot, frames: list[bytes]
    ) -> None:
        # Without an await, so that no byte falls between keyframe and tail.
        connection = viewer.connection
        if viewer.resume == "snapshot" and snapshot.offset > viewer.cursor:
            gap = Gap(from_=viewer.cursor, to=snapshot.offset, reason=viewer.reason)
            note_gap(self._room, connection, gap)
            connection.send_message(gap)
        connection.send_message(snapshot)
        connection.write_together(frames)
        viewer.cursor = viewer.owed_until = snapshot.offset
        viewer.pace.move(snapshot.offset)
        viewer.is_silent = False
        viewer.size = (snapshot.cols, snapshot.rows)
        viewer.phase = "live"
        self.pump(viewer)
