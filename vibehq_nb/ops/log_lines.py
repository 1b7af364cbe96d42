"""
What one line of a log says: when, how severe, and which text.

Pure. Knows plain text with the usual timestamps and level words, logfmt, syslog with
and without priority, klog, access logs, JSON lines with names or pino numbers, and the
wrappers of Docker (``json-file``) and Kubernetes (CRI). A time without a zone is in
the zone of the host, a date without a year is the latest one that is not in the future.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

import msgspec

ERROR_NUMBER = 17
"""OpenTelemetry severity numbers from this one on are errors."""
MAX_LINE = 16_384
"""Characters of a line that are looked at."""

_HEAD = 160
_LEVELS = {
    **dict.fromkeys(("trace", "finest", "finer", "verbose", "silly"), 1),
    **dict.fromkeys(("debug", "fine", "config"), 5),
    **dict.fromkeys(("info", "information", "informational", "log", "statement"), 9),
    **dict.fromkeys(("notice",), 10),
    **dict.fromkeys(("warning", "warn"), 13),
    **dict.fromkeys(("error", "err", "severe"), 17),
    **dict.fromkeys(("critical", "crit", "fault"), 18),
    **dict.fromkeys(("alert",), 19),
    **dict.fromkeys(("emergency", "emerg", "panic", "fatal"), 21),
}
_SYSLOG = (21, 19, 18, 17, 13, 10, 9, 5)
_LETTERS = {"I": 9, "W": 13, "E": 17, "F": 21}

_WORDS = "emerg(?:ency)?|alert|panic|fatal|crit(?:ical)?|err(?:or)?|warn(?:ing)?|notice"
_LEVEL = re.compile(
    r"\b(?:level|lvl|severity|levelname)[=:] ?[\"']?([A-Za-z]+)"
    r"|\b(EMERG|EMERGENCY|ALERT|PANIC|FATAL|CRITICAL|CRIT|SEVERE|ERROR|ERR|WARNING|WARN"
    r"|NOTICE|INFO|LOG|DEBUG|TRACE|FINE|VERBOSE)\b"
    rf"|\[(?:\w+:)?((?i:{_WORDS}|info|debug|trace))\]"
    rf"|(?:^|[\]:|>] ?)((?i:{_WORDS}|info|debug))(?:\[[^\]]*\])?: "
)
_PRIORITY = re.compile(r"<(\d{1,3})>")
_KLOG = re.compile(r"([IWEF])(\d\d)(\d\d) (\d\d):(\d\d):(\d\d)")
_ACCESS = re.compile(r'HTTP/\d(?:\.\d)?" ([1-5])\d\d\b')
_CRI = re.compile(r"(\S{20,40}) (?:stdout|stderr) [FP] ")

_MONTH_NAMES = "JanFebMarAprMayJunJulAugSepOctNovDec"
_MONTHS = {_MONTH_NAMES[i : i + 3]: i // 3 + 1 for i in range(0, 36, 3)}
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?P<year>\d{4})[-/](?P<month>\d\d)[-/](?P<day>\d\d)[T ]"
        + _CLOCK
        + r"(?:[.,]\d{1,9})?(?: ?(?P<zone>Z|UTC|[+-]\d\d:?\d\d)\b)?",
        r"^(?:<\d{1,3}>)?(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2}) " + _CLOCK,
        r"(?P<day>\d\d)/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4}):"
        + _CLOCK
        + r" (?P<zone>[+-]\d{4})",
        r"(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2}) "
        + _CLOCK
        + r"(?:\.\d{1,9})? (?P<year>\d{4})",
        r"(?P<day>\d\d)-(?P<month>[A-Z][a-z]{2})-(?P<year>\d{4}) " + _CLOCK,
        r"^[IWEF](?P<month>\d\d)(?P<day>\d\d) " + _CLOCK,
    )
)
_TIMES = tuple(
    (pattern, tuple(name for name in pattern.groupindex if name != "second"))
    for pattern in _PATTERNS
)
"""Each with the groups that make up the minute."""
_MAX_MINUTES = 4096
_TIME_KEYS = ("time", "timestamp", "@timestamp", "ts", "@t", "asctime", "datetime")
_LEVEL_KEYS = ("level", "severity", "levelname", "lvl", "log.level", "@l", "loglevel")
_TEXT_KEYS = ("msg", "message", "@m", "event")
_STACK_KEYS = (
    *("stack", "stack_trace", "stackTrace", "exc_info", "traceback", "error.stack"),
    *("exception", "error.stack_trace"),
)


class Line(NamedTuple):
    """One line, as far as it could be read."""

    text: str
    """Without the wrapper of a container's log."""
    seconds: int | None = None
    """Unix time; None where the line carries none."""
    number: int | None = None
    """OpenTelemetry severity number; None where the line carries no level."""
    stack: str = ""
    """A stack trace that a JSON field carries."""


@dataclass(frozen=True, slots=True)
class LineDecoder:
    """Decodes the lines of one log."""

    zone: tzinfo
    """Of times that name none."""
    latest: datetime
    """Nothing in the log is more than a day later."""
    minutes: dict[object, int | None] = field(default_factory=dict, compare=False)
    """Those computed already."""

    def decode(self, raw: bytes) -> Line:
        """Return what *raw* says; never fails."""
        text = raw[:MAX_LINE].decode("utf-8", "replace").rstrip("\r\n")
        if text.startswith("{"):
            fields = _fields(text)
            if fields is not None:
                return self._json(text, fields)
        wrapped = _CRI.match(text)
        if wrapped:
            inner = self.decode(text[wrapped.end() :].encode())
            return inner._replace(seconds=self._seconds(wrapped[1]))
        return Line(text, self._seconds(text), level_of_text(text))

    def _json(self, text: str, fields: Mapping[str, Any]) -> Line:
        seconds = self._time_field(_first(fields, _TIME_KEYS))
        if isinstance(fields.get("log"), str) and "stream" in fields:
            inner = self.decode(fields["log"].encode())
            return inner._replace(seconds=seconds)
        level = _first(fields, _LEVEL_KEYS)
        nested = fields.get("log")
        if level is None and isinstance(nested, dict):
            level = nested.get("level")
        message = _first(fields, _TEXT_KEYS)
        return Line(
            message if isinstance(message, str) else text,
            seconds,
            _level_field(level),
            _stack_field(fields),
        )

    def _time_field(self, value: object) -> int | None:
        if isinstance(value, str):
            return self._seconds(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        for unit, least in ((1e9, 1e17), (1e6, 1e14), (1e3, 1e11), (1.0, 1e8)):
            if least <= value < 1e20:
                return int(value / unit)
        return None

    def _seconds(self, text: str) -> int | None:
        for pattern, names in _TIMES:
            match = pattern.search(text, 0, 100)
            if match:
                # Neighbours share their minute: only the first of them is computed.
                key = (names, match.group(*names))
                if key not in self.minutes:
                    if len(self.minutes) >= _MAX_MINUTES:
                        self.minutes.clear()
                    self.minutes[key] = self._minute(match.groupdict())
                minute = self.minutes[key]
                return None if minute is None else minute + int(match["second"])
        return None

    def _minute(self, parts: Mapping[str, str | None]) -> int | None:
        """Return the Unix time at which the minute begins, None if there is no such."""
        month, year = parts["month"] or "", parts.get("year")
        number = _MONTHS.get(month) or (int(month) if month.isdigit() else 0)
        this_year = self.latest.year
        years = (int(year),) if year else (this_year + 1, this_year, this_year - 1)
        for candidate in years:
            try:
                moment = datetime(
                    candidate,
                    number,
                    int(parts["day"] or 0),
                    int(parts["hour"] or 0),
                    int(parts["minute"] or 0),
                    tzinfo=_zone(parts.get("zone"), self.zone),
                )
                if year or moment <= self.latest + timedelta(days=1):
                    return int(moment.timestamp())
            except (ValueError, OverflowError):
                continue
        return None


def _zone(name: str | None, default: tzinfo) -> tzinfo:
    if not name:
        return default
    if name in {"Z", "UTC"}:
        return UTC
    parsed = datetime.strptime(name.replace(":", ""), "%z").tzinfo
    return parsed or default


def level_of_text(text: str) -> int | None:
    """Return the severity number that a line of plain text names, or None."""
    match = _LEVEL.search(text, 0, _HEAD)
    if match:
        word = next(group for group in match.groups() if group)
        return _LEVELS.get(word.lower())
    if text.startswith("<") and (priority := _PRIORITY.match(text)):
        return _SYSLOG[int(priority[1]) & 7]
    if klog := _KLOG.match(text):
        return _LETTERS[klog[1]]
    if '" ' in text and (access := _ACCESS.search(text)):
        return ERROR_NUMBER if access[1] == "5" else 9
    return None


def _level_field(value: object) -> int | None:
    if isinstance(value, str) and not value.isdigit():
        return _LEVELS.get(value.lower())
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    number = int(value)
    if number <= 7:
        return _SYSLOG[number] if number >= 0 else None
    # pino and bunyan: 10 trace, 20 debug, 30 info, 40 warn, 50 error, 60 fatal.
    return min(21, max(1, 4 * (number // 10) - 3))


def _stack_field(fields: Mapping[str, Any]) -> str:
    for holder in (fields, *(fields.get(key) for key in ("err", "error", "exception"))):
        if isinstance(holder, dict):
            found = _first(holder, _STACK_KEYS)
            if isinstance(found, str) and "\n" in found:
                return found
    return ""


def _first(fields: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((fields[key] for key in keys if fields.get(key) is not None), None)


def _fields(text: str) -> dict[str, Any] | None:
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None
