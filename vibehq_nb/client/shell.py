"""
What a shell's bytes tell about it, and how a command is typed into it. Pure.

Shells with integration say where a prompt begins and where a command's output begins
and ends (OSC 133). Others are typed two ``printf`` around the command that say so,
with a random word that no output can guess.
"""

import re
import shlex
from dataclasses import dataclass, field

from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.vt import Mark, MarkScanner

CLEAR_LINE = b"\x05\x15"
"""^E ^U: to the end of the line, then kill it."""

MAX_OUTPUT_BYTES = 8 * 1024 * 1024

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
                self.has_marks = True
                self.is_at_prompt = item.kind in ("A", "B")
        self.redraw(content)

    def redraw(self, content: bytes) -> None:
        """Take a keyframe: it tells modes, but holds no marks."""
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
        line = _wrapped(_evaluated(text), word)
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


def _wrapped(line: str, word: str) -> str:
    begin = rf"printf '\033]133;C;{word}\007'"
    end = rf"""printf '\033]133;D;%s;{word}\007' "$?" """
    # The blank in front keeps it out of the history of shells set up so.
    return f" {begin}; {line}; {end}".rstrip()


@dataclass
class Capture:
    """
    Collects one command's output out of the terminal's bytes.

    Attributes:
        word: The random word its marks carry; None to take the shell's own marks.
        has_begun: Whether the output has begun.
        has_ended: Whether the end was seen.
        exit_code: What the end told; None if it told nothing.
        is_cut: Whether some output is missing: over 8 MiB, or lost in a gap.
    """

    word: str | None
    has_begun: bool = False
    has_ended: bool = False
    exit_code: int | None = None
    is_cut: bool = False
    _output: bytearray = field(default_factory=bytearray)
    _end: int = 0
    _scanner: MarkScanner = field(default_factory=MarkScanner)

    def feed(self, content: bytes) -> None:
        """Take the terminal's next bytes."""
        for item in self._scanner.feed(content):
            if isinstance(item, bytes):
                self._keep(item)
            elif self.word is None or self.word in item.fields:
                self._take(item)

    def _keep(self, content: bytes) -> None:
        room = MAX_OUTPUT_BYTES - len(self._output)
        self._output += content[:room]
        self.is_cut = self.is_cut or len(content) > room

    def _take(self, mark: Mark) -> None:
        if mark.kind == "C" and not self.has_begun:
            self.has_begun = True
            self._output.clear()  # until here it was the echo of what was typed
        elif mark.kind == "D":
            # Also without a beginning: a line the shell could not read starts nothing.
            self.has_ended = True
            self.exit_code = mark.exit_code
            self._end = len(self._output)

    def lose(self) -> None:
        """Note that bytes were lost on the way."""
        self.is_cut = True

    def go_on(self) -> None:
        """Take the end back: it was printed by the command, not by the shell."""
        self.has_ended = False

    @property
    def output(self) -> bytes:
        """What the command printed."""
        printed = bytes(self._output[: self._end] if self.has_ended else self._output)
        # Without a beginning, it is what follows the echoed line.
        return printed if self.has_begun else printed.partition(b"\n")[2]
