"""Which terminals are idle, by a clock of the test's own."""

import asyncio
from typing import Any, cast

import pytest

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker import fronts
from vibehq_nb.worker.cull import Culler
from vibehq_nb.worker.providers.port import Foreground
from vibehq_nb.worker.terminal import Terminal

HOUR = 3600.0


class Facts:
    """What a culler looks at of a terminal."""

    def __init__(self, epoch: str = "e") -> None:
        self.id = self.epoch = epoch
        self.traffic: Any = (0, 0)
        self.state = "running"
        self.watchers = 0
        self.front = "bash"

    async def foreground(self) -> Foreground | None:
        if self.front == "refused":
            raise DeniedError("no-answer", "Host web-1 does not answer.")
        if self.front == "hangs":
            await asyncio.Event().wait()
        is_shell = self.front == "bash"
        return Foreground(self.front, 7, 1.0, is_shell) if self.front else None


async def due(culler: Culler, facts: list[Facts], hours: float) -> list[str]:
    terminals = cast(list[Terminal], facts)
    return [one.id for one in await culler.due(terminals, hours * HOUR)]


async def test_an_idle_prompt_is_due_after_the_time_and_not_before() -> None:
    culler, idle = Culler(12 * HOUR), [Facts()]

    assert await due(culler, idle, 100) == []
    assert await due(culler, idle, 111.9) == []
    assert await due(culler, idle, 112) == ["e"]


async def test_output_and_keys_begin_the_time_anew() -> None:
    culler, facts = Culler(HOUR), Facts()
    await due(culler, [facts], 0)
    facts.traffic = (1, 0)
    assert await due(culler, [facts], 0.9) == []
    facts.traffic = (1, 1)
    assert await due(culler, [facts], 1.8) == []
    assert await due(culler, [facts], 2.7) == []
    assert await due(culler, [facts], 2.8) == ["e"]


@pytest.mark.parametrize(
    "keeping",
    [
        {"front": "sleep"},
        {"watchers": 1},
        {"state": "frozen"},
        {"front": "refused"},
        {"front": "hangs"},
    ],
    ids=["a job", "a viewer", "a freeze", "nobody knows", "nobody answers"],
)
async def test_what_is_or_may_be_in_use_is_kept_and_its_time_begins_when_that_ends(
    keeping: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fronts, "ASK_SECONDS", 0.01)
    culler, facts = Culler(HOUR), Facts()
    vars(facts).update(keeping)
    for hours in (0, 5, 10):
        assert await due(culler, [facts], hours) == []
    vars(facts).update(front="bash", watchers=0, state="running")

    assert await due(culler, [facts], 10.9) == []
    assert await due(culler, [facts], 11) == ["e"]


async def test_a_terminal_without_a_foreground_job_is_idle() -> None:
    culler, facts = Culler(HOUR), Facts()
    facts.front = ""
    await due(culler, [facts], 0)

    assert await due(culler, [facts], 1) == ["e"]


async def test_a_viewer_who_comes_while_the_place_is_asked_keeps_a_terminal() -> None:
    culler, facts = Culler(HOUR), Facts()
    await due(culler, [facts], 0)

    async def come() -> Foreground | None:
        facts.watchers = 1
        return None

    facts.foreground = come  # type: ignore[method-assign]

    assert await due(culler, [facts], 2) == []


async def test_an_exited_terminal_is_left_to_those_who_look_back() -> None:
    culler, facts = Culler(HOUR), Facts()
    facts.state = "exited"
    await due(culler, [facts], 0)

    assert await due(culler, [facts], 50) == []


async def test_another_life_of_a_terminal_begins_anew() -> None:
    culler = Culler(HOUR)
    await due(culler, [Facts("one")], 0)

    assert await due(culler, [Facts("two")], 5) == []


async def test_without_a_time_nothing_is_ever_due() -> None:
    culler = Culler(None)
    await due(culler, [Facts()], 0)

    assert await due(culler, [Facts()], 1e6) == []
