"""
Fold the lines of a log into facts, whatever the pieces they arrive in.

Pure. A record is one event: a line and what continues it, such as a stack trace. Facts
are small, bounded and can be merged, so the facts of two pieces of a log, read one
after the other, equal those of the whole: that is what makes an incremental scan right.
"""

import re
from collections import deque

import msgspec

from vibehq_nb.core.findings import MAX_SAMPLE
from vibehq_nb.ops.log_lines import ERROR_NUMBER, Line, LineDecoder
from vibehq_nb.ops.log_traces import trace_of
from vibehq_nb.ops.redact import redact, sample
from vibehq_nb.ops.rule import TimeRange

MAX_GROUPS = 100
"""Kinds of stack traces kept for one file; what comes later is only counted."""
MAX_RECORD_LINES = 300
MAX_RECORD_CHARS = 32_768
MAX_TAIL_LINES = 40
MAX_TAIL_CHARS = 500
KEEP_MINUTES = 2 * 24 * 60
UNDATED_TAIL = 1000
"""Records without a time: only the latest are judged."""

_CHAIN = (
    "During handling of the above exception",
    "The above exception was the direct cause",
)
_MORE = ("Caused by:", "Suppressed:", "... ")
_EXCEPTION = re.compile(
    r"(?:Exception in thread |Uncaught )?(?:[\w$]+\.)*[A-Z][\w$]*(?:Error|Exception)\b"
)
_PYTHON_END = re.compile(r"[A-Za-z_][\w.]*(?::|$)")


class TraceGroup(msgspec.Struct):
    """Occurrences of one failure, by the hour."""

    exception: str
    frame: str
    hours: dict[int, int] = {}
    undated: int = 0
    sample: str = ""
    """Of the latest occurrence, redacted."""
    path: str = ""
    line: int | None = None


class LogFacts(msgspec.Struct):
    """What is known of one log; see ``merge``."""

    minutes: dict[int, tuple[int, int]] = {}
    """Unix minute -> records, errors."""
    undated: str = ""
    """The latest records without a time, oldest first: ``E`` error, ``.`` other."""
    groups: dict[str, TraceGroup] = {}
    ungrouped: int = 0
    """Stack traces of further kinds."""
    last_seconds: int | None = None
    """The time of the latest dated record; those without one inherit it."""
    skipped_bytes: int = 0
    """Of a file over its cap: what was not read."""

    def add_record(self, seconds: int | None, is_error: bool) -> None:
        """Count one record."""
        if seconds is None:
            self.undated = (self.undated + ("E" if is_error else "."))[-UNDATED_TAIL:]
            return
        records, errors = self.minutes.get(seconds // 60, (0, 0))
        self.minutes[seconds // 60] = records + 1, errors + is_error
        if len(self.minutes) > 2 * KEEP_MINUTES:
            self._trim()

    def _trim(self) -> None:
        for minute in sorted(self.minutes)[:-KEEP_MINUTES]:
            del self.minutes[minute]

    def merge(self, later: "LogFacts") -> None:
        """Add the facts of a piece that was written after this one."""
        for minute, (records, errors) in later.minutes.items():
            mine = self.minutes.get(minute, (0, 0))
            self.minutes[minute] = mine[0] + records, mine[1] + errors
        self.undated = (self.undated + later.undated)[-UNDATED_TAIL:]
        for key, group in later.groups.items():
            self._merge_group(key, group)
        self.ungrouped += later.ungrouped
        self.skipped_bytes += later.skipped_bytes
        if later.last_seconds is not None:
            self.last_seconds = later.last_seconds

    def _merge_group(self, key: str, later: TraceGroup) -> None:
        mine = self.groups.setdefault(key, TraceGroup(later.exception, later.frame))
        for hour, count in later.hours.items():
            mine.hours[hour] = mine.hours.get(hour, 0) + count
        mine.undated += later.undated
        mine.sample, mine.path, mine.line = later.sample, later.path, later.line

    def copy(self) -> "LogFacts":
        """Return facts that change apart from these."""
        return msgspec.json.decode(msgspec.json.encode(self), type=LogFacts)

    def of_file(self, path: str) -> "LogFacts":
        """Return a copy for the file whose name is *path* by now: logs are rotated."""
        facts = self.copy()
        for group in facts.groups.values():
            group.path = path
        return facts


class _Record:
    """The record that is being read; more lines may belong to it."""

    __slots__ = (
        *("chars", "has_frames", "is_chained", "is_python_open", "level"),
        *("line_number", "lines", "offset", "seconds", "stack", "tail"),
    )

    def __init__(self, line: Line, offset: int, number: int) -> None:
        self.seconds = line.seconds
        self.level = line.number
        self.offset = offset
        self.line_number = number
        self.lines = [line.text]
        self.tail: deque[str] | None = None
        self.chars = len(line.text)
        self.stack = line.stack
        self.has_frames = False
        self.is_python_open = False
        self.is_chained = False
        self._note(line.text)

    def takes(self, line: Line) -> bool:
        """Tell whether *line* continues this record."""
        text = line.text
        if not text or text[0] in " \t" or text.isspace():
            return True
        if self.is_python_open:
            return bool(_PYTHON_END.match(text))
        if text.startswith(_MORE):
            return self.has_frames
        if text.startswith("Traceback (most"):
            return self.is_chained or not self.has_frames
        if text.startswith(_CHAIN):
            return self.has_frames
        if line.seconds is not None or line.number is not None or self.has_frames:
            return False
        return bool(_EXCEPTION.match(text))

    def add(self, text: str) -> None:
        """Take the line; over the bounds only the record's end is kept."""
        if len(self.lines) < MAX_RECORD_LINES and self.chars < MAX_RECORD_CHARS:
            self.lines.append(text)
            self.chars += len(text)
        else:
            if self.tail is None:
                self.tail = deque(maxlen=MAX_TAIL_LINES)
            self.tail.append(text[:MAX_TAIL_CHARS])
        self._note(text)

    @property
    def text(self) -> str:
        """The trace that a field carried, else all lines."""
        return self.stack or "\n".join((*self.lines, *(self.tail or ())))

    def _note(self, text: str) -> None:
        if "Traceback (most recent" in text:
            self.has_frames = self.is_python_open = True
            self.is_chained = False
        elif self.is_python_open and text and text[0] not in " \t":
            self.is_python_open = False  # this was the exception's own line
        elif text.startswith(_CHAIN):
            self.is_chained = True
        elif text.lstrip().startswith("at "):
            self.has_frames = True


class LogFolder:
    """Folds one file's lines into facts; feed lines in order, then ``finish``."""

    def __init__(
        self,
        decoder: LineDecoder,
        facts: LogFacts,
        path: str,
        time_range: TimeRange | None = None,
    ) -> None:
        self.facts = facts
        self._decoder = decoder
        self._path = path
        self._range = time_range
        self._open: _Record | None = None
        self._texts: dict[str, str] = {}

    def feed(self, raw: bytes, offset: int, number: int) -> None:
        """Take the line that begins at byte *offset* and has this *number*."""
        line = self._decoder.decode(raw)
        if self._open is not None and self._open.takes(line):
            self._open.add(line.text)
            return
        self._close()
        self._open = _Record(line, offset, number)

    @property
    def open_at(self) -> tuple[int, int] | None:
        """Offset and line number at which the last, still open record begins."""
        if self._open is None:
            return None
        return self._open.offset, self._open.line_number

    def settled(self) -> LogFacts:
        """Return a copy of the facts without the last record, which may grow."""
        self._take_samples()
        return self.facts.copy()

    def finish(self) -> LogFacts:
        """Close the last record and return all facts."""
        self._close()
        self._take_samples()
        return self.facts

    def _close(self) -> None:
        record, self._open = self._open, None
        if record is None or (record.chars == 0 and not record.stack):
            return
        seconds = self.facts.last_seconds
        if record.seconds is not None:
            seconds = self.facts.last_seconds = record.seconds
        if self._range and (seconds is None or not self._range.holds(seconds)):
            return
        text = record.text if record.stack or record.has_frames else ""
        trace = trace_of(text) if text else None
        is_error = record.level is not None and record.level >= ERROR_NUMBER
        # A trace without a level is a crash; with one, the log knows better.
        is_error = is_error or (trace is not None and record.level is None)
        self.facts.add_record(seconds, is_error)
        if trace is not None:
            group = self._group(trace.key, trace.exception, trace.frame)
            if group is not None:
                self._count(group, record, seconds, text)

    def _group(self, key: str, exception: str, frame: str) -> TraceGroup | None:
        groups = self.facts.groups
        if key not in groups and len(groups) >= MAX_GROUPS:
            self.facts.ungrouped += 1
            return None
        return groups.setdefault(key, TraceGroup(exception, frame))

    def _count(
        self, group: TraceGroup, record: _Record, seconds: int | None, text: str
    ) -> None:
        if seconds is None:
            group.undated += 1
        else:
            hour = seconds // 3600
            group.hours[hour] = group.hours.get(hour, 0) + 1
            if len(group.hours) > KEEP_MINUTES // 60:
                del group.hours[min(group.hours)]
        group.path, group.line = self._path, record.line_number or None
        self._texts[f"{group.exception}|{group.frame}"] = text

    def _take_samples(self) -> None:
        """Redact the latest text of each group; every occurrence would be slow."""
        for key, text in self._texts.items():
            self.facts.groups[key].sample = sample(_telling_end(redact(text)))
        self._texts.clear()


def _telling_end(text: str) -> str:
    """Return the end of a long Python trace, where it says what failed."""
    if "Traceback (most" in text and len(text) > MAX_SAMPLE:
        return text[-MAX_SAMPLE:].partition("\n")[2] or text
    return text
