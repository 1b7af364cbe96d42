"""
Whose screen decides a terminal's size.

Only operators who can see the terminal count: viewers' reports never come here, and a
hidden tab takes its report back.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

PolicyKind = Literal["writer", "fixed", "smallest"]

COALESCE_SECONDS = 0.1
"""Sizes are passed on at most this often; the last of a burst always is."""


class SizePolicy(NamedTuple):
    """
    Who decides: whoever holds the input lease, a fixed size, or the smallest screen.

    ``cols`` and ``rows`` are those of ``fixed``.
    """

    kind: PolicyKind = "writer"
    cols: int = 80
    rows: int = 24


class Report(NamedTuple):
    """What would fit one screen of *user*."""

    user: str
    cols: int
    rows: int


@dataclass
class Sizing:
    """The policy of one terminal and the reports it judges, the newest last."""

    policy: SizePolicy = field(default_factory=SizePolicy)
    _reports: dict[Hashable, Report] = field(default_factory=dict)

    def report(self, screen: Hashable, report: Report) -> None:
        """Note what fits *screen*."""
        self._reports.pop(screen, None)
        self._reports[screen] = report

    def withdraw(self, screen: Hashable) -> None:
        """Note that *screen* is hidden or gone."""
        self._reports.pop(screen, None)

    def wanted(self, writer: str | None) -> tuple[int, int] | None:
        """
        Return columns and rows to set, or None to leave them as they are.

        Args:
            writer: Who holds the input lease; while it is free, the newest report
                counts.
        """
        if self.policy.kind == "fixed":
            return self.policy.cols, self.policy.rows
        reports = list(self._reports.values())
        if self.policy.kind == "smallest":
            if not reports:
                return None
            return min(r.cols for r in reports), min(r.rows for r in reports)
        own = [r for r in reports if writer in (None, r.user)]
        return (own[-1].cols, own[-1].rows) if own else None
