"""Which terminals are idle, by a clock of the test's own."""

from typing import Any, cast

import pytest

from vibehq_nb.worker.cull import Culler
from vibehq_nb.worker.terminal import Terminal

HOUR = 3600.0


class Facts:
    """What a culler looks at of a terminal."""

    def __init__(self, epoch: str = "e") -> None:
        self.id = self.epoch = epoch
        self.traffic: Any = (0, 0)
        self.state = "running"
        self.watchers = 0
        self.has_job = False

    async def is_busy(self) -> bool:
        return self.has_job


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
    [{"has_job": True}, {"watchers": 1}, {"state": "frozen"}],
    ids=["a job", "a viewer", "a freeze"],
)
async def test_what_is_in_use_is_kept_and_its_time_begins_when_that_ends(
    keeping: dict[str, Any],
) -> None:
    culler, facts = Culler(HOUR), Facts()
    vars(facts).update(keeping)
    for hours in (0, 5, 10):
        assert await due(culler, [facts], hours) == []
    vars(facts).update(has_job=False, watchers=0, state="running")

    assert await due(culler, [facts], 10.9) == []
    assert await due(culler, [facts], 11) == ["e"]


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
