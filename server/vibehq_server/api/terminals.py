"""``/api/workers`` and ``/api/terminals``: who is there, open, inspect, end."""

import asyncio
import re
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.ids import RoomKey, worker_of
from vibehq_nb.core.messages import (
    AskSizePolicy,
    Cells,
    CloseTerminal,
    Freeze,
    Inspect,
    Message,
    Signal,
    Spawn,
    Text,
    Thaw,
    Words,
)
from vibehq_nb.core.roles import Role
from vibehq_server.api.base import ApiHandler
from vibehq_server.directory import may_see_terminal
from vibehq_server.room_logs.pages import read_page
from vibehq_server.rooms.terminal_log import log_key

LINK_SECONDS = 3.0
MAX_OFFSET = 2**53 - 1
MAX_NAME = 64
TerminalName = Annotated[
    str, Meta(max_length=MAX_NAME, pattern=r"\A[A-Za-z0-9._@-]+\Z")
]


class WorkersHandler(ApiHandler):
    """``GET /api/workers``."""

    def get(self) -> None:
        """List the workers that said hello, each with its terminals."""
        directory = self.context.hub.directory
        terminals = [
            terminal
            for terminal in directory.terminals.values()
            if may_see_terminal(self.identity, terminal.id)
        ]
        self.answer(
            {
                "workers": [
                    {
                        **asdict(worker),
                        "terminals": [t.id for t in terminals if t.worker == worker.id],
                    }
                    for _, worker in sorted(directory.workers.items())
                    if directory.may_see_worker(self.identity, worker.id)
                ]
            }
        )


class OpenTerminal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A terminal to open, or to attach to if it runs."""

    target: Text = "local"
    name: TerminalName | None = None
    worker: TerminalName | None = None
    command: Words | None = None
    cwd: Text | None = None
    cols: Cells = 80
    rows: Cells = 24


class TerminalsHandler(ApiHandler):
    """``/api/terminals``."""

    def get(self) -> None:
        """List the terminals within reach."""
        directory = self.context.hub.directory
        self.answer(
            {
                "terminals": [
                    asdict(terminal)
                    for _, terminal in sorted(directory.terminals.items())
                    if may_see_terminal(self.identity, terminal.id)
                ]
            }
        )

    async def post(self) -> None:
        """Open a terminal; one that runs already is attached to."""
        self.require(Role.OPERATOR)
        asked = self.decode_body(OpenTerminal)
        worker = asked.worker or self._only_worker()
        name = asked.name or _name_of(asked.target)
        terminal = f"{worker}:{name}" if name else worker
        key = self.context.hub.key("terminal", terminal)
        self.require_room(key)
        room = await self.live_room("worker", worker)
        await room.request(
            Spawn(
                id="",
                terminal=terminal,
                target=asked.target,
                command=asked.command,
                cwd=asked.cwd,
                cols=asked.cols,
                rows=asked.rows,
            )
        )
        self.context.hub.directory.update_terminal(terminal, worker)
        await self._wait_linked(key)
        self.answer({"id": terminal}, 201)

    async def _wait_linked(self, key: RoomKey) -> None:
        # Who joins next sees the screen at once. If it takes longer, they wait there.
        room: Any = await self.context.hub.room(*key)
        with suppress(TimeoutError):
            async with asyncio.timeout(LINK_SECONDS):
                await room.linked.wait()

    def _only_worker(self) -> str:
        online = self.context.hub.directory.online()
        if not online:
            raise DeniedError(
                "no-worker", "No worker is connected. Start one: vibehq worker."
            )
        if len(online) > 1:
            raise DeniedError(
                "bad-request", f"Name the worker: one of {', '.join(online[:10])}."
            )
        return online[0]


def _name_of(target: str) -> str:
    """Return what a terminal is called that was given no name: its place, if any."""
    place = target.partition(":")[2]
    return re.sub(r"[^A-Za-z0-9._@-]+", "-", place)[:MAX_NAME].strip("-")


class OneTerminalHandler(ApiHandler):
    """What the handlers of one terminal share."""

    def _key(self, *, must_be_known: bool = True) -> RoomKey:
        raw = self.raw_after("/api/terminals/")[0]
        key = self.context.hub.key("terminal", raw)
        self.require_read(key)
        if must_be_known and raw not in self.context.hub.directory.terminals:
            raise DeniedError("not-found", "There is no such terminal.")
        return key

    async def _ask(self, terminal: str, message: Message) -> dict[str, Any]:
        room = await self.live_room("worker", worker_of(terminal))
        result: dict[str, Any] = await room.request(message)
        return result


class TerminalHandler(OneTerminalHandler):
    """``/api/terminals/{id}``."""

    async def get(self, _id: str) -> None:
        """Tell how it is and what runs in the foreground."""
        key = self._key()
        known = asdict(self.context.hub.directory.terminals[key.name])
        try:
            seen = await self._ask(key.name, Inspect(id="", terminal=key.name))
        except DeniedError as error:
            seen = {"foreground": None, "unknown": error.code}
        self.answer({**known, **seen})

    async def delete(self, _id: str) -> None:
        """End it: hang up, then terminate, then kill."""
        key = self._key()
        self.require(Role.OPERATOR)
        try:
            result = await self._ask(key.name, CloseTerminal(id="", terminal=key.name))
        except DeniedError as error:
            if error.code != "not-found":
                raise
            result = {}  # its worker came back without it
        self.context.hub.directory.drop_terminal(key.name)
        self.answer({"id": key.name, **result})


class AskSignal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signal for the foreground job."""

    signal: Literal["HUP", "INT", "QUIT", "KILL", "TERM", "USR1", "USR2", "WINCH"]


class AskWriter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Take the input lease, or give it: back, or to somebody who is there."""

    action: Literal["take", "give"]
    to: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class AskSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose screen decides the size."""

    policy: Literal["writer", "fixed", "smallest"]
    cols: Cells | None = None
    rows: Cells | None = None


class TerminalActionHandler(OneTerminalHandler):
    """``POST /api/terminals/{id}/{signal|writer|size|freeze|thaw}``."""

    async def post(self, _id: str, action: str) -> None:
        """Do it; operators only."""
        key = self._key()
        self.require(Role.OPERATOR)
        match action:
            case "signal":
                asked = self.decode_body(AskSignal)
                signal = Signal(id="", terminal=key.name, signal=asked.signal)
                self.answer(await self._ask(key.name, signal))
            case "writer":
                wanted = self.decode_body(AskWriter)
                room = await self.live_room(*key)
                user = self.identity.user
                await room.run(room.keyboard.set_writer, user, wanted.action, wanted.to)
                self.answer({"writer": room.keyboard.writer})
            case "size":
                await self._set_size(key)
            case "freeze":
                freeze = Freeze(id="", terminal=key.name)
                self.answer(await self._ask(key.name, freeze))
            case _:
                self.answer(await self._ask(key.name, Thaw(id="", terminal=key.name)))

    async def _set_size(self, key: RoomKey) -> None:
        asked = self.decode_body(AskSize)
        policy = AskSizePolicy(
            policy=asked.policy, cols=asked.cols or UNSET, rows=asked.rows or UNSET
        )
        room = await self.live_room(*key)
        await room.run(room.keyboard.set_size_policy, self.identity.user, policy)
        self.answer({"policy": asked.policy})


class TerminalLogHandler(OneTerminalHandler):
    """``GET /api/terminals/{id}/log``."""

    async def get(self, _id: str) -> None:
        """
        Return the entries after ``?after=``, at most ``?limit=`` and 1 MiB.

        Who wrote when, who held the keyboard, sizes; never what was typed. ``next`` is
        where to go on.
        """
        key = self._key(must_be_known=False)
        after = self.query_number("after", 0, MAX_OFFSET)
        limit = max(1, self.query_number("limit", 100))
        room: Any = self.context.hub.find(*key)
        if room is not None:
            await room.notes.flush()
        self.answer(
            await read_page(self.context.hub.log, log_key(key.name), after, limit)
        )
