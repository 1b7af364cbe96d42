"""
The room of one terminal: its viewers, who of them types, and its size.

The room parses no terminal bytes. It serves each viewer from the ring it keeps
(:mod:`vibehq_server.rooms.uplink`) and asks the worker for a keyframe when a viewer
cannot be served from it.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.ids import Position, RoomKey, decode_position, worker_of
from vibehq_nb.core.log import Resume, answer
from vibehq_nb.core.messages import (
    Ack,
    AskSizePolicy,
    ContainerDisconnected,
    Exited,
    InputAt,
    Message,
    Resize,
    TakeWriter,
)
from vibehq_nb.core.rates import Rate
from vibehq_nb.core.roles import BINARY, Role
from vibehq_server.connection import Connection, ConnectRequest
from vibehq_server.notices import note_resume
from vibehq_server.replicated import ReplicatedRoom
from vibehq_server.rooms.audience import Audience
from vibehq_server.rooms.commands import Commands
from vibehq_server.rooms.keyboard import Keyboard
from vibehq_server.rooms.keystrokes import Keystrokes
from vibehq_server.rooms.notes import Notes
from vibehq_server.rooms.recorder import Recorder
from vibehq_server.rooms.throttle import Throttle
from vibehq_server.rooms.uplink import Uplink
from vibehq_server.rooms.viewer import Viewer
from vibehq_server.rooms.worker_side import WorkerSide

if TYPE_CHECKING:
    from vibehq_server.hub import Hub

BELL = b"\a"


class TerminalRoom(ReplicatedRoom):
    """One terminal, seen and typed into by many; the truth is the worker's."""

    is_logged: ClassVar[bool] = False
    stays: ClassVar[bool] = True

    message_rate: ClassVar[Rate | None] = Rate(per_second=2000, burst=8000)
    """Keys are frames, and so is each acknowledgement of output."""

    def __init__(self, key: RoomKey, hub: "Hub") -> None:
        """Create the room; it waits for its worker."""
        super().__init__(key, hub)
        self.worker = worker_of(key.name)
        self.target = "local"
        """Where it runs, as its worker said last."""
        self.uplink = Uplink(lambda *painted: self.viewers.paint_joining(*painted))
        self.viewers = Audience(key, self.uplink)
        self.notes = Notes(hub, key.name, lambda: self.position)
        self.keyboard = Keyboard(self, self.uplink, self.notes)
        self.keystrokes = Keystrokes(
            self, self.uplink, self.keyboard.writing, hub.monotonic
        )
        self.throttle = Throttle(
            self.uplink, lambda: self.keyboard.writing.driver, hub.monotonic
        )
        self.commands = Commands(
            self.uplink, self.keyboard.writing, self.notes, hub.clock
        )
        self._worker_side = WorkerSide(self)
        self.linked = asyncio.Event()
        """Set while the worker's link is up."""
        self.is_disowned = False
        self.recorder = Recorder(
            key, hub, self.uplink, self.broadcast_message, self.notes.add
        )

    async def on_start(self, props: Mapping[str, Any]) -> None:
        """Know again what was set before a restart, and who had typed."""
        self.commands.recall(await self.keyboard.recall())

    async def on_stop(self) -> None:
        """Wait for nobody any more, and store what is not stored yet."""
        self.throttle.stop()
        self.keyboard.stop()
        await self.notes.flush()

    @property
    def is_online(self) -> bool:
        """Whether the worker's link is up and has said hello."""
        return self.uplink.is_online

    @property
    def is_idle(self) -> bool:
        """Whether nobody is here and no worker ever spoke of this terminal."""
        return not self.connections and not self.uplink.epoch

    @property
    def run_state(self) -> str:
        """One of waiting, running, frozen and exited."""
        if self.uplink.exited is not None:
            return "exited"
        if self.is_online and self.uplink.is_frozen:
            return "frozen"
        return "running" if self.is_online else "waiting"

    @property
    def exited(self) -> Exited | None:
        """How the shell ended, or None."""
        return self.uplink.exited

    @property
    def position(self) -> Position:
        """Where the terminal is: the bytes it has printed."""
        return Position(self.uplink.epoch, self.uplink.head)

    @property
    def oldest(self) -> int:
        """The smallest offset whose successors are all kept, here or at the worker."""
        return self.uplink.oldest

    def report(self) -> None:
        """Tell the directory how the terminal is now, the worker how many watch."""
        self.uplink.tell_watched(len(self.viewers))
        is_known = self.name in self.hub.directory.terminals
        if not self.uplink.epoch or not (self.is_online or is_known):
            return  # nobody knows yet whether there is such a terminal, or it is closed
        size = self.uplink.stream.size
        self.hub.directory.update_terminal(
            self.name,
            self.worker,
            target=self.target,
            state=self.run_state,
            cols=size.cols,
            rows=size.rows,
            viewers=len(self.viewers),
            writer=self.keyboard.writer,
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
        self.viewers.add(viewer)
        self.report()
        if self.is_online:
            self.admit(viewer)
        else:
            note_resume(self.hub, self.key, connection, "waiting", "worker-away")
            self.tell(viewer, "waiting", "worker-away")
            if self.exited is not None:
                connection.send_message(self.exited)

    def tell(self, viewer: Viewer, resume: Resume, reason: str) -> None:
        """Tell *viewer* what is true of the terminal now, and how it is joined."""
        uplink, size = self.uplink, self.uplink.stream.size
        told = self.connected(
            viewer.connection,
            resume,
            reason,
            epoch=uplink.epoch,
            offset=uplink.head,
            oldest=uplink.oldest,
            cols=size.cols,
            rows=size.rows,
            screen=uplink.screen,
            input=viewer.input_offset if self.is_online else None,
            writer=self.keyboard.writer,
            state=self.run_state,
            recording=self.recorder.id,
            size_policy=self.keyboard.sizes.policy.kind,
        )
        viewer.connection.send_message(told)
        self.recorder.tell(viewer.connection)

    def admit(self, viewer: Viewer) -> None:
        """Join *viewer* to a terminal that is online: by a resume, or a keyframe."""
        uplink = self.uplink
        resume, reason = answer(
            viewer.position, uplink.epoch, uplink.oldest, uplink.head
        )
        viewer.count_anew(uplink.inputs.get(viewer.session, 0))
        note_resume(self.hub, self.key, viewer.connection, resume, reason)
        viewer.begin(resume, reason)
        self.tell(viewer, resume, reason)
        for name in uplink.names.values():
            viewer.connection.send_message(name)
        if resume == "resumed":
            viewer.owed_until = uplink.head
            viewer.phase = "live"
            uplink.fetch(viewer.cursor)
            self.viewers.pump(viewer)
        else:
            viewer.phase = "joining"
            uplink.ask_keyframe()

    async def on_close(
        self, connection: Connection, code: int, reason: str, was_clean: bool
    ) -> None:
        """Forget a viewer, or note that the worker is away."""
        if self.uplink.is_link(connection):
            self.uplink.lose()
            self.linked.clear()
            gone = ContainerDisconnected(worker=self.worker, reason="connection lost")
            self.broadcast_message(gone)
            if self.is_disowned:
                self.bury()
        elif (viewer := self.viewers.remove(connection)) is not None:
            self.keyboard.forget(viewer)
            self.throttle.update()
        self.report()

    def bury(self) -> None:
        """Note that the worker is back without this terminal: how it ended is lost."""
        self.is_disowned = self.is_online  # by an older one that is on its way out
        if self.is_online or self.exited is not None or not self.uplink.epoch:
            return
        exited = Exited(offset=self.uplink.stream.head)
        self.uplink.end(exited)
        self.viewers.pump_all()
        self.viewers.tell_unjoined(exited)
        self.recorder.pull()
        self.report()

    def wants(self, connection: Connection, message: Message) -> bool:
        """Viewers are told what is told to all; the worker's link is not."""
        return connection in self.viewers

    def tick(self) -> None:
        """Serve everybody on, and look again at what time changes."""
        self.viewers.tick()
        self.keyboard.writing.expire()
        self.recorder.tick()

    # Messages

    def deliver_now(self, connection: Connection, message: str | bytes) -> bool:
        """
        Take bytes at once while no hook runs; False where there is more to it.

        Nothing that bytes lead to waits, so the room is still one actor.
        """
        if isinstance(message, str) or self._mailbox.is_busy:
            return False
        if not self.may_send(connection, BINARY):
            return False
        self.last_used = self.hub.monotonic()
        try:
            self._take_bytes(connection, message)
        except DeniedError as error:
            self.refuse(connection, error.code, error.reason)
        except Exception as error:
            failing = self._inbound.fail(connection, error, None)
            self.hub.spawn(failing, f"failure in {self.key}")
        return True

    async def on_bytes(self, connection: Connection, data: bytes) -> None:
        """Take terminal bytes from the worker, keystrokes from anybody else."""
        self._take_bytes(connection, data)

    def _take_bytes(self, connection: Connection, data: bytes) -> None:
        if connection.identity.has(Role.WORKER):
            self.uplink.take_bytes(connection, data)
            self.viewers.pump_all()
            self.throttle.update()
            self.recorder.pull()
        else:
            self.keystrokes.take(self.viewers[connection], data)

    async def on_message(self, connection: Connection, message: str | bytes) -> None:
        """Take text of a raw connection as keystrokes."""
        if connection.is_raw and isinstance(message, str):
            message = message.encode()
        await super().on_message(connection, message)

    async def receive(self, connection: Connection, message: Message) -> int | None:
        """Act on one message of the worker or of a viewer."""
        if connection.identity.has(Role.WORKER):
            self._worker_side.receive(connection, message)
            return None
        viewer = self.viewers[connection]
        match message:
            case Ack(offset=offset):
                viewer.pace.acknowledge(min(offset, viewer.cursor))
                self.viewers.serve(viewer)
                self.throttle.update()
            case InputAt(offset=offset):
                self.keystrokes.begin_at(viewer, offset)
            case Resize() | TakeWriter() | AskSizePolicy():
                self.keyboard.receive(viewer, message)
        return None

    def refuse(
        self,
        connection: Connection,
        code: str,
        reason: str,
        message_id: str | None = None,
    ) -> None:
        """Answer with an ``error``; a raw connection knows none and hears a bell."""
        if connection.is_raw:
            connection.send(BELL)
        super().refuse(connection, code, reason, message_id)
