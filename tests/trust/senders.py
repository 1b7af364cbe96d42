"""Clients that send numbered events and send again what was not answered."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress

from websockets.asyncio.client import ClientConnection

from tests.trust.followers import GONE, PAUSE_SECONDS, Broken, Door, Json, dial

MOST_PER_SECOND = 40
"""Below what the server lets one connection send."""


class Sender:
    """
    Sends events ``0`` to ``total - 1`` to ``ops/main``, a few at a time, in order.

    Attributes:
        accepted: Offset by number, as the server said it.
        closes: The code of each connection that ended; None without one.
    """

    def __init__(self, door: Door, name: str, total: int) -> None:
        self.name = name
        self.accepted: dict[int, int] = {}
        self.closes: list[int | None] = []
        self._door, self._total = door, total
        self._sent = 0
        self._window = 4

    @property
    def is_finished(self) -> bool:
        """Whether all is accepted."""
        return len(self.accepted) >= self._total

    def finish(self) -> None:
        """Send no more than was sent by now; ``run`` ends when that is accepted."""
        self._total = self._sent

    async def run(self) -> None:
        """Send until all is accepted, however often the link breaks."""
        while not self.is_finished:
            with suppress(*GONE):
                await self._connected()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _connected(self) -> None:
        async with await dial(self._door, "ops/main", _pk=self.name) as socket:
            reading = asyncio.create_task(self._read(socket))
            writing = asyncio.create_task(self._write(socket))
            await asyncio.wait([reading, writing], return_when="FIRST_COMPLETED")
            for task in (reading, writing):
                task.cancel()
            ends = await asyncio.gather(reading, writing, return_exceptions=True)
        self.closes.append(socket.close_code)
        for end in ends:
            if isinstance(end, AssertionError):
                raise end

    async def _write(self, socket: ClientConnection) -> None:
        number = len(self.accepted)
        while number < self._total:
            if number - len(self.accepted) >= self._window:
                await asyncio.sleep(0.002)
                continue
            await socket.send(json.dumps(emit(self.name, number)))
            number += 1
            self._sent = max(self._sent, number)
            await asyncio.sleep(1 / MOST_PER_SECOND)
        while not self.is_finished:
            await asyncio.sleep(0.002)

    async def _read(self, socket: ClientConnection) -> None:
        async for frame in socket:
            plain: Json = json.loads(frame)
            if plain["type"] == "accepted":
                self.take(int(plain["id"]), plain["offset"])
            elif plain["type"] == "error" and plain["code"] != "not-stored":
                raise Broken(f"refused: {plain}")

    def take(self, number: int, offset: int) -> None:
        """Note an answer; a second one has to be the same."""
        first = self.accepted.setdefault(number, offset)
        if first != offset:
            raise Broken(f"message {number} was answered {first}, then {offset}")


def emit(sender: str, number: int) -> Json:
    """Return the event number *number* of *sender*; its number is its id."""
    data = {"sender": sender, "number": number}
    return {"type": "event", "name": "numbered", "data": data, "id": str(number)}


def judge_senders(senders: list[Sender], log: Mapping[int, Json]) -> None:
    """Check that the log has what was accepted, once each, in each sender's order."""
    for sender in senders:
        stored = [
            (event["data"]["number"], offset)
            for offset, event in sorted(log.items())
            if event["type"] == "event" and event["data"].get("sender") == sender.name
        ]
        numbers = [number for number, _ in stored]
        if numbers != list(range(len(numbers))):
            raise Broken(f"{sender.name}: not once each, in order: {numbers}")
        if sender.accepted.items() - dict(stored).items():
            raise Broken(f"{sender.name}: an answer names another entry")
