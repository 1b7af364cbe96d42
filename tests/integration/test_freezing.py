"""A local terminal that stands still: by signals, by either version of the freezer."""

import asyncio
import hashlib
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.integration.opened import Opened, opened
from tests.integration.worker_rooms import until
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker import freezer as freezer_module
from vibehq_nb.worker import processes
from vibehq_nb.worker.freezer import V1, V2, Freezer, Kind, own_places
from vibehq_nb.worker.providers.local import LocalProvider

KINDS = {"signals": None, "v1": V1, "v2": V2}
TICKS = "while :; do echo tick; sleep 0.01; done"
COUNTED = "for i in $(seq 20000); do echo $i-the-same-line-in-every-run; done; exit 5"


def places(kind: Kind | None) -> list[tuple[Path, Kind]]:
    return [place for place in own_places() if place[1] is kind]


def provider_of(kind: Kind | None) -> LocalProvider:
    freezer = Freezer(places(kind))
    cgroup = freezer.new()
    if kind is not None and cgroup is None:
        pytest.skip("needs root: a cgroup of its own")
    if cgroup is not None:
        cgroup.leave()
    return LocalProvider(freezer)


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind | None:
    kind: Kind | None = request.param
    return kind


@pytest.fixture
def provider(kind: Kind | None) -> LocalProvider:
    return provider_of(kind)


def left_behind() -> list[Path]:
    mine = f"vibehq-{os.getpid()}-*"
    return [found for folder, _ in own_places() for found in folder.glob(mine)]


async def test_t17_no_byte_differs_after_any_number_of_freezes(
    provider: LocalProvider, kind: Kind | None
) -> None:
    plain = await opened(provider, "", "bash", "-c", COUNTED)
    frozen = await opened(provider, "", "bash", "-c", COUNTED)
    hows = set()
    for _ in range(10):
        before = len(frozen.output)
        await until(lambda: len(frozen.output) > before or frozen.exits)  # noqa: B023
        hows.add(await frozen.process.freeze())
        await frozen.process.thaw()

    assert await frozen.ended() == await plain.ended()
    assert digest(frozen) == digest(plain)
    assert frozen.output.count(b"\n") == 20000
    assert hows == {"signals" if kind is None else "freezer"}


def digest(program: Opened) -> str:
    return hashlib.sha256(program.output).hexdigest()


async def test_nothing_moves_while_it_is_frozen(provider: LocalProvider) -> None:
    program = await opened(provider, "", "bash", "-c", f"({TICKS}) & {TICKS}")
    await program.saw(b"tick")

    await program.process.freeze()
    await asyncio.sleep(0.05)  # what was written before is read
    before = len(program.output)
    await asyncio.sleep(0.2)  # twenty ticks of each, if it moved
    still = len(program.output)
    await program.process.thaw()
    await until(lambda: len(program.output) > still)

    assert still == before
    await program.process.close()


async def test_what_was_stopped_before_a_freeze_stays_stopped(
    provider: LocalProvider,
) -> None:
    script = f"({TICKS}) & echo pid $!.; sleep 60"
    program = await opened(provider, "", "bash", "-c", script)
    await program.saw(b"tick")
    pid = int(program.output.partition(b"pid ")[2].partition(b".")[0])
    stopped = psutil.Process(pid)
    stopped.suspend()
    await until(lambda: stopped.status() == psutil.STATUS_STOPPED)

    await program.process.freeze()
    await program.process.thaw()

    assert stopped.status() == psutil.STATUS_STOPPED
    await program.process.close()


async def test_a_frozen_terminal_closes_and_leaves_no_process_and_no_cgroup(
    provider: LocalProvider,
) -> None:
    program = await opened(provider, "", "bash", "-c", f"({TICKS}) & {TICKS}")
    await program.saw(b"tick")
    session = program.process.pid  # type: ignore[attr-defined]
    await program.process.freeze()

    await program.process.close()

    assert len(program.exits) == 1
    assert processes.members(session) == []
    assert left_behind() == []


async def test_what_left_the_session_outlives_the_terminal_and_its_cgroup(
    provider: LocalProvider,
) -> None:
    script = "setsid sleep 60 & echo pid $!.; sleep 0.2"
    program = await opened(provider, "", "bash", "-c", script)
    await program.ended()
    pid = int(program.output.partition(b"pid ")[2].partition(b".")[0])

    await program.process.close()
    await program.process.freeze()  # of nothing

    os.kill(pid, signal.SIGKILL)
    assert left_behind() == []


async def test_a_command_that_cannot_be_started_leaves_no_cgroup(
    provider: LocalProvider, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)

    with pytest.raises(DeniedError, match="There is no program"):
        await opened(provider, "", str(broken))

    assert left_behind() == []


@pytest.mark.parametrize("kind", [V1, V2], ids=["v1", "v2"])
async def test_a_freeze_that_takes_too_long_is_refused_and_can_be_undone(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = provider_of(kind)
    program = await opened(provider, "", "bash", "-c", TICKS)
    cgroup = program.process._cgroup  # type: ignore[attr-defined]
    monkeypatch.setattr(freezer_module, "SECONDS", 0.0)
    monkeypatch.setattr(cgroup, "_kind", kind._replace(is_frozen="never told"))

    with pytest.raises(DeniedError) as caught:
        await program.process.freeze()
    monkeypatch.undo()
    await program.process.thaw()
    await program.saw(b"tick")

    assert caught.value.code == "not-frozen"
    await program.process.close()


@pytest.mark.parametrize("kind", [V1, V2], ids=["v1", "v2"])
def test_what_a_killed_worker_left_frozen_is_let_go_by_the_next(kind: Kind) -> None:
    provider_of(kind)
    folder = places(kind)[0][0]
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = folder / f"vibehq-{dead.pid}-1"
    left.mkdir()
    sleeper = subprocess.Popen(["sleep", "60"])
    (left / "cgroup.procs").write_text(str(sleeper.pid))
    (left / kind.control).write_text(kind.freeze)
    sleeper.terminate()

    cgroup = Freezer([(folder, kind)]).new()

    assert cgroup is not None
    assert sleeper.wait(10) == -signal.SIGTERM
    cgroup.leave()
    asyncio.run(freezer_module.Cgroup(left, kind).remove())


def test_without_a_place_there_is_no_cgroup(tmp_path: Path) -> None:
    assert Freezer([]).new() is None
    assert Freezer([(tmp_path, V2)]).new() is None  # a folder like any other
    assert list(tmp_path.iterdir()) == []
