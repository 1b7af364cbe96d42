"""When a worker may be stopped, and what it asks before it is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker import fronts
from vibehq_nb.worker.lifetime import Lifetime
from vibehq_nb.worker.providers.port import Foreground

SHELL = Foreground("bash", 7, 1.0, is_shell=True)
JOB = Foreground("make", 8, 1.0, is_shell=False)

Ask = Callable[[], Awaitable[Foreground | None]]


class Place:
    """A terminal, and how its place answers."""

    def __init__(self, name: str, ask: Ask) -> None:
        self.id, self.state, self.foreground = name, "running", ask


class Worker:
    """What a lifetime sees of its agent."""

    def __init__(self, **asks: Ask) -> None:
        self.terminals = {name: Place(name, ask) for name, ask in asks.items()}
        self.is_scanning = False


def lifetime_of(worker: Worker) -> Lifetime:
    return Lifetime(cast(Any, worker), 600.0, None, lambda: 0.0)


def telling(job: Foreground | None) -> Ask:
    async def ask() -> Foreground | None:
        return job

    return ask


async def refuse() -> None:
    raise DeniedError("no-answer", "Host web-1 does not answer.")


async def hang() -> None:
    await asyncio.Event().wait()


async def test_a_worker_at_its_prompts_stops() -> None:
    lifetime = lifetime_of(Worker(a=telling(SHELL), b=telling(None)))

    assert await lifetime.stop(is_forced=False) == {"terminals": ["a", "b"]}
    assert lifetime.is_told_to_stop


async def test_a_stop_names_the_jobs_and_where_nobody_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fronts, "ASK_SECONDS", 0.05)
    worker = Worker(job=telling(JOB), at=telling(SHELL), web=refuse, slow=hang)
    lifetime = lifetime_of(worker)

    with pytest.raises(DeniedError) as caught:
        await lifetime.stop(is_forced=False)

    assert caught.value.code == "still-running"
    assert caught.value.reason == (
        "Still running: make in job. web: what runs there is not known. "
        "slow: what runs there is not known."
    )
    assert not lifetime.is_told_to_stop


async def test_all_terminals_are_asked_at_the_same_time() -> None:
    barrier = asyncio.Barrier(3)

    async def meet() -> Foreground | None:
        await barrier.wait()  # none is told before all are asked
        return SHELL

    stopped = await lifetime_of(Worker(a=meet, b=meet, c=meet)).stop(is_forced=False)

    assert stopped == {"terminals": ["a", "b", "c"]}


async def test_a_forced_stop_asks_nobody() -> None:
    async def ask() -> Foreground | None:
        raise AssertionError("asked")

    assert await lifetime_of(Worker(a=ask)).stop(is_forced=True) == {"terminals": ["a"]}
