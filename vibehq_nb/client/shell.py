"""
What a shell's bytes tell about it, and how a command is typed into it. Pure.

Shells with integration say where a prompt begins and where a command's output begins
and ends (OSC 133). Others are typed two ``printf`` around the command that say so,
with a random word that no output can guess.
"""

import re
import shlex
from dataclasses import dataclass, field
from urllib.parse import quote

from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.vt import Mark, MarkScanner

CLEAR_LINE = b"\x05\x15"
"""^E ^U: to the end of the line, then kill it."""

MAX_OUTPUT_BYTES = 8 * 1024 * 1024

MAX_TOLD = 2048
"""A terminal takes lines of 4 KiB: in a longer one the command is not told twice."""

_PASTE_MODE = re.compile(rb"\x1b\[\?2004([hl])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class ShellState:
    """
    What is known of a shell from what it printed.

    Attributes:
        has_marks: Whether it ever sent a mark.
        is_at_prompt: Whether its newest mark is one of a prompt.
        takes_paste: Whether it asked for bracketed paste.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.has_marks = False
        self.is_at_prompt = False
        self.takes_paste = False
        self._scanner = MarkScanner()
        self._tail = b""

    def feed(self, content: bytes) -> None:
        """Take output, in order."""
        for item in self._scanner.feed(content):
            if isinstance(item, Mark):
                # Only a shell marks its prompt: what is typed around a command in one
                # without marks does not make it one that has them.
                self.is_at_prompt = item.kind in ("A", "B")
                self.has_marks = self.has_marks or self.is_at_prompt
        self._follow_modes(content)

    def redraw(self, content: bytes) -> None:
        """Take a keyframe: it tells modes, but no marks; what was known is over."""
        self.has_marks = self.is_at_prompt = False
        self._follow_modes(content)

    def _follow_modes(self, content: bytes) -> None:
        text = self._tail + content
        for match in _PASTE_MODE.finditer(text):
            self.takes_paste = match[1] == b"h"
        self._tail = text[-7:]

    def recall(self, history: bytes) -> None:
        """Take older output than what was fed; newer knowledge wins."""
        if self.has_marks:
            return
        older = ShellState()
        older.feed(history)
        self.has_marks, self.is_at_prompt = older.has_marks, older.is_at_prompt
        self.takes_paste = self.takes_paste or older.takes_paste


def typed_form(command: str, shell: ShellState, word: str | None) -> bytes:
    """
    Return the keys that run *command*, the Enter at their end included.

    Args:
        command: One or several lines.
        shell: What is known of the shell.
        word: Wrap it in marks that carry this random word; None where the shell
            marks by itself.

    Raises:
        UsageError: If there is nothing to run or a control character in it.
    """
    if not command.strip():
        raise UsageError("There is nothing to run.")
    text = command.strip("\n").replace("\r\n", "\n")
    if _CONTROL.search(text):
        raise UsageError("A command holds a control character; use term.send().")
    is_plain = "\n" not in text and "\t" not in text
    if word is not None:
        line = _wrapped(text, word)
    elif is_plain:
        line = text
    elif shell.takes_paste:
        line = f"\x1b[200~{text}\x1b[201~"
    else:
        line = _evaluated(text)
    return CLEAR_LINE + line.encode() + b"\r"


def _evaluated(text: str) -> str:
    """Return *text* as one line a POSIX shell evaluates, whatever it holds."""
    if "\n" not in text and "\t" not in text:
        return f"eval {shlex.quote(text)}"
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
    return f"eval \"$(printf '%b' {shlex.quote(escaped)})\""


def _wrapped(text: str, word: str) -> str:
    line, told = _evaluated(text), quote(text, safe="")
    if len(line) + len(told) > MAX_TOLD:
        told = ""
    begin = rf"printf '\033]133;C;{word};cmdline_url=%s\007' '{told}'"
    end = rf"""printf '\033]133;D;%s;{word}\007' "$?" """
    # The blank in front keeps it out of the history of shells set up so.
    return f" {begin}; {line}; {end}".rstrip()


@dataclass
class Capture:
    """
    Collects one command's output out of the terminal's bytes.

    The shell's own marks of a line of commands are taken together: its output is what
    lies between the first ``C`` and the last ``D``, its end the prompt after that.

    Attributes:
        word: The random word its marks carry; None to take the shell's own marks.
        has_begun: Whether the output has begun.
        has_ended: Whether the end was seen.
        is_refused: Whether a prompt was seen instead of a beginning.
        exit_code: What the end told; None if it told nothing.
        is_cut: Whether some output is missing: over 8 MiB, or lost in a gap.
        is_lossy: Whether there was a gap, so that marks may be missing too.
    """

    word: str | None
    has_begun: bool = False
    has_ended: bool = False
    is_refused: bool = False
    exit_code: int | None = None
    is_cut: bool = False
    is_lossy: bool = False
    _shell: str | None = None
    _is_done: bool = False
    _output: bytearray = field(default_factory=bytearray)
    _end: int | None = None
    _scanner: MarkScanner = field(default_factory=MarkScanner)

    def feed(self, content: bytes) -> None:
        """Take the terminal's next bytes."""
        for item in self._scanner.feed(content):
            if isinstance(item, bytes):
                self._keep(item)
            elif self._is_mine(item):
                self._take(item)

    def _is_mine(self, mark: Mark) -> bool:
        if self.word is not None:
            return self.word in mark.fields
        return not self.has_begun or mark.shell == self._shell

    def _keep(self, content: bytes) -> None:
        room = MAX_OUTPUT_BYTES - len(self._output)
        self._output += content[:room]
        self.is_cut = self.is_cut or len(content) > room

    def _take(self, mark: Mark) -> None:
        match mark.kind:
            case "C":
                self._begin(mark)
            case "D":
                # Also without a beginning: one that began in a gap has an end.
                self._is_done = True
                self.exit_code = mark.exit_code
                self._end = len(self._output)
                self.has_ended = self.word is not None
            case "A" if self._is_done:
                self.has_ended = True
            case "A" if not self.has_begun:
                self.is_refused = True
                self._end = len(self._output)

    def _begin(self, mark: Mark) -> None:
        if not self.has_begun:
            self._output.clear()  # until here it was the echo of what was typed
        self.has_begun, self._shell = True, mark.shell
        self.has_ended = self._is_done = self.is_refused = False
        self._end = None

    def lose(self) -> None:
        """Note that bytes were lost on the way."""
        self.is_cut = self.is_lossy = True

    def go_on(self) -> None:
        """Take the end back: it was printed by the command, not by the shell."""
        self.has_ended = self._is_done = False
        self._end = None

    @property
    def output(self) -> bytes:
        """What the command printed."""
        printed = bytes(self._output[: self._end])
        # Without a beginning, it is what follows the echoed line.
        return printed if self.has_begun else printed.partition(b"\n")[2]
