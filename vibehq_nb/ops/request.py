"""What a scan may be asked for; anything else is refused with one clear sentence."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

import msgspec

from vibehq_nb.core.severity import Severity
from vibehq_nb.ops.rule import Kind, Rule, Scope, TimeRange

KINDS: tuple[Kind, ...] = get_args(Kind)
SCOPES: tuple[Scope, ...] = get_args(Scope)
TYPES = ("performance", "stability")
_KEYS = {
    "severity": "severity",
    "kinds": "kinds",
    "types": "types",
    "type": "types",
    "time_range": "time_range",
    "timeRange": "time_range",
}


class ScanRequestError(ValueError):
    """The scan cannot be run as asked; the message says what to ask instead."""


@dataclass(frozen=True, slots=True)
class Filters:
    """
    What of a scan is wanted. Whatever is left out is said in the coverage.

    ``severity`` is the least one. A time range is judged for logs only: disks and
    processes are seen as they are now, so they are skipped if now is outside.
    """

    severity: Severity | None = None
    kinds: tuple[Kind, ...] = KINDS
    types: tuple[str, ...] = TYPES
    time_range: TimeRange | None = None

    def wants(self, rule: Rule) -> bool:
        """Tell whether the rule's findings are asked for."""
        return rule.kind in self.kinds and rule.type in self.types


def decode_scope(scope: str) -> Scope:
    """
    Return *scope*.

    Raises:
        ScanRequestError: If there is no such scope.
    """
    return SCOPES[SCOPES.index(_known("scope", scope, SCOPES))]


def decode_kinds(kinds: Iterable[str] | None) -> tuple[Kind, ...]:
    """
    Return *kinds* in the order of the table, all if None.

    Raises:
        ScanRequestError: If there is no such kind, or none at all.
    """
    if kinds is None:
        return KINDS
    asked = {_known("kind", kind, KINDS) for kind in kinds}
    if not asked:
        raise ScanRequestError(f"Name at least one kind: {', '.join(KINDS)}.")
    return tuple(kind for kind in KINDS if kind in asked)


def decode_filters(filters: Mapping[str, Any] | None) -> Filters:
    """
    Return the filters that JSON names: severity, kinds, types, time_range.

    Raises:
        ScanRequestError: If one is unknown or has a value of another form.
    """
    known: dict[str, Any] = {}
    for key, value in (filters or {}).items():
        if value is not None:
            known[_KEYS[_known("filter", key, tuple(_KEYS))]] = value
    severity = known.get("severity")
    return Filters(
        severity=Severity(_known("severity", severity, tuple(Severity)))
        if severity is not None
        else None,
        kinds=decode_kinds(
            _words("kinds", known["kinds"]) if "kinds" in known else None
        ),
        types=tuple(
            _known("type", word, TYPES)
            for word in _words("types", known.get("types", TYPES))
        ),
        time_range=_time_range(known["time_range"]) if "time_range" in known else None,
    )


def _time_range(value: object) -> TimeRange:
    if not isinstance(value, dict) or not set(value) <= {"start", "end"}:
        raise ScanRequestError("A time range has a start, an end, or both.")
    start, end = _moment(value.get("start")), _moment(value.get("end"))
    if start and end and start >= end:
        raise ScanRequestError("A time range ends after its start.")
    return TimeRange(start, end)


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        moment = msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ScanRequestError("A time is RFC 3339 with a zone: 2026-11-22T10:00:00Z.")
    return moment


def _words(name: str, value: object) -> list[str]:
    words = [value] if isinstance(value, str) else value
    if isinstance(words, list | tuple) and all(isinstance(word, str) for word in words):
        return list(words)
    raise ScanRequestError(f"The filter {name} is a list of words.")


def _known(what: str, word: object, known: tuple[str, ...]) -> str:
    """Return *word* if it is *known*; else refuse without repeating it."""
    if isinstance(word, str) and word in known:
        return word
    nearest = difflib.get_close_matches(str(word).lower(), known, n=1, cutoff=0.0)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    raise ScanRequestError(f"Unknown {what}: {hint}Known: {', '.join(known)}.")
