"""Asking people: a request, the wait for its end, and what came of it."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from vibehq_nb.client.errors import (
    ApiError,
    DecisionError,
    ExpiredError,
    RejectedError,
    WithdrawnError,
)
from vibehq_nb.client.event_room import EventRoom
from vibehq_nb.client.http import HttpApi
from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.messages import HilDecision, HilRequest, Message, StateSnapshot

AGAIN_SECONDS = 30.0
"""How often a quiet wait asks the server, in case a message never came."""

Kind = Literal["confirm", "review"]
Risk = Literal["low", "medium", "high", "critical"]

RISKS: tuple[str, ...] = get_args(Risk)
LEAST_SECONDS, MOST_SECONDS = 1.0, 7 * 86400.0
"""Between which a request can expire."""


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What became of a request.

    Attributes:
        approval_id: The request.
        status: ``approved``, ``rejected``, ``expired``, ``cancelled`` …
        decided_by: Who gave the last verdict; empty when nobody did.
        reason: What that one said.
        at: When, as ISO text; empty when nobody did.
        question: What was asked.
        action_digest: SHA-256 of the exact action this is about.
    """

    approval_id: str
    status: str
    decided_by: str
    reason: str
    at: str
    question: str
    action_digest: str

    @property
    def is_approved(self) -> bool:
        """Whether the action may be carried out."""
        return self.status == "approved"

    def __repr__(self) -> str:
        """Return the same text at every run: no id, no time."""
        by = f" by {self.decided_by}" if self.decided_by else ""
        return f"<decision: {self.status}{by}>"


class Request:
    """
    One request for a decision, from its creation to its end.

    Attributes:
        approval_id: Its id.
        question: What is asked.
        action: What exactly would be done.
        kind: ``confirm`` or ``review``.
        expires_at: When the answer becomes no.
        url: The page where people decide it.
    """

    def __init__(self, api: HttpApi, created: dict[str, Any]) -> None:
        """Refer to the request as the server created it."""
        self._api = api
        self.approval_id: str = created["approval_id"]
        self.question: str = created["question"]
        self.action: dict[str, Any] = created["action"]
        self.kind: str = created["kind"]
        self.expires_at = datetime.fromisoformat(created["expires_at"])
        self.url = f"{api.server.url}/r/{self.approval_id}"

    async def settled(self) -> Decision:
        """
        Wait for the end and return the approval.

        Cancelling this wait withdraws the request.

        Raises:
            RejectedError: If somebody said no.
            ExpiredError: If nobody answered in time.
            WithdrawnError: If it was cancelled or superseded.
        """
        try:
            found = await self._wait()
        except asyncio.CancelledError:
            await self.cancel()
            raise
        return _judge(decision_of(found))

    async def _wait(self) -> dict[str, Any]:
        async with EventRoom(self._api.server, "hil") as room:
            messages = aiter(room)
            while True:
                try:
                    async with asyncio.timeout(AGAIN_SECONDS):
                        while not self._concerns(await anext(messages)):
                            continue
                except TimeoutError:
                    messages = aiter(room)
                found = await self.read()
                if found["status"] != "pending":
                    return found

    def _concerns(self, message: Message) -> bool:
        match message:
            case StateSnapshot():
                return True
            case HilRequest(approval_id=about) | HilDecision(approval_id=about):
                return about == self.approval_id
        return False

    async def read(self) -> dict[str, Any]:
        """Return the request as it stands."""
        path = f"/api/hil/requests/{self.approval_id}"
        found: dict[str, Any] = await asyncio.to_thread(self._api.request, "GET", path)
        return found

    async def cancel(self) -> None:
        """Withdraw the request; nothing happens if it has ended."""
        path = f"/api/hil/requests/{self.approval_id}/status"
        try:
            await asyncio.to_thread(
                self._api.request, "PATCH", path, {"status": "cancelled"}
            )
        except ApiError as error:
            if error.status not in (0, 409, 410):
                raise


def decision_of(found: dict[str, Any]) -> Decision:
    """Return what became of the request *found* from the server."""
    votes = found.get("decisions") or []
    last = votes[-1] if votes else {}
    return Decision(
        approval_id=found["approval_id"],
        status=found["status"],
        decided_by=str(last.get("decided_by") or ""),
        reason=str(last.get("reason") or ""),
        at=str(last.get("at") or ""),
        question=found["question"],
        action_digest=found["action_digest"],
    )


def _judge(decision: Decision) -> Decision:
    what = f'"{decision.question}"'
    failure: DecisionError | None = None
    match decision.status:
        case "approved" | "consumed":
            pass
        case "rejected":
            who = decision.decided_by or "Somebody"
            why = f": {decision.reason}" if decision.reason else " without a reason."
            failure = RejectedError(f"{who} rejected {what}{why}", decision)
        case "expired" | "lapsed":
            failure = ExpiredError(
                f"Nobody answered {what} in time, so the answer is no. Ask again, "
                "with a later expires=.",
                decision,
            )
        case status:
            failure = WithdrawnError(f"{what} was {status}.", decision)
    if failure is not None:
        raise failure
    return decision


def seconds_of(expires: float | timedelta | datetime) -> float:
    """
    Return how many seconds from now *expires* is.

    Raises:
        UsageError: If that is less than a second or more than a week.
    """
    try:
        if isinstance(expires, timedelta):
            seconds = expires.total_seconds()
        elif isinstance(expires, datetime):
            seconds = (expires.astimezone(UTC) - datetime.now(UTC)).total_seconds()
        else:
            seconds = float(expires)
    except (TypeError, ValueError):
        raise UsageError(
            f"expires={expires!r} is no time: give seconds, a timedelta or a datetime."
        ) from None
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise UsageError(
            f"expires={expires!r} does not work: it lies between 1 second and 7 days "
            "from now."
        )
    return seconds


def check_risk(risk: str) -> None:
    """
    Refuse what is no risk.

    Raises:
        UsageError: It names those there are.
    """
    if risk not in RISKS:
        known = ", ".join(repr(name) for name in RISKS)
        raise UsageError(f"risk={risk!r} is not known: it is one of {known}.")


class AsyncTask:
    """
    A piece of work with gates in it.

    Attributes:
        name: What people see.
        key: Its id on the server: the same key is the same task.
    """

    def __init__(self, api: HttpApi, name: str, key: str, terminals: list[str]) -> None:
        """Refer to the task; the server hears of it at its first gate."""
        self.name, self.key, self.terminals = name, key, terminals
        self._api = api

    async def ask(
        self,
        kind: Kind,
        question: str,
        action: dict[str, Any],
        *,
        reason: str = "",
        risk: Risk = "medium",
        expires: float | timedelta | datetime = 3600.0,
        policy: dict[str, Any] | None = None,
    ) -> Request:
        """
        Create a request and return it; it waits for people from now on.

        Raises:
            UsageError: If *risk* or *expires* is out of range.
            ApiError: If the server refuses it; its sentence says what to do.
        """
        check_risk(risk)
        body = {
            "kind": kind,
            "question": question,
            "action": action,
            "reason": reason,
            "risk": risk,
            "task_id": self.key,
            "policy": policy or {},
            "expires_in": seconds_of(expires),
            "terminals": self.terminals,
        }
        call = asyncio.to_thread(self._api.request, "POST", "/api/hil/requests", body)
        creating = asyncio.ensure_future(call)
        try:
            return Request(self._api, await asyncio.shield(creating))
        except asyncio.CancelledError:
            # Nobody would wait for its answer any more.
            await Request(self._api, await creating).cancel()
            raise
