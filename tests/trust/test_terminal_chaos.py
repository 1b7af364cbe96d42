"""Whatever is cut or killed, in whatever order: no byte is lost, no key typed twice."""

import asyncio
import os
import random
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from tests.rounds import rounds, seeded
from tests.trust import numbers
from tests.trust.fault_proxy import Fault, FaultProxy
from tests.trust.server_process import ServerProcess, served, until
from tests.trust.watchers import Typist, Watcher
from tests.trust.worker_process import working
from vibehq_nb.client.http import Server
from vibehq_nb.core.errors import VibeError

QUICK_SECONDS = 8
ENOUGH = 20
"""Keys that have to be taken, all told."""
LINES, NOISE = "vm", "vm:noise"
PROGRAMS = {LINES: "lines", NOISE: "noise"}
BY_PROXY = ("--allowed-host", "127.0.0.1")
"""Who comes by a proxy names another port."""


class Chaos:
    """Breaks one thing after another, in the order that *randomness* says."""

    def __init__(
        self,
        randomness: random.Random,
        server: ServerProcess,
        behind: FaultProxy,
        watchers: list[Watcher],
        typist: Typist,
    ) -> None:
        self.done: dict[str, int] = {}
        self._random = randomness
        self._server, self._behind, self._watchers = server, behind, watchers
        self._typist = typist

    async def run(self, seconds: float) -> None:
        """Break things for *seconds*, and once each in any case."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        actions = [self.cut_worker, self.kill_server, self.cut_viewer, self.kill_viewer]
        due = self._random.sample(actions, len(actions))
        self._behind.plan = self._plan
        while due or loop.time() < ends_at:
            action = due.pop() if due else self._random.choice(actions)
            self.done[action.__name__] = self.done.get(action.__name__, 0) + 1
            await action()
            await asyncio.sleep(self._random.uniform(0.0, 0.8))
            if self._random.random() < 0.5:  # else the next blow falls on the ruins
                taken = len(self._typist.taken) + 5
                await until(lambda: len(self._typist.taken) >= taken, 60)  # noqa: B023
        self._behind.plan = Fault

    def _plan(self) -> Fault:
        """What a link of the worker suffers: half are cut by themselves, anywhere."""
        if self._random.random() < 0.5:
            return Fault()
        return Fault(cut_up=self._random.randrange(300_000))

    async def cut_worker(self) -> None:
        self._behind.cut()

    async def kill_server(self) -> None:
        self._server.kill()
        await asyncio.sleep(self._random.uniform(0.0, 0.5))
        await self._server.start()

    async def cut_viewer(self) -> None:
        self._random.choice(self._watchers).proxy.cut()

    async def kill_viewer(self) -> None:
        await self._random.choice(self._watchers).kill()


class Scene:
    """Server, worker, two programs and six viewers, each by way of a proxy."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.truth = folder / "truth"
        self.truth.mkdir()
        self.watchers: list[Watcher] = []
        self._folder, self._stack = folder, stack

    async def open(self, seed: str) -> None:
        """Start all; return once every viewer has the screen."""
        enter = self._stack.enter_async_context
        self.server = await enter(served(self._folder, *BY_PROXY))
        self.behind = await enter(FaultProxy(self.server.port))
        self.worker = await enter(working(self.server, self._folder, self.behind.port))
        for terminal, kind in PROGRAMS.items():
            command = ["python3", numbers.__file__, str(self.truth), kind, seed]
            await self.worker.open(*command, name=terminal.partition(":")[2])
        for terminal in (*[LINES] * 3, *[NOISE] * 3):
            await self._watch(terminal)
        await until(lambda: all(one.offset for one in self.watchers), 20)

    async def _watch(self, terminal: str) -> None:
        proxy = await self._stack.enter_async_context(FaultProxy(self.server.port))
        token = self.server.admin["Authorization"].partition(" ")[2]
        server = Server(f"http://127.0.0.1:{proxy.port}", token)
        watcher = Watcher(server, terminal, proxy)
        await watcher.open()
        self._stack.push_async_callback(watcher.close)
        self.watchers.append(watcher)

    async def stop_printing(self, watcher: Watcher) -> bytes:
        """Tell a program to print no more; returns all it has printed."""
        path = self.truth / f"{PROGRAMS[watcher.terminal]}.printed"
        while True:
            with suppress(VibeError):
                await watcher.session.type(b"q")
                break
            await asyncio.sleep(0.05)
        await until(lambda: path.read_bytes().endswith(numbers.END))
        return path.read_bytes()

    async def assert_alive(self) -> None:
        """Check that worker and programs are those that were started."""
        assert self.worker.is_running
        for terminal, kind in PROGRAMS.items():
            os.kill(int((self.truth / f"{kind}.pid").read_text()), 0)
            found = await self.worker.ask("GET", f"/api/terminals/{terminal}")
            assert found["state"] == "running"


@pytest.mark.timeout(300)
async def test_cuts_and_kills_in_any_order_lose_no_byte_and_double_no_key(
    tmp_path: Path,
) -> None:
    randomness = seeded("terminal chaos")
    async with AsyncExitStack() as stack:
        scene = Scene(tmp_path, stack)
        await scene.open(str(randomness.random()))
        watchers = scene.watchers
        typist = Typist(watchers[0])
        chaos = Chaos(randomness, scene.server, scene.behind, watchers, typist)
        typing = asyncio.create_task(typist.run())
        await chaos.run(3 * rounds(20) if rounds(20) > 1 else QUICK_SECONDS)
        await until(lambda: len(typist.taken) > ENOUGH, 60)
        typing.cancel()
        await asyncio.wait([typing])

        async with asyncio.timeout(60):
            while not await typist.type_next():  # it goes on, after all
                pass
            printed = {
                one.terminal: await scene.stop_printing(one) for one in watchers[::3]
            }
        for watcher in watchers:
            end = len(printed[watcher.terminal])
            await until(lambda: watcher.offset == end, 60)  # noqa: B023, at once
        await scene.assert_alive()

    lost = [watcher.judge(printed[watcher.terminal]) for watcher in watchers]
    assert lost[:3] == [0, 0, 0]  # so few bytes are always kept
    typist.judge((scene.truth / "lines.typed").read_bytes().rstrip(b"q"))
    assert min(chaos.done.values()) >= 1
