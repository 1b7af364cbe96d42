"""A peer that is gone without a word is noticed, and nobody else is hurt by it."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.house import OPERATOR, House, Peer, running
from tests.integration.programs import python
from tests.trust.fault_proxy import Fault, FaultProxy
from tests.trust.followers import Door, dial
from tests.trust.server_process import until
from vibehq_server import socket_handler
from vibehq_server.room import Room

CLIENT = """
    import asyncio, sys
    from websockets.asyncio.client import connect

    async def main():
        headers = {"X-As": "ana viewer,operator"}
        async with connect(sys.argv[1], additional_headers=headers) as socket:
            print("open", flush=True)
            await socket.recv()

    asyncio.run(main())
"""


class Hall(Room):
    """Notes who leaves, and when."""

    def __init__(self, key, hub):
        super().__init__(key, hub)
        self.left: list[tuple[str, int, float]] = []

    async def on_message(self, connection, message):
        self.broadcast(message)

    async def on_close(self, connection, code, reason, was_clean):
        self.left.append((connection.id, code, time.monotonic()))


PARTIES = {"lobby": Hall}
BEATS = [0.3] if os.environ.get("VIBEHQ_ROUNDS") != "full" else [0.3, 15.0]
"""Seconds between pings; those of a real server where all rounds are run."""


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_handler, "PING_SECONDS", 0.3)
    monkeypatch.setattr(socket_handler, "PROBE_SECONDS", 0.5)


@asynccontextmanager
async def entered() -> AsyncIterator[tuple[House, FaultProxy, Hall]]:
    async with running(PARTIES) as house, FaultProxy(port_of(house)) as proxy:
        room = await house.hub.room("lobby", "x")
        assert isinstance(room, Hall)
        yield house, proxy, room


def port_of(house: House) -> int:
    return int(house.url.rpartition(":")[2])


def which(room: Hall) -> str | None:
    connection = room.get_connection("me")
    return connection and connection.request.query.get("which")


async def through(house: House, proxy: FaultProxy, **query: str) -> Peer:
    """Open a connection through *proxy*."""
    door = Door(port_of(house), {"X-As": f"ana {OPERATOR}"}, proxy.port)
    return Peer(await dial(door, "lobby/x", **query))


@pytest.mark.usefixtures("_quick")
async def test_a_stalled_peer_is_dropped_and_the_others_stay() -> None:
    async with entered() as (house, proxy, room):
        frozen = await through(house, proxy, _pk="frozen")
        well = await house.connect("lobby/x", _pk="well")
        begun = time.monotonic()
        proxy.links[0].stall()
        await until(lambda: room.left)
        [(name, code, at)] = room.left
        assert (name, code) == ("frozen", 1006)
        # One beat until the ping, one for the answer.
        assert at - begun < 2 * socket_handler.PING_SECONDS + 0.5

        await asyncio.sleep(4 * socket_handler.PING_SECONDS)  # several beats more
        await well.send("still here")
        assert (await well.socket.recv()) == "still here"
        assert [one[0] for one in room.left] == ["frozen"]
        frozen.socket.transport.abort()


@pytest.mark.parametrize("beat_seconds", BEATS)
@pytest.mark.timeout(90)
async def test_a_client_process_that_is_stopped_is_dropped_after_two_beats(
    beat_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_handler, "PING_SECONDS", beat_seconds)
    async with entered() as (house, _, room):
        client = python(CLIENT, f"{house.url}/parties/lobby/x?_pk=frozen")
        try:
            assert client.stdout is not None
            line = await asyncio.to_thread(client.stdout.readline)
            assert line == b"open\n"
            os.kill(client.pid, signal.SIGSTOP)
            begun = time.monotonic()
            await until(lambda: room.left, 60)
        finally:
            client.kill()
            client.communicate()
    [(name, code, at)] = room.left
    assert (name, code) == ("frozen", 1006)
    assert at - begun < 2 * beat_seconds + 0.5


@pytest.mark.usefixtures("_quick")
async def test_a_newer_socket_of_the_same_id_replaces_a_dead_older_one() -> None:
    async with entered() as (house, proxy, room):
        socket_handler.PING_SECONDS = 60.0  # only the probe can find out
        older = await through(house, proxy, _pk="me")
        proxy.links[0].stall()
        begun = time.monotonic()
        newer = await house.connect("lobby/x", _pk="me", which="newer")
        await newer.send("both there")
        assert await newer.socket.recv() == "both there"
        assert len(room.connections) == 2
        assert which(room) == "newer"

        await until(lambda: room.left)

        assert [one[:2] for one in room.left] == [("me", 1006)]
        lasted = room.left[0][2] - begun
        assert socket_handler.PROBE_SECONDS <= lasted < 2 * socket_handler.PROBE_SECONDS
        assert which(room) == "newer"
        await newer.send("alone now")
        assert await newer.socket.recv() == "alone now"
        older.socket.transport.abort()


@pytest.mark.usefixtures("_quick")
async def test_a_living_older_socket_stays_however_often_newer_ones_come() -> None:
    async with entered() as (house, proxy, room):
        proxy.plan = lambda: Fault(delay_seconds=0.05)  # a pong takes its time
        older = await through(house, proxy, _pk="me")
        for _ in range(30):  # each makes the server ask the older one anew
            newer = await house.connect("lobby/x", _pk="me")
            await newer.socket.close()
            await asyncio.sleep(socket_handler.PROBE_SECONDS / 20)
        await older.send("still here")
        assert await older.socket.recv() == "still here"
        assert {code for _, code, _ in room.left} == {1000}
        older.socket.transport.abort()


async def test_another_users_connection_id_is_refused() -> None:
    async with entered() as (house, _, room):
        await house.connect("lobby/x", user="ana", _pk="me")
        with pytest.raises(InvalidStatus) as refusal:
            await house.connect("lobby/x", user="eve", _pk="me")
        assert refusal.value.response.status_code == 403
        assert len(room.connections) == 1


class Slow(Hall):
    """Takes its time over each message, longer than any silence may last."""

    async def on_connect(self, connection, request):
        await asyncio.sleep(3 * 0.2)

    async def on_message(self, connection, message):
        await asyncio.sleep(6 * 0.2)
        connection.send("done")


async def test_a_hook_that_takes_its_time_does_not_drop_whoever_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket_handler, "PING_SECONDS", 0.2)
    async with running({"lobby": Slow}) as house:
        peer = await house.connect("lobby/main")
        await peer.send("a")
        async with asyncio.timeout(10):
            assert await peer.socket.recv() == "done"

        assert len(house.hub.connections()) == 1
