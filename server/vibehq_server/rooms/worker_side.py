"""What the worker says of one terminal, and what follows from it for the viewers."""

from typing import TYPE_CHECKING

from vibehq_nb.core.ids import Position
from vibehq_nb.core.messages import (
    PROTOCOL,
    Close,
    CommandEnded,
    CommandStarted,
    ContainerConnected,
    Cwd,
    Exited,
    Frozen,
    Hello,
    InputAck,
    Message,
    Resized,
    Since,
    TerminalSnapshot,
    Title,
)
from vibehq_server.connection import Connection
from vibehq_server.rooms.viewer import Viewer

if TYPE_CHECKING:
    from vibehq_server.rooms.terminal import TerminalRoom


class WorkerSide:
    """Acts on the messages of a terminal's link, for its room."""

    def __init__(self, room: "TerminalRoom") -> None:
        """Act for *room*."""
        self._room = room

    def receive(self, connection: Connection, message: Message) -> None:
        """Act on one message; before its hello a connection says nothing else."""
        if isinstance(message, Hello):
            self._greet(connection, message)
        elif self._room.uplink.is_link(connection):
            self._take(message)

    def _greet(self, connection: Connection, hello: Hello) -> None:
        if hello.protocol != PROTOCOL:
            connection.close(Close.PROTOCOL, "upgrade vibehq-nb on this worker")
            return
        before, counted = self._room.uplink.epoch, self._room.keyboard.counted(hello)
        for viewer in self._room.viewers:
            if viewer.phase == "live":
                viewer.position = Position(before, viewer.cursor)
        recorded = self._room.commands.recorded(hello.epoch)
        wanted = (self._room.viewers.needed(hello), self._room.recorder.needed(hello))
        needed = min((one for one in wanted if one is not None), default=None)
        if before != hello.epoch:
            # What is to be told of the life before is told while it is there.
            self._room.keyboard.writing.end_stretch()
            self._room.recorder.leave(hello.epoch)
        self._room.uplink.greet(connection, hello, needed, recorded)
        self._room.is_disowned = False
        self._room.target = hello.target
        self._room.keyboard.recount(hello, counted)
        self._room.linked.set()
        self._room.recorder.greet()
        self._room.report()
        for viewer in self._room.viewers:
            is_ahead = viewer.phase == "live" and viewer.cursor > self._room.uplink.head
            self._rejoin(viewer, goes_on=before == hello.epoch and not is_ahead)
            self._room.keystrokes.release(viewer)

    def _rejoin(self, viewer: Viewer, *, goes_on: bool) -> None:
        if viewer.phase == "waiting" or not goes_on:
            viewer.told_exit = False
            self._room.admit(viewer)
            return
        viewer.connection.send_message(ContainerConnected(worker=self._room.worker))
        self._room.keystrokes.recount(viewer)
        self._room.viewers.serve(viewer)

    def _take(self, message: Message) -> None:
        match message:
            case TerminalSnapshot():
                self._room.uplink.begin_keyframe(message)
            case Since(offset=offset):
                self._room.uplink.begin_again(offset)
            case InputAck(session=str(session)):
                self._answer(session, message)
            case Title() | Cwd():
                self._rename(message)
            case CommandStarted() | CommandEnded():
                if self._room.commands.take(message):
                    self._room.recorder.command(message)
            case Resized() | Exited() | Frozen():
                self._change(message)

    def _answer(self, session: str, ack: InputAck) -> None:
        before = self._room.uplink.note_input(session, ack.offset)
        self._room.keyboard.writing.count(session, before, ack.offset)
        for viewer in self._room.viewers:
            if viewer.session == session:
                self._room.keystrokes.answer(viewer, ack)

    def _rename(self, message: Title | Cwd) -> None:
        self._room.uplink.names[type(message)] = message
        self._room.broadcast_message(message)
        if isinstance(message, Title):
            self._room.recorder.title(message.text)

    def _change(self, message: Resized | Exited | Frozen) -> None:
        match message:
            case Resized(cols=cols, rows=rows):
                if self._room.uplink.stream.resize(cols, rows):
                    self._room.notes.sized(cols, rows)
            case Exited():
                self._room.uplink.end(message)
            case Frozen(is_frozen=is_frozen):
                self._room.uplink.is_frozen = is_frozen
                for viewer in self._room.viewers:
                    self._room.keystrokes.recount(viewer)
        self._room.viewers.pump_all()
        self._room.recorder.pull()
        self._room.report()
