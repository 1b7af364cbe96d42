"""
The room of one terminal: its viewers, who of them types, and its size.

The room parses no terminal bytes. It serves each viewer from the ring it keeps
(:mod:`vibehq_server.rooms.uplink`) and asks the worker for a keyframe when a viewer
cannot be served from it.
"""

import hashlib
from typing import TYPE_CHECKING, Any

from vibehq_nb.core.ids import Position, RoomKey, decode_position, worker_of
from vibehq_nb.core.log import Resume, answer
from vibehq_nb.core.messages import (
    PROTOCOL,
    Ack,
    Close,
    ContainerConnected,
    ContainerDisconnected,
    Exited,
    Gap,
    Hello,
    InputAck,
    Message,
    Resize,
    Resized,
    TakeWriter,
    TerminalSnapshot,
    Tick,
    Title,
)
from vibehq_nb.core.roles import Role
from vibehq_server.connection import Connection, ConnectRequest
from vibehq_server.replicated import ReplicatedRoom
from vibehq_server.rooms.uplink import Uplink
from vibehq_server.rooms.viewer import Viewer
from vibehq_server.rooms.writing import Writing

if TYPE_CHECKING:
    from vibehq_server.hub import Hub


class TerminalRoom(ReplicatedRoom):
    """One terminal, seen and typed into by many."""

    def __init__(self, key: RoomKey, hub: "Hub") -> None:
        """Create the room; it waits for its worker."""
        super().__init__(key, hub)
        self.worker = worker_of(key.name)
        self.viewers: dict[Connection, Viewer] = {}
        self._uplink = Uplink(self._paint_joining)
        self.writing = Writing(self._uplink, hub.clock, self.announce_writer)

    async def on_start(self, props: dict[str, Any]) -> None:
        """Begin with nothing: the truth is the worker's."""

    async def on_stop(self) -> None:
        """Let go: nothing is kept here that the worker does not have."""

    @property
    def is_online(self) -> bool:
        """Whether the worker's link is up and has said hello."""
        return self._uplink.is_online

    @property
    def run_state(self) -> str:
        """One of waiting, running and exited."""
        if self._uplink.exited is not None:
            return "exited"
        return "running" if self.is_online else "waiting"

    @property
    def exited(self) -> Exited | None:
        """How the shell ended, or None."""
        return self._uplink.exited

    def _report(self) -> None:
        if not self._uplink.epoch:
            return  # nobody knows yet whether there is such a terminal
        size = self._uplink.stream.size
        self.hub.directory.update_terminal(
            self.name,
            self.worker,
            state=self.run_state,
            cols=size.cols,
            rows=size.rows,
            viewers=len(self.viewers),
            writer=self.writing.writer,
        )

    # Viewers come and go

    async def on_connect(self, connection: Connection, request: ConnectRequest) -> None:
        """Take in a viewer, or wait for the hello of the worker's link."""
        self.connections.add(connection)
        if connection.identity.has(Role.WORKER):
            return
        who = f"{connection.identity.user}/{connection.id}"
        viewer = Viewer(connection, hashlib.sha256(who.encode()).hexdigest()[:32])
        viewer.position = decode_position(
            request.query.get("epoch"), request.query.get("offset")
        )
        self.viewers[connection] = viewer
        connection.outbox.on_drain = lambda: self._pump(viewer)
        self._report()
        if self.is_online:
            self._admit_viewer(viewer)
        else:
            self._tell(viewer, "waiting", "worker-away")

    def _tell(self, viewer: Viewer, resume: Resume, reason: str) -> None:
        uplink = self._uplink
        size = uplink.stream.size
        told = self._connected(
            viewer.connection,
            resume,
            reason,
            epoch=uplink.epoch,
            offset=uplink.head,
            oldest=uplink.stream.oldest,
            cols=size.cols,
            rows=size.rows,
            screen=uplink.screen,
            input=viewer.input_offset if self.is_online else None,
            writer=self.writing.writer,
            state=self.run_state,
        )
        viewer.connection.send_message(told)

    def _admit_viewer(self, viewer: Viewer) -> None:
        uplink = self._uplink
        resume, reason = answer(
            viewer.position, uplink.epoch, uplink.stream.oldest, uplink.head
        )
        viewer.input_offset = uplink.inputs.get(viewer.session, 0)
        viewer.resume, viewer.reason = resume, reason
        self._tell(viewer, resume, reason)
        if resume == "resumed" and viewer.position is not None:
            viewer.cursor, viewer.owed_until = viewer.position.offset, uplink.head
            viewer.phase = "live"
            self._pump(viewer)
        else:
            viewer.phase = "joining"
            uplink.ask_keyframe()

    async def on_close(
        self, connection: Connection, code: int, reason: str, was_clean: bool
    ) -> None:
        """Forget a viewer, or note that the worker is away."""
        if self._uplink.is_link(connection):
            self._uplink.lose()
            gone = ContainerDisconnected(worker=self.worker, reason="connection lost")
            self.broadcast_message(gone)
        elif self.viewers.pop(connection, None) is not None:
            user = connection.identity.user
            others = (v.connection.identity.user for v in self.viewers.values())
            if user not in others:
                self.writing.set_writer(user, "give")
        self._report()

    def wants(self, connection: Connection, message: Message) -> bool:
        """Viewers are told what is told to all; the worker's link is not."""
        return connection in self.viewers

    def tick(self) -> None:
        """Give every viewer a frame, so that it knows the socket lives."""
        for viewer in tuple(self.viewers.values()):
            viewer.connection.send_message(Tick(offset=viewer.cursor))
        self.writing.expire()

    # Output

    def _pump(self, viewer: Viewer) -> None:
        """Send *viewer* what it is owed, as far as it can take it now."""
        uplink = self._uplink
        while viewer.phase == "live" and viewer.connection.is_open:
            if viewer.has_lost(uplink.stream):
                viewer.resume, viewer.reason, viewer.phase = (
                    "snapshot",
                    "slow",
                    "joining",
                )
                uplink.ask_keyframe()
                return
            if viewer.is_blocked or not uplink.chunks.advance(viewer):
                break
        exited = uplink.exited
        if exited is None or viewer.told_exit or viewer.phase != "live":
            return
        if viewer.cursor >= exited.offset:
            viewer.told_exit = True
            viewer.connection.send_message(exited)

    def _pump_all(self) -> None:
        for viewer in tuple(self.viewers.values()):
            self._pump(viewer)

    def _paint_joining(self, snapshot: TerminalSnapshot, frames: list[bytes]) -> None:
        for viewer in tuple(self.viewers.values()):
            if viewer.phase == "joining":
                self._paint(viewer, snapshot, frames)

    def _paint(
        self, viewer: Viewer, snapshot: TerminalSnapshot, frames: list[bytes]
    ) -> None:
        # Without an await, so that no byte falls between keyframe and tail.
        connection = viewer.connection
        if viewer.resume == "snapshot":
            held = viewer.cursor or (viewer.position.offset if viewer.position else 0)
            gap = Gap(from_=held, to=snapshot.offset, reason=viewer.reason)
            connection.send_message(gap)
        connection.send_message(snapshot)
        for frame in frames:
            connection.write(frame)
        viewer.cursor = viewer.owed_until = snapshot.offset
        viewer.acked = None if viewer.acked is None else snapshot.offset
        viewer.size = (snapshot.cols, snapshot.rows)
        viewer.phase = "live"
        self._pump(viewer)

    # Messages

    async def on_bytes(self, connection: Connection, data: bytes) -> None:
        """Take terminal bytes from the worker, keystrokes from anybody else."""
        if connection.identity.has(Role.WORKER):
            self._uplink.take_bytes(connection, data)
            self._pump_all()
        else:
            self.writing.type(self.viewers[connection], data)

    async def on_message(self, connection: Connection, message: str | bytes) -> None:
        """Take text of a raw connection as keystrokes."""
        if connection.is_raw and isinstance(message, str):
            message = message.encode()
        await super().on_message(connection, message)

    async def receive(self, connection: Connection, message: Message) -> int | None:
        """Act on one message of the worker or of a viewer."""
        if connection.identity.has(Role.WORKER):
            if isinstance(message, Hello):
                self._greet(connection, message)
            elif self._uplink.is_link(connection):
                self._from_worker(message)
            return None
        viewer = self.viewers[connection]
        match message:
            case Ack(offset=offset):
                viewer.acked = max(viewer.acked or 0, min(offset, viewer.cursor))
                self._pump(viewer)
            case Resize(cols=cols, rows=rows):
                viewer.cols, viewer.rows = cols, rows
                self.writing.resize(viewer)
            case TakeWriter(action=action):
                self.set_writer(connection.identity.user, action)
        return None

    def _greet(self, connection: Connection, hello: Hello) -> None:
        if hello.protocol != PROTOCOL:
            connection.close(Close.PROTOCOL, "upgrade vibehq-nb on this worker")
            return
        before = self._uplink.epoch
        for viewer in self.viewers.values():
            if viewer.phase == "live":
                viewer.position = Position(before, viewer.cursor)
        self._uplink.greet(connection, hello)
        self._report()
        for viewer in tuple(self.viewers.values()):
            self._rejoin(viewer, is_same_epoch=before == hello.epoch)

    def _rejoin(self, viewer: Viewer, *, is_same_epoch: bool) -> None:
        if viewer.phase == "waiting" or not is_same_epoch:
            viewer.told_exit = False
            self._admit_viewer(viewer)
            return
        viewer.connection.send_message(ContainerConnected(worker=self.worker))
        if viewer.phase == "joining":
            self._uplink.ask_keyframe()
        else:
            self._pump(viewer)

    def _from_worker(self, message: Message) -> None:
        match message:
            case TerminalSnapshot():
                self._uplink.begin_keyframe(message)
            case Resized(cols=cols, rows=rows):
                self._uplink.stream.resize(cols, rows)
                self._pump_all()
                self._report()
            case Exited():
                self._uplink.exited = message
                self._pump_all()
                self._report()
            case InputAck(offset=offset, session=str(session)):
                self._uplink.inputs[session] = offset
                for viewer in self.viewers.values():
                    if viewer.session == session:
                        viewer.connection.send_message(InputAck(offset=offset))
            case Title():
                self.broadcast_message(message)

    def set_writer(self, user: str, action: str) -> None:
        """Take the lease for *user*, or give it back, as *action* says."""
        self.writing.set_writer(user, action)

    def announce_writer(self) -> None:
        """Tell every viewer who holds the lease."""
        self.broadcast_message(self.writing.as_message())
        self._report()
