"""Who has a container frozen, when its runtime refuses or does not answer."""

from typing import Any, cast

import pytest

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.providers.pauses import Pauses
from vibehq_nb.worker.providers.runtime import Runtime

REFUSED = DeniedError("refused", "Podman refuses: it is paused already.")
SILENT = DeniedError("no-runtime", "Podman does not answer at its socket.")


class OneContainer:
    """A runtime of one container; an error of *errors* comes in place of an answer."""

    def __init__(self) -> None:
        self.is_paused = False
        self.errors: dict[str, DeniedError] = {}
        self.acts_on_error = False

    async def call(self, method: str, _container: str) -> Any:
        error = self.errors.get(method)
        if method != "inspect_container" and (error is None or self.acts_on_error):
            self.is_paused = method == "pause"
        if error is not None:
            raise error
        return {"State": {"Paused": self.is_paused}}


@pytest.fixture
def runtime() -> OneContainer:
    return OneContainer()


@pytest.fixture
def pauses(runtime: OneContainer) -> Pauses:
    return Pauses(cast(Runtime, runtime))


async def test_a_freeze_that_is_refused_leaves_no_holder_and_nothing_to_undo(
    runtime: OneContainer, pauses: Pauses
) -> None:
    runtime.errors["pause"] = REFUSED
    with pytest.raises(DeniedError, match="paused already"):
        await pauses.pause("c", "one")
    held = pauses.holds("c")
    runtime.is_paused = True  # that somebody else was quicker was the reason
    await pauses.unpause("c", "one")

    assert not held
    assert runtime.is_paused


@pytest.mark.parametrize("silent", ["pause", "inspect_container"])
async def test_a_freeze_without_an_answer_is_undone_by_the_thaw(
    runtime: OneContainer, pauses: Pauses, silent: str
) -> None:
    if silent == "pause":
        runtime.errors, runtime.acts_on_error = {"pause": SILENT}, True
    else:
        before = runtime.call

        async def call(method: str, container: str) -> Any:
            if method == "pause":  # from here on it is silent
                runtime.errors["inspect_container"] = SILENT
            return await before(method, container)

        runtime.call = call  # type: ignore[method-assign]
    with pytest.raises(DeniedError, match="does not answer"):
        await pauses.pause("c", "one")
    held, was_paused = pauses.holds("c"), runtime.is_paused
    runtime.errors = {}
    await pauses.unpause("c", "one")

    assert was_paused
    assert not held
    assert not runtime.is_paused


async def test_a_failed_freeze_is_not_counted_when_the_others_are_thawed(
    runtime: OneContainer, pauses: Pauses
) -> None:
    await pauses.pause("c", "one")
    runtime.errors["inspect_container"] = SILENT
    with pytest.raises(DeniedError, match="does not answer"):
        await pauses.pause("c", "two")
    runtime.errors = {}
    await pauses.unpause("c", "one")

    assert not runtime.is_paused
    assert not pauses.holds("c")


async def test_a_container_that_somebody_let_go_on_is_paused_again(
    runtime: OneContainer, pauses: Pauses
) -> None:
    await pauses.pause("c", "one")
    runtime.is_paused = False
    await pauses.pause("c", "two")
    await pauses.unpause("c", "two")
    still = runtime.is_paused
    await pauses.unpause("c", "one")

    assert still
    assert not runtime.is_paused
