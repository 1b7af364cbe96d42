"""What the API's handlers share: decoding, roles, rooms, answers."""

from collections.abc import Collection
from typing import Any, TypeVar

import msgspec
from tornado.web import MissingArgumentError

from vibehq_nb.core.codec import check_plain, convert
from vibehq_nb.core.errors import DecodeError, DeniedError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.roles import MAY_JOIN, MAY_SEND, Role, may_join, may_send
from vibehq_server.handlers import VibeHandler

Decoded = TypeVar("Decoded")

MAX_PAGE = 1000


class ApiHandler(VibeHandler):
    """The base of the API's handlers."""

    def decode_body(self, kind: type[Decoded]) -> Decoded:
        """
        Return the body as *kind*.

        Raises:
            DecodeError: Naming the field that is wrong, never its content.
        """
        value = self.body()
        if isinstance(value, dict) and "type" not in value:
            tag = getattr(kind, "__struct_config__", None)
            if tag is not None and tag.tag is not None:
                value = {"type": tag.tag, **value}
        decoded: Decoded = convert(value, kind)
        return decoded

    def answer(self, value: Any, status: int = 200) -> None:
        """Answer with *value*, structs included."""
        self.set_status(status)
        self.finish(msgspec.json.encode(value))

    def raw_after(self, prefix: str) -> list[str]:
        """Return the raw path segments after *prefix*, nothing decoded."""
        _, _, rest = self.request.path.partition(prefix)
        return rest.split("/")

    def require(self, *roles: Role) -> None:
        """
        Refuse whoever has none of *roles*.

        Raises:
            DeniedError: ``forbidden``.
        """
        if self.identity.roles.isdisjoint(roles):
            raise DeniedError("forbidden", self._lacks(roles))

    def require_send(
        self, room: RoomKey, message_type: str, deed: str = "this", advice: str = ""
    ) -> None:
        """
        Refuse whoever could not send *message_type* to *room* on a socket.

        Args:
            room: Where to.
            message_type: What.
            deed: What it is called when it is refused.
            advice: What to do then.

        Raises:
            DeniedError: ``not-found`` out of reach, ``forbidden`` without the role.
        """
        self.require_room(room)
        if not may_send(room.party, message_type, self.identity.roles):
            needed = MAY_SEND.get(room.party, {}).get(message_type, frozenset())
            text = f"{self._lacks(needed, deed)} {advice}".strip()
            raise DeniedError("forbidden", text)

    def require_read(self, room: RoomKey) -> None:
        """
        Refuse whoever could not join *room*.

        Raises:
            DeniedError: ``not-found`` out of reach, ``forbidden`` without a role.
        """
        self.require_room(room)
        self.require_join(room.party)

    def require_join(self, party: str) -> None:
        """
        Refuse whoever could join no room of *party*.

        Raises:
            DeniedError: ``forbidden``.
        """
        if not may_join(party, self.identity.roles):
            needed = MAY_JOIN.get(party, frozenset())
            raise DeniedError("forbidden", self._lacks(needed))

    def _lacks(self, needed: Collection[Role], deed: str = "this") -> str:
        who = f"You are {self.identity.user}"
        have = ", ".join(sorted(self.identity.roles))
        those = f"the role{'s' if ',' in have else ''} {have}" if have else "no role"
        # A worker's role comes with its key: nobody signs in as one.
        people = [role for role in sorted(needed) if role != Role.WORKER] or needed
        wanted = " or ".join(people)
        return f"{who} with {those}; {deed} needs the role {wanted}."

    def page_url(self, path: str) -> str:
        """Return the address of a page of ours, as this very client reaches us."""
        base = f"{self.request.protocol}://{self.request.host}"
        return f"{base}{self.context.base_path}{path}"

    def query(self, name: str) -> str | None:
        """Return a query argument, or None."""
        text = self.get_query_argument(name, None)
        if text is not None:
            check_plain(text)
        return text

    def query_number(self, name: str, default: int, most: int = MAX_PAGE) -> int:
        """
        Return a whole number from the query, at most *most*.

        Raises:
            DecodeError: If it is none.
        """
        try:
            text = self.get_query_argument(name)
        except MissingArgumentError:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise DecodeError(f"{name} is not a whole number")
        return min(int(text), most)

    async def live_room(self, party: str, name: str) -> Any:
        """
        Return a room, started.

        Raises:
            DeniedError: If there can be no such room.
        """
        return await self.context.hub.room(party, name)
