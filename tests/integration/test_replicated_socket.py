"""ReplicatedPartySocket against real rooms: nothing lost, nothing twice, gaps told."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.integration.cutting_proxy import proxying
from tests.integration.house import House, running
from tests.integration.notes_room import PARTIES, PROGRAM
from tests.integration.programs import python
from tests.rounds import rounds, seeded
from vibehq_nb.client import ReplicatedPartySocket, ResumeAnswer
from vibehq_nb.client.errors import QueueFullError, UnacceptedError
from vibehq_nb.core.errors import DeniedError, UsageError
from vibehq_nb.core.ids import Position

DEADLINE = 10.0
ANA = {"X-As": "ana viewer,operator"}


def note(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "event", "name": name, **more}


def socket_at(port: int | str, **options: Any) -> ReplicatedPartySocket:
    given = {
        "host": f"127.0.0.1:{port}",
        "party": "ops",
        "room": "main",
        "headers": ANA,
        "min_reconnection_delay": 0.005,
        "max_reconnection_delay": 0.02,
    }
    return ReplicatedPartySocket(**given | options)


def port_of(house: House) -> str:
    return house.url.rpartition(":")[2]


class Reader:
    """Keeps what a socket told of a room."""

    def __init__(self) -> None:
        self.events: list[tuple[int, str]] = []
        self.answers: list[ResumeAnswer] = []
        self.frames: list[dict[str, Any]] = []

    def options(self) -> dict[str, Any]:
        return {"on_message": self.take, "on_resume": self.answers.append}

    def take(self, frame: str | bytes) -> None:
        message = json.loads(frame)
        self.frames.append(message)
        if message["type"] == "event":
            self.events.append((message["offset"], message["name"]))

    @property
    def names(self) -> list[str]:
        return [name for _, name in self.events]


async def until(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def saying(*lines: list[dict[str, Any]]) -> AsyncIterator[tuple[int, list[str]]]:
    """Serve a room that says one list a link, and keeps each link's path."""
    paths: list[str] = []

    async def talk(link: ServerConnection) -> None:
        assert link.request is not None
        paths.append(link.request.path)
        for message in lines[min(len(paths), len(lines)) - 1]:
            await link.send(json.dumps(message))
        if len(paths) < len(lines):
            await link.close(1012)
        await link.wait_closed()

    async with serve(talk, "127.0.0.1", 0, close_timeout=1) as server:
        yield next(iter(server.sockets)).getsockname()[1], paths


def connected(resume: str, offset: int = 5, epoch: str = "e") -> dict[str, Any]:
    return {"type": "connected", "resume": resume, "epoch": epoch, "offset": offset}


def snapshot(offset: int, epoch: str = "e") -> dict[str, Any]:
    return {"type": "snapshot", "epoch": epoch, "offset": offset, "state": {}}


# Down: positions


async def test_each_try_asks_from_the_position_and_no_entry_comes_twice():
    reader = Reader()
    async with (
        saying(
            [connected("fresh"), snapshot(5), note("a", offset=6)],
            [connected("resumed", 7), note("a", offset=6), note("b", offset=7)],
            [connected("resumed", 9), {"type": "tick", "offset": 9}],
            [connected("resumed", 9)],
        ) as (port, paths),
        socket_at(port, id="me", **reader.options()) as socket,
    ):
        await until(lambda: len(reader.answers) == 4)
        position = socket.position

    assert [path.partition("?")[2] for path in paths] == [
        "_pk=me",
        "_pk=me&epoch=e&offset=6",
        "_pk=me&epoch=e&offset=7",
        "_pk=me&epoch=e&offset=9",
    ]
    assert reader.events == [(6, "a"), (7, "b")]
    assert position == Position("e", 9)


async def test_the_answer_to_a_position_is_told_with_its_gap():
    reader = Reader()
    gap = {"type": "gap", "from": 3, "to": 5, "reason": "trimmed"}
    async with (
        saying(
            [connected("waiting")],
            [connected("snapshot") | {"reason": "trimmed"}, gap, snapshot(5)],
            [connected("reset", 1, "f"), snapshot(1, "f")],
        ) as (port, paths),
        socket_at(port, position=Position("e", 3), **reader.options()) as socket,
    ):
        await until(lambda: socket.position == Position("f", 1))

    assert "epoch=e&offset=3" in paths[0]
    assert "epoch=e&offset=3" in paths[1]
    assert "epoch=e&offset=5" in paths[2]
    assert reader.answers == [
        ResumeAnswer("waiting", "", Position("e", 5)),
        ResumeAnswer("snapshot", "trimmed", Position("e", 5), (3, 5)),
        ResumeAnswer("reset", "", Position("f", 1)),
    ]


async def test_a_snapshot_that_did_not_come_whole_does_not_move_the_position():
    reader = Reader()
    async with (
        saying(
            [connected("fresh")],
            [connected("fresh"), snapshot(5)],
        ) as (port, paths),
        socket_at(port, **reader.options()) as socket,
    ):
        await until(lambda: socket.position is not None)

    assert "epoch" not in paths[1]


async def test_a_rooms_own_words_in_our_fields_do_not_harm():
    reader = Reader()
    odd: list[Any] = [
        {"type": "connected"},
        {"type": "gap"},
        {"type": "accepted", "id": 7},
        {"type": "error", "id": ["x"], "message": {}},
        {"type": "mine", "offset": "three"},
        {"type": 5},
    ]
    async with (
        saying(odd) as (port, _paths),
        socket_at(port, on_message=lambda m: reader.frames.append(json.loads(m))),
    ):
        await until(lambda: len(reader.frames) == len(odd))

    assert reader.frames == odd


async def test_it_resumes_in_a_room_of_ours():
    reader = Reader()
    async with (
        running(PARTIES) as house,
        proxying() as proxy,
        socket_at(port_of(house)) as writer,
    ):
        proxy.upstream_port = int(port_of(house))
        async with socket_at(proxy.port, **reader.options()):
            await until(lambda: bool(reader.answers))
            await writer.submit(note("a"))
            await until(lambda: reader.names == ["a"])
            proxy.cut()
            await writer.submit(note("b"))
            await until(lambda: reader.names == ["a", "b"])

    assert [answer.resume for answer in reader.answers] == ["fresh", "resumed"]


async def test_a_message_that_is_too_long_is_refused_once_and_the_others_go_on():
    async with running(PARTIES) as house, socket_at(port_of(house)) as writer:
        too_long = writer.submit(note("long", data={"x": "y" * 100_000}))
        others = [writer.submit(note(name)) for name in "ab"]
        async with asyncio.timeout(10):
            with pytest.raises(DeniedError, match="takes no message"):
                await too_long
            assert len(await asyncio.gather(*others)) == 2

        assert house.hub.counters.closed["ops", "1009"] >= 1


async def test_an_update_to_another_room_forgets_the_position():
    socket = socket_at(1, position=Position("e", 3))

    socket.update_properties(query={"a": 1})
    kept = socket.position
    socket.update_properties(room="other")

    assert kept == Position("e", 3)
    assert socket.position is None


# Up: acknowledgements


async def test_a_submitted_message_is_answered_with_its_offset():
    async with (
        running(PARTIES) as house,
        asyncio.timeout(DEADLINE),
        socket_at(port_of(house)) as socket,
    ):
        early = socket.submit(note("early"))  # before the link is open
        assert await early < await socket.submit(note("late"))


async def test_a_refusal_is_raised_and_not_repeated():
    async with (
        running(PARTIES) as house,
        asyncio.timeout(DEADLINE),
        socket_at(port_of(house)) as socket,
    ):
        with pytest.raises(DeniedError, match="No"):
            await socket.submit(note("no"))

        assert socket._unaccepted == {}


async def test_the_bound_is_256_messages_and_so_many_bytes():
    async with socket_at(1, start_closed=True) as socket:
        waiting = [socket.submit(note(str(number))) for number in range(256)]
        with pytest.raises(QueueFullError):
            socket.submit(note("one more"))
        with pytest.raises(UsageError, match="await them"):
            socket.update_properties(room="other")
        for answer in waiting:
            answer.cancel()
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            socket.submit(note("x" * 1024 * 1024))
        again = socket.submit(note("small", id="1"))
        with pytest.raises(UsageError, match="this id"):
            socket.submit(note("other", id="1"))

    with pytest.raises(UnacceptedError):
        await again


async def test_what_was_not_accepted_goes_again_in_order_and_before_the_queue():
    received: list[list[str]] = []

    async def deaf_once(link: ServerConnection) -> None:
        received.append(mine := [])
        async for frame in link:
            message = json.loads(frame)
            mine.append(message.get("name", "plain"))
            if len(received) == 1:
                if len(mine) == 3:
                    link.transport.abort()
                    return
            elif "id" in message:
                await link.send(
                    json.dumps({"type": "accepted", "id": message["id"], "offset": 1})
                )

    async with serve(deaf_once, "127.0.0.1", 0, close_timeout=1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        socket = socket_at(port)
        socket.update_properties(on_close=lambda _event: socket.send("{}"))
        async with socket, asyncio.timeout(DEADLINE):
            answers = [socket.submit(note(name)) for name in "abc"]
            await asyncio.gather(*answers)
            await until(lambda: len(received[1]) == 4)

    assert received[:2] == [["a", "b", "c"], ["a", "b", "c", "plain"]]


async def test_a_cut_between_append_and_answer_applies_the_message_once():
    reader = Reader()
    async with (
        running(PARTIES) as house,
        proxying() as proxy,
        socket_at(port_of(house), **reader.options()),
        asyncio.timeout(DEADLINE),
    ):
        proxy.upstream_port = int(port_of(house))
        writer_heard = Reader()
        async with socket_at(proxy.port, **writer_heard.options()) as writer:
            await until(lambda: bool(writer_heard.answers))
            await until(lambda: writer_heard.frames[-1]["type"] == "tick")
            proxy.holds_answers = True
            answer = writer.submit(note("once"))
            await until(lambda: reader.names == ["once"])  # it is appended
            assert not answer.done()
            proxy.cut()
            proxy.holds_answers = False

            assert await answer == reader.events[0][0]
            await writer.submit(note("next"))
            await until(lambda: len(reader.names) == 2)

    assert reader.names == ["once", "next"]


@pytest.mark.timeout(300)
async def test_over_many_cuts_and_kills_nothing_is_lost_and_nothing_comes_twice(
    tmp_path: Path,
):
    random = seeded("replicated socket cuts")
    reader = Reader()
    sent: list[asyncio.Future[int]] = []
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(proxying())
        servers = stack.enter_context(ExitStack())
        writer = await stack.enter_async_context(socket_at(proxy.port))
        proxy.upstream_port = await asyncio.to_thread(start, servers, tmp_path)
        following = socket_at(proxy.port, **reader.options())
        await stack.enter_async_context(following)
        await until(lambda: following.position is not None)
        for cut in range(rounds(1000)):
            if cut % 20 == 19:
                servers.close()
                proxy.upstream_port = await asyncio.to_thread(start, servers, tmp_path)
            before = proxy.cuts
            proxy.cut_after(random.randrange(1, 6000))
            async with asyncio.timeout(DEADLINE):
                while proxy.cuts == before:
                    if len(writer._unaccepted) < 50:
                        sent.append(writer.submit(note(str(len(sent)))))
                    await asyncio.sleep(0.002)
        async with asyncio.timeout(DEADLINE):
            offsets = await asyncio.gather(*sent)
        await until(lambda: len(reader.events) >= len(sent))

    assert reader.names == [str(number) for number in range(len(sent))]
    assert [offset for offset, _ in reader.events] == offsets == sorted(set(offsets))
    first, *others = [answer.resume for answer in reader.answers]
    assert first == "fresh"
    assert set(others) == {"resumed"}


def start(servers: ExitStack, folder: Path) -> int:
    """Start a server that ends by SIGKILL, and return its port."""
    process = servers.enter_context(python(PROGRAM, str(folder / "rooms.sqlite")))
    servers.callback(process.kill)
    assert process.stdout is not None
    return int(process.stdout.readline())
