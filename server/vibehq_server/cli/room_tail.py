"""
``vibehq room tail``: the entries of a room's log, as they are stored.

Every entry is read over HTTP, by offset. The socket of *--follow* only says that there
is more, and how the server answered when it came back; so nothing is printed twice and
nothing is left out unsaid, whatever happens to the link.
"""

import argparse
import asyncio
import json
from typing import Any
from urllib.parse import unquote, urlencode

from vibehq_nb.core.ids import Position
from vibehq_nb.core.messages import DOWNSTREAM, Connected, Gap, Message
from vibehq_server.cli.output import complain, plain, say
from vibehq_server.cli.remote import api_of
from vibehq_server.cli.room import ask, split_room

PAGE = 500
BESIDE = frozenset({"terminal", "terminal-server"})
"""Parties whose log lies beside what their sockets carry: it is asked for."""
POLL_SECONDS = 1.0
"""How often a room is asked whose entries the socket does not know."""

TEXT_CHARS = 100


def tail_here(arguments: argparse.Namespace) -> int:
    """Print what is asked for; with *--follow* go on until Ctrl-C."""
    tail = Tail(api_of(arguments), arguments.room, is_json=arguments.json)
    tail.begin(arguments.first, arguments.count)
    if arguments.follow:
        asyncio.run(tail.follow())
    return 0


class Tail:
    """Where one reader of a room's log is."""

    def __init__(self, api: Any, name: str, *, is_json: bool) -> None:
        """Read the room *name* through *api*."""
        self._api, self._name, self._is_json = api, name, is_json
        self._party, self._room = split_room(name)
        self._epoch = ""
        self._offset = 0

    def begin(self, first: int | None, count: int) -> None:
        """Print the last *count* entries, or all from the offset *first* on."""
        if first is not None:
            self._offset = max(0, first - 1)
            self.catch_up()
            return
        page = self._ask(last=count)
        self._epoch = page["epoch"]
        self._take(page)

    def catch_up(self) -> None:
        """Print every entry that is stored and not printed yet."""
        is_end = False
        while not is_end:
            page = self._page()
            if self._epoch and page["epoch"] != self._epoch:
                complain(
                    f"{self._name} began anew; its entries are read from the first"
                )
                self._offset = 0
                self._epoch = page["epoch"]
                continue
            self._epoch = page["epoch"]
            self._take(page)
            is_end = page["is_end"]

    def _page(self) -> dict[str, Any]:
        from vibehq_nb.client.errors import ApiError

        try:
            return self._ask(after=self._offset, limit=PAGE)
        except ApiError as error:
            if error.status != 410:
                raise
            oldest = int(error.more["oldest"])
            complain(f"gap ({self._offset}, {oldest}]: no longer kept")
            self._offset = oldest
        return self._page()

    def _ask(self, **query: int) -> dict[str, Any]:
        return ask(self._api, self._name, f"/log?{urlencode(query)}")

    def _take(self, page: dict[str, Any]) -> None:
        for entry in page["entries"]:
            say(json.dumps(entry) if self._is_json else _line(entry))
        self._offset = page["next"]

    async def follow(self) -> None:
        """
        Print what comes, over restarts of the server.

        Raises:
            RefusedError: When the server does not want this reader any more.
        """
        from vibehq_nb.client.event_room import EventRoom

        while self._party in BESIDE:
            await asyncio.sleep(POLL_SECONDS)
            await self._catch_up_if_there()
        room = EventRoom(self._api.server, self._party, unquote(self._room))
        room.replica.progress.position = Position(self._epoch, self._offset)
        patience = None if self._party in DOWNSTREAM else POLL_SECONDS
        async with room:
            messages = aiter(room)
            while True:
                waiting = asyncio.ensure_future(anext(messages))
                while not (await asyncio.wait({waiting}, timeout=patience))[0]:
                    await self._catch_up_if_there()
                _tell(waiting.result())
                await self._catch_up_if_there()

    async def _catch_up_if_there(self) -> None:
        from vibehq_nb.client.errors import ApiError

        try:
            await asyncio.to_thread(self.catch_up)
        except ApiError as error:
            if error.status not in (0, 502, 503, 504):
                raise
            # The server is away; the socket says so and is answered when it is back.


def _tell(message: Message) -> None:
    match message:
        case Connected(resume=resume, offset=offset, reason=reason):
            why = f" ({plain(reason)})" if reason else ""
            complain(f"{resume} at offset {offset}{why}")
        case Gap(from_=start, to=end, reason=reason):
            complain(
                f"gap ({start}, {end}] on the socket: {plain(reason)}; reading the log"
            )


def _line(entry: dict[str, Any]) -> str:
    body = {k: v for k, v in entry["body"].items() if k not in ("type", "offset")}
    text = plain(json.dumps(body, ensure_ascii=False), TEXT_CHARS)
    return f"{entry['offset']:>8}  {plain(entry['at'])}  {plain(entry['type'])}  {text}"
