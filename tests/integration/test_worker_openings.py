"""How a worker opens terminals: how many, where, and when a place is slow."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.integration.worker_rooms import WorkerRooms, running_agent, until
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import Spawn
from vibehq_nb.worker import processes
from vibehq_nb.worker.agent import Agent
from vibehq_nb.worker.providers import places
from vibehq_nb.worker.providers.local import LocalProvider
from vibehq_nb.worker.providers.port import Opening
from vibehq_nb.worker.pty import Pty


@pytest.fixture
async def rooms() -> AsyncIterator[WorkerRooms]:
    rooms = WorkerRooms()
    await rooms.start()
    yield rooms
    await rooms.stop()


class SlowProvider(LocalProvider):
    """Opens a local terminal when it is let."""

    name = "slow"

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.asked = 0
        self.opened: list[Pty] = []

    async def open(self, opening: Opening) -> Pty:
        self.asked += 1
        await self.gate.wait()
        self.opened.append(await super().open(opening))
        return self.opened[-1]


async def test_over_the_limit_a_terminal_is_refused_until_another_has_ended(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path, max_terminals=2):
        await rooms.spawn("w", command=["sleep", "60"])
        last = await rooms.spawn("w:1", command=["cat"])
        refused = await rooms.request("spawn", terminal="w:2", command=["cat"])
        again = await rooms.request("spawn", terminal="w:1", command=["cat"])
        await last.type("\x04", 0)
        await until(lambda: last.of("exited"))
        after = await rooms.request("spawn", terminal="w:2", command=["cat"])

    assert (refused["type"], refused["code"]) == ("failed", "busy")
    assert refused["message"] == (
        "2 terminals are open on worker w, which holds at most 2. Close one that is "
        "not needed, or start the worker with a higher limit."
    )
    assert again["type"] == "done"
    assert after["type"] == "done"


async def test_a_name_is_bound_to_its_place_as_long_as_it_is_open(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    slow = SlowProvider()
    providers = [LocalProvider(), slow]
    async with running_agent(rooms, tmp_path, providers=providers) as agent:
        room = await rooms.spawn("w", command=["cat"])
        elsewhere = await rooms.request("spawn", terminal="w", target="docker:db")
        opening = rooms.request("spawn", terminal="w:1", target="slow")
        asked = asyncio.ensure_future(opening)
        await until(lambda: slow.asked)
        meanwhile = await rooms.request("spawn", terminal="w:1", target="local")
        slow.gate.set()
        opened = await asked
        await room.type("\x04", 0)
        await until(lambda: room.of("exited"))
        after = await rooms.request("spawn", terminal="w", target="slow")
        targets = {one.id: one.target for one in agent.terminals.values()}

    assert (elsewhere["type"], elsewhere["code"]) == ("failed", "conflict")
    assert elsewhere["message"] == (
        "Terminal w is open on local. Give another name for docker:db, or ask for a "
        "new one."
    )
    assert meanwhile["code"] == "conflict"
    assert (opened["type"], after["type"]) == ("done", "done")
    assert room.hellos[0]["target"] == "local"
    assert targets == {"w": "slow", "w:1": "slow"}


async def test_a_worker_that_is_about_to_end_opens_nothing_more(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async with running_agent(rooms, tmp_path) as agent:
        asking = rooms.request("spawn", terminal="w", command=["sleep", "60"])
        assert (await asking)["type"] == "done"
        process = agent.terminals["w"].process
        is_closing, close = asyncio.Event(), process.close
        gate = asyncio.Event()

        async def close_later() -> None:
            is_closing.set()
            await gate.wait()
            await close()

        process.close = close_later  # type: ignore[method-assign]
        agent.lifetime._stopping.set()
        await is_closing.wait()
        with pytest.raises(DeniedError, match="about to end"):
            await agent.perform(Spawn(id="r", terminal="w:1", target="local"))
        gate.set()
        await until(lambda: not agent.terminals)


async def test_openings_under_way_count_and_the_same_one_is_joined(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    slow = SlowProvider()
    fields = {"target": "slow", "command": ["cat"]}
    async with running_agent(
        rooms, tmp_path, max_terminals=1, providers=[slow]
    ) as agent:
        first = asyncio.ensure_future(rooms.request("spawn", terminal="w", **fields))
        await until(lambda: slow.asked)
        joined = asyncio.ensure_future(rooms.request("spawn", terminal="w", **fields))
        refused = await rooms.request("spawn", terminal="w:2", **fields)
        slow.gate.set()
        answers = [await first, await joined]
        opened = list(agent.terminals)

    assert refused["code"] == "busy"
    assert [answer["type"] for answer in answers] == ["done", "done"]
    assert opened == ["w"]
    assert slow.asked == 1


async def test_an_opening_goes_on_when_the_link_that_asked_is_cut(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    slow = SlowProvider()
    async with running_agent(rooms, tmp_path, providers=[slow]) as agent:
        asking = rooms.request("spawn", terminal="w", target="slow", command=["cat"])
        asked = asyncio.ensure_future(asking)
        await until(lambda: slow.asked)
        assert rooms.control is not None
        rooms.control.transport.abort()
        await until(lambda: len(rooms.hellos) == 2)
        slow.gate.set()
        await until(lambda: "w" in agent.terminals)
        asked.cancel()

    assert slow.asked == 1


async def test_a_place_that_does_not_answer_is_given_up_and_closed_when_it_does(
    rooms: WorkerRooms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "OPEN_SECONDS", 0.05)
    slow = SlowProvider()
    async with running_agent(rooms, tmp_path, providers=[slow]) as agent:
        answer = await rooms.request("spawn", terminal="w", target="slow")
        slow.gate.set()
        await until(lambda: slow.opened)
        await until(slow.opened[0].ended.is_set)

        assert agent.terminals == {}
        assert processes.members(slow.opened[0].pid) == []
    assert answer["code"] == "no-answer"
    assert answer["message"] == '"slow" did not open within 0.05 s.'


async def test_a_worker_that_ends_gives_up_what_it_is_opening(
    rooms: WorkerRooms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "LATE_SECONDS", 0.05)
    slow = SlowProvider()
    async with running_agent(rooms, tmp_path, providers=[slow]) as agent:
        asking = rooms.request("spawn", terminal="w", target="slow")
        asked = asyncio.ensure_future(asking)
        await until(lambda: slow.asked)

    assert agent.has_ended
    assert agent.terminals == {}
    asked.cancel()


async def test_a_mistyped_provider_is_answered_with_the_nearest_first(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    providers = [LocalProvider(), SlowProvider()]
    async with running_agent(rooms, tmp_path, providers=providers):
        answer = await rooms.request("spawn", terminal="w", target="slwo:x")

    assert answer["code"] == "no-provider"
    assert answer["message"] == 'No provider "slwo" on worker w. Here: slow, local.'


@pytest.mark.timeout(120)
async def test_a_hundred_openings_and_closings_leave_nothing_behind(
    rooms: WorkerRooms, tmp_path: Path
) -> None:
    async def cycle(agent: Agent, name: str) -> None:
        await rooms.spawn(name, command=["bash", "-c", "printf hello; cat"])
        await rooms.request("close", terminal=name)
        await until(lambda: name not in agent.terminals)
        del rooms.terminals[name]

    me = psutil.Process()
    async with running_agent(rooms, tmp_path) as agent:
        for number in range(20):
            await cycle(agent, f"w:{number}")
        before = me.num_fds(), len(me.children()), len(asyncio.all_tasks())
        memory = me.memory_info().rss
        for number in range(100):
            await cycle(agent, f"w:{number}")
        await until(lambda: me.num_fds() <= before[0])
        after = me.num_fds(), len(me.children()), len(asyncio.all_tasks())
        grown = me.memory_info().rss - memory
        cgroups = agent._places._providers["local"]._freezer._place  # type: ignore[attr-defined]
        left = list(cgroups[0].glob(f"vibehq-{me.pid}-*")) if cgroups else []

    assert after <= before
    assert grown < 8 * 2**20
    assert left == []
