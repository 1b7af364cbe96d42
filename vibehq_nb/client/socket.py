"""
A socket to one room, with partysocket's options and semantics.

``docs/party-socket.md`` has the options side by side and says where this one differs.
"""

import uuid
from collections.abc import Mapping
from typing import Unpack, cast

from vibehq_nb.client.fetch import Fetched, fetch_url
from vibehq_nb.client.reconnecting import ReconnectingWebSocket
from vibehq_nb.client.socket_options import (
    PartyOptions,
    Settings,
    address_options,
    provided,
    socket_options,
)
from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.party_url import PartyAddress, Query, encode_query

NO_ROOM = (
    "Say which room: host, and room or base_path. With start_closed=True they may come "
    "later, by update_properties() before reconnect()."
)


class PartySocket(ReconnectingWebSocket):
    """
    A socket to ``{party}/{room}`` that reconnects until it is closed or refused.

    ``async with PartySocket(host="hq.example.org", room="lunch") as socket:``
    ``async for message in socket: …``
    """

    def __init__(self, **options: Unpack[PartyOptions]) -> None:
        """
        Prepare the socket; nothing is dialled yet.

        Args:
            **options: Where: see :class:`~vibehq_nb.core.party_url.PartyAddress`.
                ``id`` is ``_pk``, random if not given and the same over all
                reconnects. ``query`` is a dict or its provider, asked before each try.
                All others: see :class:`~vibehq_nb.client.socket_options.Settings`.

        Raises:
            UsageError: If an option is none, a part of the address cannot stand there,
                or there is no room to connect to (unless ``start_closed``).
        """
        self._options = options
        self._address = PartyAddress(**address_options(options))
        if not self._address.is_complete and not options.get("start_closed"):
            raise UsageError(NO_ROOM)
        self._id = options.get("id") or str(uuid.uuid4())
        super().__init__(self._next_url, **socket_options(options))
        self._name_it()

    def _name_it(self) -> None:
        address = self._address
        self._teller.name = address.base_path or f"{address.party}/{address.room}"

    @property
    def id(self) -> str:
        """``_pk``: the connection's id, the same over all reconnects."""
        return self._id

    @property
    def host(self) -> str:
        """The server's name and port, as given."""
        return self._address.host

    @property
    def party(self) -> str:
        """The kind of room."""
        return self._address.party

    @property
    def room(self) -> str:
        """The room's name, as given."""
        return self._address.room

    @property
    def room_url(self) -> str:
        """The room's address, without a query."""
        return self._address.base_url("ws")

    def update_properties(self, **changes: Unpack[PartyOptions]) -> None:
        """
        Change options; the next try uses them, ``reconnect()`` makes it now.

        All other options stay as they are, earlier changes included. The id is a new
        one, unless one was given, then or now.

        Raises:
            UsageError: As the constructor does; nothing is changed then.
        """
        options = cast(PartyOptions, {**self._options, **changes})
        address = PartyAddress(**address_options(options))
        settings = Settings(**socket_options(options))
        self._options, self._address = options, address
        self._id = options.get("id") or str(uuid.uuid4())
        self._use(settings)
        self._name_it()

    def reconnect(self, code: int = 1000, reason: str = "") -> None:
        """
        Close the link, if there is one, and dial at once; retries count from 0 again.

        Raises:
            UsageError: If there is no room to connect to yet, or as ``close`` does.
        """
        if not self._address.is_complete:
            raise UsageError(NO_ROOM)
        super().reconnect(code, reason)

    @staticmethod
    async def fetch(
        method: str = "GET",
        body: bytes | str | None = None,
        timeout: float = 10.0,
        **options: Unpack[PartyOptions],
    ) -> Fetched:
        """
        Ask the room over HTTP: the socket's address without ``_pk``, the same options.

        No redirect is followed: a token goes to the address it was given for only.

        Args:
            method: ``GET``, ``POST`` …
            body: What is sent; text goes as UTF-8.
            timeout: Seconds of silence after which it is given up.
            **options: As for the socket; of those, where it is, ``query`` and
                ``headers`` count.

        Raises:
            ConnectError: If there was no answer. A status is no error, not even 500.
            UsageError: As the constructor does.
        """
        address = PartyAddress(**address_options(options))
        if not address.is_complete:
            raise UsageError(NO_ROOM)
        query: Query = await provided(options.get("query") or {})
        headers: Mapping[str, str] = await provided(options.get("headers") or {})
        url = f"{address.base_url('http')}?{encode_query(query)}"
        return await fetch_url(url, method, headers, body, timeout)

    async def _next_url(self) -> str:
        query: Query = await provided(self._options.get("query") or {})
        pairs = encode_query({"_pk": self._id}, query, self._more_query())
        return f"{self._address.base_url('ws')}?{pairs}"

    def _more_query(self) -> Query:
        """Return what a subclass asks with, besides the caller's query."""
        return {}
