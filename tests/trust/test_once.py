"""A message with an id has one effect, whatever happens before its answer comes."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.integration.house import Peer, running
from tests.rounds import rounds
from tests.trust.fault_proxy import FaultProxy
from tests.trust.followers import GONE, PAUSE_SECONDS, Door, dial
from tests.trust.senders import Sender, emit, judge_senders
from tests.trust.server_process import ServerProcess, bodies, read_log, served, until
from vibehq_nb.core.answers import Answered
from vibehq_nb.core.codec import Decoder
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.saved import Saved
from vibehq_server import appender
from vibehq_server.room_logs.memory import MemoryRoomLog
from vibehq_server.rooms.ops import OpsRoom

SENDERS = 5
ROUNDS_PER_KILL = 25
NOTHING = {"type": "subscribe", "filters": {"types": ["scan-failed"]}}


class Unlucky(Sender):
    """
    Loses the answer to each message once: the link breaks when it is on its way.

    Attributes:
        lost: How many answers were stored and lost.
    """

    def __init__(
        self,
        proxy: FaultProxy,
        server: ServerProcess,
        door: Door,
        name: str,
        total: int,
    ) -> None:
        super().__init__(door, name, total)
        self.lost = 0
        self._proxy, self._server = proxy, server

    async def run(self) -> None:
        for number in range(self._total):
            await self._say(number, loses=True)
            while number not in self.accepted:
                await self._say(number, loses=False)

    async def _say(self, number: int, *, loses: bool) -> None:
        try:
            async with await self._dial() as socket:
                await socket.send(json.dumps(NOTHING))
                while json.loads(await socket.recv())["type"] != "subscribed":
                    pass
                if loses:
                    self._arm(socket.local_address[1])
                await socket.send(json.dumps(emit(self.name, number)))
                await self._read(socket)
        except GONE:
            await asyncio.sleep(PAUSE_SECONDS)

    async def _dial(self):
        return await dial(self._door, "ops/main", _pk=self.name)

    async def _read(self, socket) -> None:
        # Only an answer, or a tick, passes the filter.
        plain = json.loads(await socket.recv())
        if plain["type"] == "accepted":
            self.take(int(plain["id"]), plain["offset"])

    def _arm(self, port: int) -> None:
        [link] = [link for link in self._proxy.links if link.client_port == port]
        link.on_down = self._lose

    def _lose(self) -> None:
        self.lost += 1
        if self.lost % ROUNDS_PER_KILL == 0 and self._server.is_ready:
            self._server.kill()


@pytest.mark.timeout(1200)
async def test_a_message_whose_answer_was_lost_is_applied_once_also_across_kills(
    tmp_path: Path,
) -> None:
    each = max(ROUNDS_PER_KILL + 1, rounds(1000) // SENDERS)
    async with served(tmp_path) as server, FaultProxy(server.port) as proxy:
        door = Door(server.port, server.admin, proxy.port)
        senders = [
            Unlucky(proxy, server, door, f"sender-{number}", each)
            for number in range(SENDERS)
        ]
        async with asyncio.TaskGroup() as group:
            reviving = group.create_task(keep_alive(server))
            done = [group.create_task(sender.run()) for sender in senders]
            await asyncio.wait(done)
            reviving.cancel()
        starts = server.starts
    _, entries = await read_log(server.data)
    log = bodies(entries)

    judge_senders(senders, log)
    assert len(log) == SENDERS * each
    assert [len(sender.accepted) for sender in senders] == [each] * SENDERS
    assert sum(sender.lost for sender in senders) >= SENDERS * each * 0.9
    assert starts > 1
    # What the log says of each answer is what a repeat is told.
    decoder = Decoder([Answered, Saved])
    internal = [decoder.decode(entry.body) for entry in entries if entry.is_internal]
    answers = [message for message in internal if isinstance(message, Answered)]
    told = {(f"{s.name}", str(n)): o for s in senders for n, o in s.accepted.items()}
    kept = {(a.sender.partition("/")[2], a.message_id): a.result for a in answers}
    assert kept == told
    assert len(answers) == len(kept)


async def keep_alive(server: ServerProcess) -> None:
    """Start the server again whenever somebody killed it."""
    while True:
        if not server.is_ready:
            await server.start()
        await asyncio.sleep(0.01)


async def test_a_repeat_gets_the_first_answer_and_another_user_its_own(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as server:
        door = Door(server.port, server.admin)
        first = Sender(door, "me", 5)
        await first.run()
        again = Sender(door, "me", 5)
        await again.run()
        other = Sender(door, "you", 5)
        await other.run()

    assert again.accepted == first.accepted
    assert other.accepted.keys() == first.accepted.keys()
    assert not set(other.accepted.values()) & set(first.accepted.values())


class HeldLog(MemoryRoomLog):
    """Stores only when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_store = asyncio.Event()
        self.is_asked = False

    async def append(self, room, term, entries):
        self.is_asked = True
        await self.may_store.wait()
        return await super().append(room, term, entries)


async def test_a_message_that_is_refused_because_too_much_waits_has_no_effect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(appender, "MAX_WAITING", 3)
    log = HeldLog()
    async with running({"ops": OpsRoom}, log) as house:
        peers = [await house.connect("ops/main", _pk=f"{n}") for n in range(5)]
        for peer in peers:
            await peer.until("tick")
        room = house.hub.find("ops", "main")
        assert isinstance(room, OpsRoom)
        for number, peer in enumerate(peers):
            await peer.send(emit("me", number))
            if number == 0:
                await until(lambda: log.is_asked)  # the others wait behind this one
        await until(lambda: room.log.head >= 5)
        log.may_store.set()
        answers = [await answer_of(peer) for peer in peers]
        entries = await log.read(RoomKey("ops", "main"), 0, 1000)
    stored = [body["data"]["number"] for body in bodies(entries).values()]

    assert set(answers) == {"accepted", "error"}
    assert stored == [n for n, answer in enumerate(answers) if answer == "accepted"]


async def answer_of(peer: Peer) -> str:
    while "id" not in (frame := await peer.next()):
        pass
    return str(frame["type"])
