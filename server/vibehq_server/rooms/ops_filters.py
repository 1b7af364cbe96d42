"""What a subscriber wants to be sent, and what a scan is asked to tell."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from vibehq_nb.core.errors import DecodeError
from vibehq_nb.core.messages import DOWNSTREAM, Message, type_of
from vibehq_nb.core.severity import Severity

Names = Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=64)]

ALWAYS = frozenset({"connected", "gap", "snapshot", "tick", "accepted", "error"})
"""What no filter keeps back: without it a replica cannot be right."""

TYPES = frozenset(str(kind.__struct_config__.tag) for kind in DOWNSTREAM["ops"])


class Filters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What a subscriber wants; what is not given is not filtered by.

    Attributes:
        severity: Findings of this severity and worse.
        kinds: Findings of these kinds of resources or rules (``disk``, ``LOG``).
        types: Messages of these types.
    """

    severity: Severity | None = None
    kinds: Names | None = None
    types: Names | None = None

    def passes(self, message: Message) -> bool:
        """Tell whether *message* is sent."""
        kind = type_of(message)
        if kind in ALWAYS:
            return True
        if self.types is not None and kind not in self.types:
            return False
        finding = getattr(message, "finding", None)
        return finding is None or self.passes_finding(finding)

    def passes_finding(self, finding: Mapping[str, Any]) -> bool:
        """Tell whether a finding, as the wire has it, is told."""
        if self.severity is not None and finding["severity"] < self.severity:
            return False
        return self.kinds is None or is_kind(finding, self.kinds)


class ScanFilters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Which findings a scan's result lists; what is known is not touched by it.

    Attributes:
        severity: One: this and worse. Several: exactly these.
        kinds: Of these kinds of resources or rules.
        type: The older name of ``kinds``.
        time_range: ``start`` and ``end``: which log lines count; for the worker.
    """

    severity: Severity | tuple[Severity, ...] | None = None
    kinds: Names | None = None
    type: str | Names | None = None
    time_range: dict[str, Any] | None = None

    def passes(self, finding: Mapping[str, Any]) -> bool:
        """Tell whether the result lists *finding*, as the wire has it."""
        found = Severity(finding["severity"])
        if isinstance(self.severity, tuple) and found not in self.severity:
            return False
        if isinstance(self.severity, Severity) and found < self.severity:
            return False
        kinds = (self.type,) if isinstance(self.type, str) else self.type
        return all(
            names is None or is_kind(finding, names) for names in (self.kinds, kinds)
        )

    def for_worker(self) -> dict[str, Any]:
        """Return what the worker has to know: it reports all it finds."""
        return {} if self.time_range is None else {"time_range": self.time_range}


def is_kind(finding: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    """Tell whether a finding's row is of one of these kinds, by any of its names."""
    rule, kind = str(finding["rule"]), str(finding["kind"])
    # A detector's kind is the plural of what it looks at: processes, logs.
    known = {rule, rule.partition("-")[0], kind, f"{kind}s", f"{kind}es"}
    return not known.isdisjoint(names)


def decode_filters(plain: Mapping[str, Any]) -> Filters:
    """
    Return a subscriber's filters.

    Raises:
        DecodeError: On an unknown filter or value.
    """
    filters = _decode(plain, Filters, "severity, kinds and types")
    if filters.types is not None and not TYPES.issuperset(filters.types):
        raise DecodeError("types names a message this room does not send")
    return filters


def decode_scan_filters(plain: Mapping[str, Any]) -> ScanFilters:
    """
    Return a scan's filters; ``timeRange`` is the older name of ``time_range``.

    Raises:
        DecodeError: On an unknown filter or value.
    """
    plain = dict(plain)
    if "timeRange" in plain:
        plain.setdefault("time_range", plain.pop("timeRange"))
    return _decode(plain, ScanFilters, "severity, kinds and time_range")


T = TypeVar("T", Filters, ScanFilters)


def _decode(plain: Mapping[str, Any], kind: type[T], names: str) -> T:
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        if "unknown field" in str(error):  # its name is input, and is not echoed
            raise DecodeError(f"there is an unknown filter; known: {names}") from None
        raise DecodeError(f"a filter is wrong: {error}") from None
