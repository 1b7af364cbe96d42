"""
Rooms as somebody who knows PartyServer writes them, for the clients in the tests.

Loaded as ``vibehq serve --rooms rooms_under_test:ROOMS``. The ``main`` room does what
it is told by texts that begin with ``!``; everything else it sends back as it came.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, ClassVar

from vibehq_nb.core.ids import RoomKey
from vibehq_server import (
    Connection,
    ConnectRequest,
    HttpRequest,
    Response,
    Room,
    Rooms,
    Topics,
)

STARTED: Counter[str] = Counter()
"""How often each room, ``party/name``, was started in this process."""


class Main(Room):
    """Obeys."""

    access = "open"

    async def on_start(self, props: Any) -> None:
        STARTED[str(self.key)] += 1
        self.props = dict(props)
        self.closes: list[list[Any]] = []

    def get_connection_tags(
        self, connection: Connection, request: ConnectRequest
    ) -> Iterable[str]:
        asked = request.query.get("tags")
        return [] if asked is None else asked.split(",")

    async def on_connect(self, connection: Connection, request: ConnectRequest) -> None:
        if request.query.get("boom") == "connect":
            raise ValueError("a secret of the room")
        hello = {
            "hello": self.name,
            "id": connection.id,
            "uri": connection.uri,
            "tags": connection.tags,
            "state": connection.state,
            "path": request.path,
            "query": request.query,
            "headers": request.headers,
        }
        connection.send(json.dumps(hello))

    async def on_message(self, connection: Connection, message: str | bytes) -> None:
        if isinstance(message, bytes) or not message.startswith("!"):
            connection.send(message)
            return
        command, _, rest = message[1:].partition(":")
        answer = COMMANDS[command](self, connection, rest)
        if answer is not None:
            connection.send(json.dumps(answer))

    async def on_close(
        self, connection: Connection, code: int, reason: str, was_clean: bool
    ) -> None:
        is_there = self.get_connection(connection.id) is not None
        self.closes.append([connection.id, code, reason, was_clean, is_there])

    async def on_request(self, request: HttpRequest) -> Response:
        if request.path == "boom":
            raise ValueError("a secret of the room")
        if request.path == "nothing":
            return Response(status=204)
        seen = {
            "room": self.name,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": request.headers,
            "body": request.body.decode(errors="replace"),
            "ids": [c.id for c in self.get_connections()],
            "closes": self.closes,
            "props": self.props,
            "started": STARTED[request.query.get("started", str(self.key))],
        }
        return Response(json.dumps(seen), headers={"X-Room": self.name})


Command = Callable[[Main, Connection, str], Any]


def _throw(room: Main, sender: Connection, rest: str) -> None:
    raise ValueError("a secret of the room")


def _kick(room: Main, sender: Connection, rest: str) -> None:
    found = room.get_connection(rest)
    assert found is not None
    found.close(4001, "kicked")


def _close(room: Main, sender: Connection, rest: str) -> None:
    code, _, reason = rest.partition(":")
    sender.close(int(code), reason)


def _plus_one(state: Any) -> int:
    return (state or 0) + 1


COMMANDS: dict[str, Command] = {
    "throw": _throw,
    "kick": _kick,
    "close": _close,
    "all": lambda room, sender, rest: room.broadcast(rest),
    "others": lambda room, sender, rest: room.broadcast(rest, without=[sender.id]),
    "list": lambda room, sender, rest: [
        c.id for c in room.get_connections(rest or None)
    ],
    "find": lambda room, sender, rest: room.get_connection(rest) is not None,
    "tags": lambda room, sender, rest: sender.tags,
    "state": lambda room, sender, rest: {"state": sender.state},
    "set": lambda room, sender, rest: {"state": sender.set_state(rest)},
    "add": lambda room, sender, rest: {"state": sender.set_state(_plus_one)},
    "uri": lambda room, sender, rest: sender.uri,
}


class Slow(Main):
    """Takes a while to start."""

    async def on_start(self, props: Any) -> None:
        await asyncio.sleep(0.3)
        await super().on_start(props)


class Small(Main):
    """Takes a thousand bytes and no more."""

    max_message_bytes = 1000


class Guarded(Main):
    """Asks who comes, before it starts."""

    @classmethod
    async def on_before_connect(
        cls, request: ConnectRequest, room: RoomKey
    ) -> ConnectRequest | Response | None:
        return cls._judge(request)

    @classmethod
    async def on_before_request(
        cls, request: HttpRequest, room: RoomKey
    ) -> HttpRequest | Response | None:
        return cls._judge(request)

    @staticmethod
    def _judge(request: Any) -> Any:
        match request.query.get("who"):
            case "ana":
                return replace(request, headers={"x-user": "ana"})
            case "rename":
                return replace(request, query={"_pk": "ana-1"})
            case "bug":
                raise ValueError("a secret of the room")
            case "friend":
                return None
        return Response("Who are you?", 401, {"WWW-Authenticate": "Bearer"})


class Shared(Guarded):
    """May be asked by pages of every origin."""

    cors = True


class SharedWithOne(Main):
    """May be asked by pages of one origin."""

    cors: ClassVar[dict[str, str]] = {
        "Access-Control-Allow-Origin": "https://a.example",
        "Access-Control-Max-Age": "60",
    }


class MyServer(Main):
    """Its party is ``my-server``."""


class News(Topics):
    """Publish and subscribe, for everybody."""

    access = "open"


ROOMS = Rooms(
    {
        "main": Main,
        "Slow": Slow,
        "Small": Small,
        "Guarded": Guarded,
        "Shared": Shared,
        "SharedWithOne": SharedWithOne,
        "MyServer": MyServer,
        "MY_DO": Main,
        "News": News,
    },
    prefix="a/b",
    props={"é": 1},
)
