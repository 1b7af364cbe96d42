"""
Tasks: work that can be paused and reviewed. One table of legal moves.

Cancel wins: it is legal wherever anything is.
"""

from enum import StrEnum

import msgspec

from vibehq_nb.core.errors import DeniedError


class State(StrEnum):
    """Where a task is."""

    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    REVIEW = "review"
    """Paused, and waiting for a decision."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    SUCCEEDED = "succeeded"


class Trigger(StrEnum):
    """What moves a task on."""

    PAUSE = "pause"
    FROZEN = "frozen"
    """What it runs is verified to stand still."""
    ASK = "ask"
    WITHDRAW = "withdraw"
    """Nothing is asked any more, and nothing was allowed."""
    RESUME = "resume"
    THAWED = "thawed"
    CANCEL = "cancel"
    FAIL = "fail"
    SUCCEED = "succeed"


FINAL = frozenset({State.CANCELLED, State.FAILED, State.SUCCEEDED})

TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (State.RUNNING, Trigger.PAUSE): State.PAUSING,
    (State.RUNNING, Trigger.ASK): State.REVIEW,
    (State.RUNNING, Trigger.SUCCEED): State.SUCCEEDED,
    (State.PAUSING, Trigger.FROZEN): State.PAUSED,
    (State.PAUSING, Trigger.RESUME): State.PAUSING,
    (State.PAUSED, Trigger.ASK): State.REVIEW,
    (State.PAUSED, Trigger.RESUME): State.RESUMING,
    (State.REVIEW, Trigger.ASK): State.REVIEW,
    (State.REVIEW, Trigger.RESUME): State.RESUMING,
    (State.REVIEW, Trigger.WITHDRAW): State.PAUSED,
    (State.RESUMING, Trigger.THAWED): State.RUNNING,
    (State.RESUMING, Trigger.PAUSE): State.PAUSING,
    **{(s, Trigger.CANCEL): State.CANCELLED for s in State if s not in FINAL},
    **{(s, Trigger.FAIL): State.FAILED for s in State if s not in FINAL},
}
"""Every legal move; what is absent is refused."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """
    A piece of work, as it stands.

    Attributes:
        step: What it is at, for people.
        progress: 0.0 to 1.0.
        is_resume_wanted: It was allowed to go on before it stood still; it goes on
            the moment it does.
    """

    task_id: str
    name: str
    state: State = State.RUNNING
    step: str = ""
    progress: float = 0.0
    is_resume_wanted: bool = False

    @property
    def is_final(self) -> bool:
        """Whether it is over."""
        return self.state in FINAL


def advance(task: Task, trigger: Trigger) -> Task:
    """
    Move *task* on.

    Raises:
        DeniedError: ``conflict`` if that is no legal move from where it is.
    """
    state = TRANSITIONS.get((task.state, trigger))
    if state is None:
        text = f"The task is {task.state}; it cannot {trigger} now."
        raise DeniedError("conflict", text)
    wanted = task.state is State.PAUSING and (
        trigger is Trigger.RESUME or task.is_resume_wanted
    )
    if wanted and state is State.PAUSED:
        state = State.RESUMING
    still_wanted = wanted and state is State.PAUSING
    return msgspec.structs.replace(task, state=state, is_resume_wanted=still_wanted)
