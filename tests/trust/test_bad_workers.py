"""
What a worker should not say, and what becomes of one that dies (B71 to B79).

Where the catalogue speaks of a close with 4410 for bytes that contradict each other,
there are no two copies here that could: a room holds what its worker said, and who
cannot go on from there is reset.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.app_server import SOME_PARTIES, UPGRADE, App, serving
from tests.integration.house import House, Peer, running
from tests.integration.scripted_worker import KEYFRAME, Worker, work
from tests.trust.server_process import served, until
from tests.trust.stubborn import StubbornClient
from tests.trust.worker_process import working
from vibehq_nb.client.errors import TerminalEndedError
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.client.terminals import AsyncTerminal
from vibehq_nb.core.messages import PROTOCOL, Close
from vibehq_nb.core.rates import Rate
from vibehq_nb.core.stream import RING_BYTES
from vibehq_server.rates import Door
from vibehq_server.rooms.lobby import LobbyRoom
from vibehq_server.rooms.ops import OpsRoom
from vibehq_server.rooms.terminal import TerminalRoom
from vibehq_server.rooms.worker import WorkerRoom

pytestmark = pytest.mark.timeout(60)

PARTIES = {
    "terminal": TerminalRoom,
    "worker": WorkerRoom,
    "ops": OpsRoom,
    "lobby": LobbyRoom,
}
EVERYTHING = {"epoch": "e1", "offset": 0}
HELLO = {
    "type": "worker-hello",
    "protocol": PROTOCOL,
    "version": "1",
    "worker": "vm",
    "host": "vm",
    "generation": 1,
    "providers": ["local"],
    "terminals": [],
}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with serving(tmp_path / "data", SOME_PARTIES) as running:
        yield running


async def control(house: House, **changes: Any) -> Peer:
    """Open a control socket and say hello."""
    peer = await house.connect("worker/vm", "vm", "worker")
    await peer.until("connected")
    await peer.send(HELLO | changes)
    return peer


async def test_b71_a_second_worker_of_a_name_fences_the_first() -> None:
    async with running(PARTIES) as house:
        old = await control(house, generation=1000)
        new = await control(house, generation=2000)
        assert await old.close_code() == Close.REPLACED
        late = await control(house, generation=1999)
        assert await late.close_code() == Close.REPLACED
        assert house.hub.directory.workers["vm"].generation == 2000

        first = await work(house)
        await first.hello()
        viewer = await house.connect("terminal/vm", **EVERYTHING)
        second = await work(house)
        await second.hello()
        await second.output(b"second")
        with suppress(ConnectionClosed):
            await first.peer.send(b"first")
        assert await first.peer.close_code() == Close.REPLACED
        assert await viewer.read_bytes(6) == b"second"
        assert new.socket.close_code is None


# B72: offsets that contradict each other

Lie = Callable[[Worker, Peer], Awaitable[None]]


async def tell(worker: Worker, **message: Any) -> None:
    await worker.peer.send(message)


async def refused_hello(worker: Worker, **changes: Any) -> None:
    """Say hello once more, wrongly; the link goes on as it was."""
    hello = {
        **{"type": "hello", "protocol": PROTOCOL, "epoch": "e1", "oldest": 0},
        **{"offset": len(worker.data), "cols": 80, "rows": 24, "state": "running"},
        **{"screen": "vt", "inputs": {}},
    }
    await worker.peer.send(hello | changes)
    assert (await worker.peer.until("error"))["code"] == "bad-message"


async def oldest_beyond_the_head(worker: Worker, viewer: Peer) -> None:
    await refused_hello(worker, oldest=2**40)


async def offsets_that_are_none(worker: Worker, viewer: Peer) -> None:
    for bad in (-1, 1.5, "7", 2**53, None):
        await refused_hello(worker, offset=bad)
        await refused_hello(worker, oldest=bad)
    await refused_hello(worker, epoch="")
    await refused_hello(worker, epoch="e" * 65)
    await refused_hello(worker, inputs={"s": -1})
    await refused_hello(worker, inputs={str(n): 1 for n in range(257)})
    await refused_hello(worker, inputs={"s" * 300: 1})


async def exit_from_ahead(worker: Worker, viewer: Peer) -> None:
    await tell(worker, type="exited", offset=2**50, code=0)
    assert (await viewer.until("exited"))["offset"] == len(worker.data)


async def size_from_the_past(worker: Worker, viewer: Peer) -> None:
    await tell(worker, type="resized", cols=40, rows=10, offset=0)
    assert (await viewer.until("resized"))["offset"] == len(worker.data)


async def keyframe_nobody_asked_for(worker: Worker, viewer: Peer) -> None:
    snapshot = {"epoch": "e1", "cols": 80, "rows": 24, "bytes": len(KEYFRAME)}
    for offset in (0, 2**50):
        await tell(worker, type="snapshot", offset=offset, **snapshot)
        await worker.peer.send(KEYFRAME)
    await tell(worker, type="snapshot", offset=0, **snapshot | {"epoch": "e0"})
    await worker.peer.send(KEYFRAME)


async def acks_of_what_was_never_typed(worker: Worker, viewer: Peer) -> None:
    for offset in (2**53 - 1, 0, 7):
        await tell(worker, type="input-ack", session="nobody", offset=offset)
        await tell(worker, type="input-ack", offset=offset)
        await tell(worker, type="ack", offset=offset)


LIES: list[Lie] = [
    oldest_beyond_the_head,
    offsets_that_are_none,
    exit_from_ahead,
    size_from_the_past,
    keyframe_nobody_asked_for,
    acks_of_what_was_never_typed,
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
async def test_b72_offsets_that_contradict_cost_no_byte(lie: Lie) -> None:
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        viewer = await house.connect("terminal/vm", **EVERYTHING)
        await viewer.until("connected")
        await worker.output(b"before ")
        assert await viewer.read_bytes(7) == b"before "
        await lie(worker, viewer)
        # More than a window: whoever waited for an acknowledgement would stand still.
        more = bytes(range(256)) * 8192
        sending = asyncio.create_task(worker.output(more))
        assert await viewer.read_bytes(len(more)) == more
        await sending
        acks = [await worker.peer.until("ack")]
        while acks[-1]["offset"] < 7 + len(more) - 65_536:
            acks.append(await worker.peer.until("ack"))

        assert acks[-1]["offset"] <= 7 + len(more)
        again = await house.connect("terminal/vm", epoch="e1", offset=3)
        assert (await again.until("connected"))["resume"] == "resumed"
        assert await again.read_bytes(4 + len(more)) == b"ore " + more


async def test_forged_acknowledgements_of_a_viewer_move_nothing_back_or_ahead() -> None:
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        forging = await house.connect("terminal/vm", "ana", **EVERYTHING)
        honest = await house.connect("terminal/vm", "bob", **EVERYTHING)
        more = bytes(range(256)) * 8192
        sending = asyncio.create_task(worker.output(more))
        got = b""
        while len(got) < len(more):
            got += await forging.read_bytes(1)
            for offset in (2**53 - 1, 0, len(got) + 2**30, 1):
                await forging.send({"type": "ack", "offset": offset})
        await sending

        assert got == more
        assert await honest.read_bytes(len(more)) == more


async def test_bytes_before_a_hello_are_nobodys() -> None:
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.peer.send(b"too early")
        assert (await worker.peer.until("error"))["code"] == "no-hello"
        await tell(worker, type="exited", offset=0, code=0)
        await worker.hello()
        viewer = await house.connect("terminal/vm", **EVERYTHING)
        told = await viewer.until("connected")
        await worker.output(b"now")

        assert (told["offset"], told["state"]) == (0, "running")
        assert await viewer.read_bytes(3) == b"now"


async def test_a_terminal_that_goes_back_resets_those_who_have_more_of_it() -> None:
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        ahead = await house.connect("terminal/vm", "ana", **EVERYTHING)
        await ahead.until("connected")
        await worker.output(b"0123456789")
        assert await ahead.read_bytes(10) == b"0123456789"
        await worker.peer.socket.close()
        await ahead.until("container-disconnected")
        again = await work(house)
        again.data = b"0123"
        await again.hello()
        told = await ahead.until("connected")
        await again.answer_keyframe()
        snapshot = await ahead.until("snapshot")
        assert await ahead.read_bytes(len(KEYFRAME)) == KEYFRAME
        await again.output(b"abc")

        assert told["resume"] == "reset"
        assert snapshot["offset"] == 4
        assert await ahead.read_bytes(3) == b"abc"


# Whose rooms


async def status_of(app: App, path: str, headers: dict[str, str]) -> int:
    return (await app.send("GET", f"/parties/{path}", UPGRADE | headers)).status


async def test_b73_a_workers_credential_opens_its_own_rooms_and_no_others(
    app: App,
) -> None:
    granted = await app.grant("w1", "worker")
    own = {"Authorization": f"Bearer {granted['token']}"}
    for room in ("worker/w1", "terminal/w1", "terminal/w1:logs"):
        assert await status_of(app, room, own) == 101
    for room in ("worker/w2", "terminal/w2", "terminal/w2:logs", "terminal/w1x"):
        assert await status_of(app, room, own) == 403, room
    for room in ("worker/w1x", "terminal/w1x:logs", "worker/*", "lobby/main"):
        assert await status_of(app, room, own) == 403, room
    asked = {"worker": "w2"}
    assert (await app.send("POST", "/api/terminals", own, asked)).status == 403

    url = f"ws://127.0.0.1:{app.port}/parties/worker/w1"
    async with connect(url, additional_headers=own) as socket:
        others = ["w2", "w2:logs", "w1x", "w1 x", "../w2"]
        hello = {"worker": "w1", "terminals": [*others, "w1", "w1:logs"]}
        await socket.send(json.dumps(HELLO | hello))
        terminals = app.server.context.hub.directory.terminals
        await until(lambda: "w1:logs" in terminals)
        assert set(terminals) == {"w1", "w1:logs"}


async def test_b74_a_worker_that_sends_without_credit_costs_a_ring_and_no_more() -> (
    None
):
    async with running(PARTIES) as house:
        flooding, other = await work(house), await work(house, "other")
        await flooding.hello()
        await other.hello()
        viewer = await house.connect("terminal/other", **EVERYTHING)
        await viewer.until("connected")
        piece = bytes(range(256)) * 256
        room: Any = await house.hub.room("terminal", "vm")
        total = 12 * RING_BYTES

        async def flood() -> None:
            for _ in range(total // len(piece)):
                await flooding.peer.send(piece)

        sending = asyncio.create_task(flood())
        for number in range(20):
            await other.output(b"%02d" % number)
            assert await viewer.read_bytes(2) == b"%02d" % number
        await sending
        await until(lambda: room.position.offset == total, 30)
        stream = room.uplink.stream

        assert stream.head - stream.oldest <= RING_BYTES
        late = await house.connect("terminal/vm", epoch="e1", offset=total - 1000)
        assert await late.read_bytes(1000) == piece[-1000:]


async def test_b75_a_worker_whose_clock_is_ten_years_ahead_changes_no_time_here() -> (
    None
):
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    ahead = int((now + 10 * 365 * 86_400) * 1000)
    async with running(PARTIES, clock=lambda: now) as house:
        feed = await house.connect("ops/main")
        await feed.until("tick")
        wrong = await control(house, generation=ahead)
        await wrong.send({"type": "event", "name": "a", "at": "2036-01-01T00:00:00Z"})
        told = await feed.until("event")
        assert told["at"].startswith("2026-01-02T03:04:05")
        await wrong.socket.close()
        await until(lambda: not house.hub.directory.online())
        right = await control(house, generation=int(now * 1000))
        await until(house.hub.directory.online)

        assert house.hub.directory.workers["vm"].generation == int(now * 1000)
        assert right.socket.close_code is None


async def test_b76_a_worker_that_dies_amid_a_command_leaves_its_end_unknown(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as server, working(server, tmp_path) as worker:
        terminal = await worker.open()
        token = server.admin["Authorization"].partition(" ")[2]
        api = HttpApi(Server(f"http://127.0.0.1:{server.port}", token))
        term = AsyncTerminal(api, terminal)
        running_it = asyncio.create_task(term.run("echo begun; sleep 60"))
        session = await term.attach()
        seen: list[str] = []
        session.listen(lambda event: seen.append(type(event).__name__))
        await until(lambda: session.shell.has_marks and "Output" in seen, 20)
        async with asyncio.timeout(20):
            while (await term.foreground()).get("name") != "sleep":
                await asyncio.sleep(0.05)
        worker.kill()
        await until(lambda: "ContainerDisconnected" in seen)
        path = f"/api/terminals/{terminal}"
        found = await worker.ask("GET", path)
        assert (found["state"], found["unknown"]) == ("waiting", "no-worker")
        assert "exited" not in found
        assert not running_it.done()
        await worker.start()
        with pytest.raises(TerminalEndedError, match="is unknown"):
            async with asyncio.timeout(20):
                await running_it
        await term.detach()


HTML = "<img src=x onerror=alert(1)>"


async def test_b77_what_a_worker_says_of_itself_is_bounded_and_never_markup(
    app: App,
) -> None:
    url = f"ws://127.0.0.1:{app.port}/parties"
    async with AsyncExitStack() as stack:

        async def dial(room: str) -> Peer:
            connecting = connect(f"{url}/{room}", additional_headers=app.worker)
            return Peer(await stack.enter_async_context(connecting))

        link = await dial("worker/vm")
        for bad in (
            {"host": "h" * 5000},
            {"host": ["a"]},
            {"version": "v" * 300},
            {"providers": ["p"] * 1000},
            {"providers": [1]},
            {"terminals": ["t" * 5000]},
            {"generation": -1},
            {"generation": "1"},
            {"worker": ""},
        ):
            await link.send(HELLO | bad)
            assert (await link.until("error"))["code"] == "bad-message", bad
        assert not app.server.context.hub.directory.workers
        await link.send(HELLO | {"host": HTML, "version": HTML})
        await until(app.server.context.hub.directory.online)
        shown = await app.send("GET", "/api/workers", app.admin)
        assert shown.json()["workers"][0]["host"] == HTML
        assert shown.headers["content-type"].startswith("application/json")
        assert shown.headers["x-content-type-options"] == "nosniff"

        worker: Any = Worker(None, await dial("terminal/vm"))  # type: ignore[arg-type]
        await worker.hello()
        for bad in (
            {"type": "exited", "offset": 0, "code": "0; rm"},
            {"type": "exited", "offset": 0, "code": 1.5},
            {"type": "exited", "offset": 0, "code": 0, "signal": "K" * 300},
            {"type": "title", "text": "t" * 5000},
            {"type": "frozen", "is_frozen": "yes"},
        ):
            await worker.peer.send(bad)
            assert (await worker.peer.until("error"))["code"] == "bad-message", bad
        room: Any = await app.server.context.hub.room("terminal", "vm")
        assert room.run_state == "running"


async def test_b78_five_hundred_that_come_at_once_are_put_off_and_all_come_in(
    app: App,
) -> None:
    app.server.context.hub.door = Door(rate=Rate(per_second=100, burst=100))
    url = f"ws://127.0.0.1:{app.port}/parties/terminal/vm"
    waits: list[int] = []

    async def come() -> ClientConnection:
        while True:
            try:
                return await connect(url, additional_headers=app.admin, open_timeout=30)
            except InvalidStatus as refusal:
                if refusal.response.status_code != 503:
                    raise
                waits.append(int(refusal.response.headers["Retry-After"]))
                await asyncio.sleep(waits[-1] / 4)  # in a hurry, but spread

    sockets = await asyncio.gather(*(come() for _ in range(500)))
    try:
        for socket in sockets:
            assert json.loads(await socket.recv())["type"] == "connected"
        assert len(app.server.context.hub.find("terminal", "vm").viewers) == 500
    finally:
        await asyncio.gather(*(socket.close() for socket in sockets))
    assert waits
    assert set(waits) <= set(range(1, 11))
    assert len(set(waits)) > 1


async def test_b79_the_link_of_a_revoked_worker_is_closed_and_it_is_heard_no_more(
    app: App,
) -> None:
    granted = await app.grant("vm", "worker")
    own = {"Authorization": f"Bearer {granted['token']}"}
    steering = await StubbornClient.open(app.port, "/parties/worker/vm", own)
    terminal = await StubbornClient.open(app.port, "/parties/terminal/vm", own)
    steering.send(json.dumps(HELLO))
    hello = {
        **{"type": "hello", "protocol": PROTOCOL, "epoch": "e1", "oldest": 0},
        **{"offset": 0, "cols": 80, "rows": 24, "state": "running", "screen": "vt"},
        "inputs": {},
    }
    terminal.send(json.dumps(hello))
    hub = app.server.context.hub
    await until(lambda: hub.directory.online() and hub.find("terminal", "vm").is_online)
    room: Any = hub.find("terminal", "vm")
    url = f"ws://127.0.0.1:{app.port}/parties/terminal/vm"
    viewer = Peer(await connect(url, additional_headers=app.admin))
    await viewer.until("connected")
    path = f"/api/grants/{granted['id']}"
    assert (await app.send("DELETE", path, app.admin)).status == 200
    for client in (steering, terminal):
        client.send(json.dumps({"type": "title", "text": "still here"}))
    async with asyncio.timeout(5):
        assert await steering.close_code() == Close.SIGNED_OUT
        assert await terminal.close_code() == Close.SIGNED_OUT
    await until(lambda: not hub.directory.online() and not room.is_online)

    told = [await viewer.next()]
    while told[-1]["type"] != "container-disconnected":
        told.append(await viewer.next())
    assert "still here" not in str(told)
    assert await status_of(app, "worker/vm", own) == 401
    await viewer.socket.close()
    steering.hang_up()
    terminal.hang_up()
