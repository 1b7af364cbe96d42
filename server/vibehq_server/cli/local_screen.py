"""The terminal this program runs in, while it shows a remote one."""

import fcntl
import os
import select
import shutil
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vibehq_nb.core.keyframes import CANCEL
from vibehq_nb.core.screen import RESET
from vibehq_server.cli.output import plain

MOST_CELLS = 500

_PLAIN_MODES = (
    CANCEL
    # 1047, as 1049 would move the cursor where the alternate screen is not in use.
    + b"\x1b[?1047l\x1b[!p\x1b[?69l\x1b[?5l\x1b[?7h\x1b[?25h\x1b[?1l\x1b>\x1b[0m"
    + b"".join(
        b"\x1b[?%dl" % mode
        for mode in (9, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 2004, 2026)
    )
    + b"\x1b[>4;0m\x1b[<99u"  # the key protocols of xterm and kitty
)
"""Undoes what programs switch on; what was printed stays, scrollback included."""

_BLANK = b"\x1b[H\x1b[J"
_SAVE_TITLE, _RESTORE_TITLE = b"\x1b[22;2t", b"\x1b[23;2t"
RESTORE = _PLAIN_MODES + b"\x1b[0 q\x1b[999;1H\r\n" + _RESTORE_TITLE


class LocalScreen:
    """
    Shows output, and one line of our own over the first row while there is one.

    The line is taken away before anything else is written, so that what scrolls out
    of sight is what the remote terminal printed.
    """

    def __init__(self, keyframe: Callable[[], bytes]) -> None:
        """Repaint with *keyframe*, which begins with a full reset; empty: cannot."""
        self._keyframe = keyframe
        self._notice = ""
        self._beneath = b""  # what repaints the screen under the notice
        self._is_first = True

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, as far as a terminal may have them."""
        found = shutil.get_terminal_size()
        return min(found.columns, MOST_CELLS), min(found.lines, MOST_CELLS)

    def write(self, output: bytes) -> None:
        """Show *output*; the notice stays on top."""
        self._uncover()
        _write_all(output)
        self._cover()

    def paint(self, frame: bytes) -> None:
        """Show the screen in *frame*, with its scrollback the first time only."""
        self._beneath = b""
        if self._is_first:
            self._is_first = False
            # What is on the screen now goes into the scrollback.
            _write_all(_SAVE_TITLE + b"\x1b[999;1H" + b"\n" * self.size[1])
        else:
            frame = self._keyframe() or frame
        _write_all(_repainting(frame))
        self._cover()

    def repaint(self) -> None:
        """Show the screen again."""
        if not self._is_first:
            self._beneath = b""
            _write_all(_repainting(self._keyframe()))
            self._cover()

    def set_title(self, text: str) -> None:
        """Set the window's title."""
        _write_all(b"\x1b]2;%b\x07" % plain(text, 256).encode())

    def say(self, text: str) -> None:
        """Show one line of our own until it is replaced, or ``""`` takes it away."""
        self._uncover()
        self._notice = text
        self._cover()

    def _cover(self) -> None:
        if not self._notice:
            return
        self._beneath = self._keyframe()
        if not self._beneath:
            _write_all(f"\r\n[vibehq: {plain(self._notice)}]\r\n".encode())
            self._notice = ""
            return
        line = plain(f" vibehq: {self._notice}", self.size[0]).encode()
        _write_all(b"\x1b7\x1b[?6l\x1b[1;1H\x1b[0;7m%b\x1b[K\x1b[0m\x1b8" % line)

    def _uncover(self) -> None:
        if self._beneath:
            _write_all(_repainting(self._beneath))
            self._beneath = b""


def _repainting(frame: bytes) -> bytes:
    # A full reset would take the scrollback of this terminal along.
    return _PLAIN_MODES + _BLANK + frame.removeprefix(RESET)


def _write_all(output: bytes) -> None:
    descriptor = sys.stdout.fileno()
    while output:
        try:
            output = output[os.write(descriptor, output) :]
        except BlockingIOError:  # somebody else made it so
            select.select([], [descriptor], [])


@contextmanager
def raw_keyboard() -> Iterator[None]:
    """Take keys as they are; at the end the terminal is as it was before."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)  # what was typed ahead is kept
        yield
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        _write_all(RESTORE)
