"""
The screen of a terminal, kept without one: feed bytes, take keyframes.

A keyframe is VT bytes that begin with a full reset and paint scrollback, screen,
cursor and modes. What follows the keyframe's offset can be fed after it, also when
that offset lies inside an escape sequence: the open sequence is its last part.
"""

import re
import unicodedata
from itertools import islice
from typing import Literal, Protocol

RESET = b"\x1bc"
SCROLLBACK_LINES = 2000
TAIL_BYTES = 64 * 1024

KEYFRAME_BYTES = 256 * 1024
"""Over this, a keyframe has less scrollback."""
MAX_KEYFRAME_BYTES = 2 * 1024 * 1024
"""No keyframe is over this, whatever the screen holds."""
TITLE_CHARACTERS = 1024


class Screen(Protocol):
    """
    A terminal's screen and scrollback.

    Not thread-safe: one thread at a time.
    """

    kind: Literal["vt", "tail"]
    """Whether keyframes are whole screens or cut tails of the output."""

    title: str
    """The title as the program set it last."""

    def feed(self, output: bytes) -> None:
        """Take output, cut anywhere."""
        ...

    def resize(self, cols: int, rows: int) -> None:
        """Change the size in character cells; lines are wrapped anew."""
        ...

    def keyframe(self, scrollback_lines: int = SCROLLBACK_LINES) -> bytes:
        """Return what brings a fresh terminal of the same size to this state."""
        ...

    def text(self, scrollback_lines: int = 0) -> str:
        """Return the screen as plain text, with at most that much scrollback."""
        ...

    def html(self) -> str:
        """Return the screen as one escaped ``<pre>`` with inline styles."""
        ...


class TailScreen:
    """The fallback without a terminal library: the newest output, safely cut."""

    kind: Literal["vt", "tail"] = "tail"

    def __init__(self, cols: int, rows: int) -> None:
        """Begin with an empty screen."""
        self.title = ""
        self._size = (cols, rows)
        self._tail = bytearray()  # over twice TAIL_BYTES: cut to it
        self._is_whole = True

    def feed(self, output: bytes) -> None:
        """Take output, cut anywhere."""
        self._tail += output
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]
            self._is_whole = False

    def resize(self, cols: int, rows: int) -> None:
        """Note the size."""
        self._size = (cols, rows)

    def keyframe(self, scrollback_lines: int = SCROLLBACK_LINES) -> bytes:
        """Return a reset and the newest output from the beginning of a line on."""
        tail = bytes(self._tail)
        if not self._is_whole:
            tail = tail[tail.find(b"\n") + 1 :]
        lines = tail.splitlines(keepends=True)
        kept = lines[-(scrollback_lines + self._size[1]) :]
        return RESET + b"".join(kept)

    def text(self, scrollback_lines: int = 0) -> str:
        """Return the newest lines without their escape sequences."""
        plain = _ESCAPES.sub("", self.keyframe()[2:].decode(errors="replace"))
        lines = plain.replace("\r", "").split("\n")
        return "\n".join(lines[-(self._size[1] + scrollback_lines) :])

    def html(self) -> str:
        """Return the newest lines as one escaped ``<pre>``."""
        return f"{PRE}{escape(self.text())}</pre>"


_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def clean_title(title: bytes) -> str:
    """Return a title as a program set it without control characters, cut if long."""
    text = title.decode(errors="replace")
    if text.isprintable():
        return text[:TITLE_CHARACTERS]
    plain = (char for char in text if unicodedata.category(char) not in _UNSEEN)
    return "".join(islice(plain, TITLE_CHARACTERS))


PRE = '<pre style="font-family: monospace; line-height: 1.2">'

_ESCAPES = re.compile(
    r"\x1b\[[0-9;:?<=>!]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]",
    re.DOTALL,
)


def escape(text: str) -> str:
    """Return *text* as HTML that shows it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_BASE_COLORS = (
    *("2e3436", "cc0000", "4e9a06", "c4a000", "3465a4", "75507b", "06989a", "d3d7cf"),
    *("555753", "ef2929", "8ae234", "fce94f", "729fcf", "ad7fa8", "34e2e2", "eeeeec"),
)


def palette_color(number: int) -> str:
    """Return color *number* of xterm's 256 as ``#rrggbb``."""
    if number < 16:
        return f"#{_BASE_COLORS[number]}"
    if number >= 232:
        gray = 8 + 10 * (min(number, 255) - 232)
        return f"#{gray:02x}{gray:02x}{gray:02x}"
    steps = (number - 16) // 36, (number - 16) // 6 % 6, (number - 16) % 6
    return "#" + "".join(f"{step and 55 + 40 * step:02x}" for step in steps)
