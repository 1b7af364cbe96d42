"""A piece of work with gates in it, as a notebook uses it."""

import html
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from vibehq_nb.client import display, loop
from vibehq_nb.client.decisions import AsyncTask, Decision, Kind, Request, Risk
from vibehq_nb.client.errors import DecisionError


class Task:
    """
    A piece of work: ``with hq.task("rotate certs") as task: …``.

    Attributes:
        name: What people see.
        key: Its id on the server.
    """

    def __init__(self, task: AsyncTask, base: str = "") -> None:
        """Wrap a task; see :meth:`vibehq_nb.HQ.task`."""
        self.name, self.key = task.name, task.key
        self._task = task
        self._base = base

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """End; a request that still waits was withdrawn by its own call."""

    def __repr__(self) -> str:
        """Return the same text at every run."""
        return f"<task {self.name!r}>"

    def confirm(
        self,
        question: str,
        action: dict[str, Any],
        *,
        reason: str = "",
        risk: Risk = "medium",
        expires: float | timedelta | datetime = 3600.0,
    ) -> Decision:
        """
        Ask before doing something; you may answer yourself.

        Guards against mistakes and is recorded as a confirmation. Blocks until
        somebody answers; the button works meanwhile. Interrupting withdraws it.

        Args:
            question: One sentence.
            action: What exactly would be done; the answer is bound to it.
            reason: Why.
            risk: ``low``, ``medium``, ``high`` or ``critical``.
            expires: Seconds, a timedelta or a time; then the answer is no.

        Raises:
            UsageError: If *risk* or *expires* is none of these.
            RejectedError: If somebody says no.
            ExpiredError: If nobody answers in time.
            WithdrawnError: If it is cancelled meanwhile.
        """
        return self._gate(
            "confirm", question, action, reason=reason, risk=risk, expires=expires
        )

    def review(
        self,
        question: str,
        action: dict[str, Any],
        policy: dict[str, Any] | None = None,
        *,
        reason: str = "",
        risk: Risk = "medium",
        expires: float | timedelta | datetime = 3600.0,
    ) -> Decision:
        """
        Ask somebody else before doing something; see :meth:`confirm`.

        Args:
            question: One sentence.
            action: What exactly would be done; the approval is bound to it.
            policy: Who may answer and how many must: ``{"quorum": 2}``.
            reason: Why.
            risk: ``low``, ``medium``, ``high`` or ``critical``.
            expires: Seconds, a timedelta or a time; then the answer is no.

        Raises:
            ApiError: If nobody else can approve on this server.
        """
        return self._gate(
            "review",
            question,
            action,
            policy=policy,
            reason=reason,
            risk=risk,
            expires=expires,
        )

    def _gate(
        self, kind: Kind, question: str, action: dict[str, Any], **options: Any
    ) -> Decision:
        request = loop.run(self._task.ask(kind, question, action, **options))
        try:
            show_request(request, self._base)
            decision = loop.run(request.settled())
        except DecisionError as error:
            show_decision(error.decision)
            raise
        except BaseException:
            loop.run(request.cancel())
            raise
        show_decision(decision)
        return decision


def show_request(request: Request, base: str) -> None:
    """Display the request with its button; outside of a notebook, say where it is."""
    if display.in_notebook():
        display.show(_view(request, base))
        return
    sys.stderr.write(f"{waiting_text(request, datetime.now(UTC))}\n")
    sys.stderr.flush()


def waiting_text(request: Request, now: datetime) -> str:
    """Return the line that tells a script's user what it waits for, and until when."""
    here = now.astimezone()
    until = request.expires_at.astimezone(here.tzinfo)
    shape = "%H:%M" if until.date() == here.date() else "%Y-%m-%d %H:%M"
    question = "".join(c if c.isprintable() else " " for c in request.question)
    return (
        f'Waiting for a decision on "{question}" until {until:{shape}}: {request.url}'
    )


def show_decision(decision: Decision) -> None:
    """Display who decided what: a saved notebook keeps it, where no button works."""
    by = f" by {decision.decided_by}" if decision.decided_by else ""
    text = f"{decision.status}{by}"
    display.show(_Still(f"<p>{html.escape(text)}</p>", text))


def _view(request: Request, base: str) -> Any:
    still = request_html(request)
    name = f'<approval "{request.question}">'
    views = display.views()
    if views is None:
        return _Still(still, name)
    return views.ApprovalView(
        approval_id=request.approval_id, title=name, base=base, snapshot=still
    )


class _Still:
    """HTML and text without anything live."""

    def __init__(self, markup: str, name: str) -> None:
        self._markup, self._name = markup, name

    def __repr__(self) -> str:
        return self._name

    def _repr_html_(self) -> str:
        return self._markup


def request_html(request: Request) -> str:
    """Return the question and the exact action as HTML."""
    action = json.dumps(request.action, ensure_ascii=False, sort_keys=True)
    return (
        f'<div class="vhq-request"><strong>{html.escape(request.question)}</strong>'
        f"<pre>{html.escape(action)}</pre></div>"
    )
