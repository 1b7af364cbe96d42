"""
Publish and subscribe: a room whose connections choose what they are sent.

The wire is partysub's. A client subscribes with ``?topics=a,b:*`` or by sending
``{"__topics": [...]}``, and publishes ``{"topic": …, "data": …}`` on its socket or by
HTTP POST. A pattern is a topic, a prefix followed by ``:*``, or ``*`` for everything;
a connection gets one copy however many of its patterns match. Nothing is kept.
"""

import json
from collections.abc import Iterable
from typing import Any

from vibehq_nb.core.codec import decode_plain
from vibehq_nb.core.errors import DecodeError, DeniedError
from vibehq_nb.core.roles import Role
from vibehq_server.connection import Connection
from vibehq_server.identity import Identity
from vibehq_server.requests import ConnectRequest, HttpRequest, Response
from vibehq_server.room import Room

MAX_PATTERNS = 100
MAX_TOPIC = 256
EVERYTHING = "*"


class Subscriptions:
    """Who wants which topics; to find them costs the parts of the topic, no more."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._patterns: dict[Connection, frozenset[str]] = {}
        self._wanting: dict[str, dict[Connection, None]] = {}

    def set(self, connection: Connection, patterns: Iterable[str]) -> None:
        """Let *connection* want *patterns*, in place of those before."""
        self.drop(connection)
        chosen = self._patterns[connection] = frozenset(patterns)
        for pattern in chosen:
            self._wanting.setdefault(pattern, {})[connection] = None

    def drop(self, connection: Connection) -> None:
        """Let *connection* want nothing."""
        for pattern in self._patterns.pop(connection, ()):
            wanting = self._wanting[pattern]
            del wanting[connection]
            if not wanting:
                del self._wanting[pattern]

    def matching(self, topic: str) -> Iterable[Connection]:
        """Return those who want *topic*, each once."""
        found: dict[Connection, None] = {}
        for pattern in _patterns_of(topic):
            found |= self._wanting.get(pattern, {})
        return found


def _patterns_of(topic: str) -> list[str]:
    parts = topic.split(":")
    prefixes = [":".join(parts[:count]) + ":*" for count in range(1, len(parts))]
    return [EVERYTHING, topic, *prefixes]


class Topics(Room):
    """Publish and subscribe. In a ``session`` room, publishing takes an operator."""

    async def on_start(self, props: Any) -> None:
        """Take up the subscriptions of connections that outlived the room."""
        self.subscriptions = Subscriptions()
        for connection in self.get_connections():
            wanted = (EVERYTHING,) if connection.state is None else connection.state
            self.subscriptions.set(connection, wanted)

    async def on_connect(self, connection: Connection, request: ConnectRequest) -> None:
        """Subscribe to what the query names, else to everything."""
        asked = request.query.get("topics", EVERYTHING).split(",")
        try:
            self._subscribe(connection, [name for name in asked if name])
        except DecodeError as error:
            self._subscribe(connection, [])
            _refuse(connection, error)

    async def on_message(self, connection: Connection, message: str | bytes) -> None:
        """Subscribe or publish."""
        try:
            asked = _object(message)
            if "__topics" in asked:
                self._subscribe(connection, asked["__topics"])
            else:
                self.publish(connection.identity, asked)
        except (DecodeError, DeniedError) as error:
            _refuse(connection, error)

    async def on_close(
        self, connection: Connection, code: int, reason: str, was_clean: bool
    ) -> None:
        """Forget what it wanted."""
        self.subscriptions.drop(connection)

    async def on_request(self, request: HttpRequest) -> Response:
        """Publish what is posted."""
        if request.method != "POST":
            return Response("Publish with POST.", 405, {"Allow": "POST"})
        try:
            self.publish(request.identity, _object(request.body))
        except DecodeError as error:
            return Response(f"Invalid request: {error.reason}.", 400)
        except DeniedError as error:
            return Response(error.reason, 403)
        return Response("OK")

    def publish(self, sender: Identity | None, asked: dict[str, Any]) -> int:
        """
        Send ``data`` to everybody who wants ``topic``; return how many that are.

        Raises:
            DecodeError: If one of the two is missing, or the topic is no topic.
            DeniedError: If *sender* may not publish here.
        """
        if self.access == "session" and not (sender and sender.has(Role.OPERATOR)):
            raise DeniedError("forbidden", "Publishing here needs the role operator.")
        topic = asked.get("topic")
        if not isinstance(topic, str) or not 1 <= len(topic) <= MAX_TOPIC:
            raise DecodeError(f"topic is not a text of 1 to {MAX_TOPIC} characters")
        if "data" not in asked:
            raise DecodeError("there is no data")
        text = json.dumps({"topic": topic, "data": asked["data"]}, ensure_ascii=False)
        found = tuple(self.subscriptions.matching(topic))
        self.send_to(found, text)
        return len(found)

    def _subscribe(self, connection: Connection, patterns: Any) -> None:
        if not isinstance(patterns, list) or len(patterns) > MAX_PATTERNS:
            raise DecodeError(f"topics is not a list of at most {MAX_PATTERNS}")
        if not all(_is_pattern(pattern) for pattern in patterns):
            raise DecodeError("a pattern is a topic, a prefix and :*, or *")
        connection.set_state(tuple(patterns))
        self.subscriptions.set(connection, patterns)


def _refuse(connection: Connection, error: DecodeError | DeniedError) -> None:
    connection.send(json.dumps({"error": error.code, "message": error.reason}))


def _object(message: str | bytes) -> dict[str, Any]:
    asked = decode_plain(message)
    if not isinstance(asked, dict):
        raise DecodeError("the message is not a JSON object")
    return asked


def _is_pattern(pattern: object) -> bool:
    if not isinstance(pattern, str) or not 1 <= len(pattern) <= MAX_TOPIC:
        return False
    return pattern == EVERYTHING or "*" not in pattern.removesuffix(":*")
