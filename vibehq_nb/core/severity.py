"""
The five severities and what each is called elsewhere.

Pure data. The pairing of OCSF and OpenTelemetry numbers is our choice: neither
standard maps to the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Severity(StrEnum):
    """How bad a finding is, ordered: info < low < medium < high < critical."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Place in the order: 0 for info to 4 for critical."""
        return _RANKS[self.value]

    # A StrEnum compares as text, where "high" < "low": the order is replaced whole.
    def __lt__(self, other: str) -> bool:
        """Tell whether this is less severe than *other*."""
        return self.rank < Severity(other).rank

    def __le__(self, other: str) -> bool:
        """Tell whether this is at most as severe as *other*."""
        return self.rank <= Severity(other).rank

    def __gt__(self, other: str) -> bool:
        """Tell whether this is more severe than *other*."""
        return self.rank > Severity(other).rank

    def __ge__(self, other: str) -> bool:
        """Tell whether this is at least as severe as *other*."""
        return self.rank >= Severity(other).rank


_RANKS = {severity.value: rank for rank, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Standards:
    """One severity in the words of OCSF, OpenTelemetry and SARIF."""

    ocsf_severity_id: int
    otel_severity_number: int
    sarif_level: str


STANDARDS: Mapping[Severity, Standards] = MappingProxyType(
    {
        Severity.INFO: Standards(1, 9, "note"),
        Severity.LOW: Standards(2, 11, "note"),
        Severity.MEDIUM: Standards(3, 13, "warning"),
        Severity.HIGH: Standards(4, 17, "error"),
        Severity.CRITICAL: Standards(5, 18, "error"),
    }
)
