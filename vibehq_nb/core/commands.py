"""
What ran in a shell, as data: its marks (OSC 133) followed through a terminal's bytes.

Pure: bytes and times go in, commands that began and ended come out, each with its
place in the stream. The first mark binds: from then on only marks of the same shell
count, so that nothing a command prints begins or ends a command.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from vibehq_nb.core.rates import Bucket, Rate
from vibehq_nb.core.vt import Mark, OscScanner, decode_mark, plain_text

MAX_COMMAND_BYTES = 4096
MAX_ECHO_BYTES = 16 * 1024
MAX_FOLDER_CHARS = 4096

RECORDED = Rate(per_second=10, burst=1000)
"""Commands over this rate are left out; the numbers of the others tell how many."""

_FILE = re.compile(rb"file://[^/]*(/.*)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Began:
    """
    A command whose output begins at *offset* of the stream.

    Attributes:
        number: Counts the commands of one shell, from 1.
        command: As it was typed, at most 4 KiB; cut, it ends in an ellipsis. Empty
            if the shell keeps it out of its history.
        cwd: The folder it began in; empty if the shell told none.
        offset: Where its output begins.
        at: When, in seconds of the caller's clock.
        session: Who pressed Enter for it; empty if nobody did.
    """

    number: int
    command: str
    cwd: str
    offset: int
    at: float
    session: str


@dataclass(frozen=True, slots=True)
class Ended:
    """
    The command with this *number* ended.

    Attributes:
        number: Which.
        exit_code: None if the shell told none.
        output_end: Where its output ends.
        offset: Where the stream told so, further on; no other event has it.
        duration_s: Seconds since it began.
    """

    number: int
    exit_code: int | None
    output_end: int
    offset: int
    duration_s: float


class CommandTracker:
    """
    Follows the marks in one terminal's stream.

    Attributes:
        cwd: The shell's folder as it told last; empty before that.
    """

    def __init__(self, offset: int = 0) -> None:
        """Begin at *offset*, knowing of no shell."""
        self.cwd = ""
        self._offset = offset
        self._scanner = OscScanner(7, 133)
        self._bucket = Bucket(RECORDED)
        self._is_bound = False
        self._shell: str | None = None
        self._number = 0
        self._running: Began | None = None
        self._echo: bytearray | None = None  # full: what follows is not kept
        self._told = ""  # the last line that the shell told
        self._entered = ""  # who pressed Enter first at this prompt, …
        self._entered_last = ""  # … and last of all: perhaps before the prompt

    def enter(self, session: str) -> None:
        """Note that *session* pressed Enter."""
        self._entered = self._entered or session
        self._entered_last = session

    def feed(self, data: bytes, now: float) -> list[Began | Ended]:
        """Take the stream's next bytes, read at *now*, and return what they tell."""
        found: list[Began | Ended] = []
        for item in self._scanner.feed(data):
            if isinstance(item, bytes):
                self._offset += len(item)
                if self._echo is not None and len(self._echo) < MAX_ECHO_BYTES:
                    self._echo += item[:MAX_ECHO_BYTES]
                continue
            start, self._offset = self._offset, self._offset + item.size
            if item.number == 7:
                self.cwd = _folder(item.body) or self.cwd
            else:
                mark = decode_mark(item.body)
                if self._is_ours(mark):
                    found += self._take(mark, start, now)
        return found

    def _is_ours(self, mark: Mark) -> bool:
        if not self._is_bound:
            self._is_bound, self._shell = True, mark.shell
        return mark.shell == self._shell

    def _take(self, mark: Mark, start: int, now: float) -> list[Began | Ended]:
        match mark.kind:
            case "A":
                self._entered = ""
            case "B":
                self._echo = bytearray()
            case "C":
                # A shell that tells of no end in between has gone on all the same;
                # inside the mark, because no two events have the same place.
                ended = self._end(None, start, start + 1, now)
                return ended + self._begin(mark, now)
            case "D":
                return self._end(mark.exit_code, start, self._offset, now)
        return []

    def _begin(self, mark: Mark, now: float) -> list[Began | Ended]:
        self._number += 1
        command = self._line(mark)
        self._echo = None
        if not self._bucket.take(now):
            return []
        self._running = Began(
            number=self._number,
            command=_shown(command),
            cwd=self.cwd,
            offset=self._offset,
            at=now,
            session=self._entered or self._entered_last,
        )
        return [self._running]

    def _line(self, mark: Mark) -> str:
        """
        Return the command's line; empty where it is to be told nowhere.

        Our own shells do not tell a line that is kept out of the history, and then its
        echo is not told in its place: unless it is the last one told once more, which
        a history often leaves out.
        """
        told = mark.option("cmdline_url")
        if told is not None:
            self._told = unquote_to_bytes(told).decode(errors="replace")
            return self._told
        echo = plain_text(bytes(self._echo or b""))
        return echo if mark.shell is None or echo.strip("\n") == self._told else ""

    def _end(
        self, exit_code: int | None, start: int, offset: int, now: float
    ) -> list[Began | Ended]:
        running, self._running = self._running, None
        if running is None:
            return []
        seconds = max(now - running.at, 0.0)
        return [Ended(running.number, exit_code, start, offset, seconds)]


def _folder(body: bytes) -> str:
    match = _FILE.fullmatch(body)
    if match is None:
        return ""
    return unquote_to_bytes(match[1]).decode(errors="replace")[:MAX_FOLDER_CHARS]


def _shown(command: str) -> str:
    """Return *command* without control characters, at most 4 KiB long."""
    text = _CONTROL.sub("\ufffd", command.replace("\r\n", "\n")).strip("\n ")
    body = text.encode()
    if len(body) <= MAX_COMMAND_BYTES:
        return text
    return body[: MAX_COMMAND_BYTES - 3].decode(errors="ignore") + "…"
