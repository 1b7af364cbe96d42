"""
``vibehq terminal replay``: a recording's output in this terminal, at its pace.

What is printed may ask the terminal questions; its answers are read here and dropped,
so that none of them is typed into the shell behind.
"""

import os
import re
import select
import sys
import termios
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum

from vibehq_nb.core.asciicast import OUTPUT, CastEvent
from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.screen import RESET
from vibehq_server.cli.local_screen import LocalScreen, raw_keyboard
from vibehq_server.cli.output import complain
from vibehq_server.cli.replay_sources import Source

STEP_SECONDS = 5.0
STRIDE_SECONDS = 60.0
SPEEDS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


class ReplayKey(Enum):
    """What can be done while it plays."""

    PAUSE = b" "
    LEAVE = b"q"
    INTERRUPT = b"\x03"
    LEFT = b"\x1b[D"
    RIGHT = b"\x1b[C"
    DOWN = b"\x1b[B"
    UP = b"\x1b[A"
    NEXT = b"]"
    PREVIOUS = b"["
    FASTER = b">"
    SLOWER = b"<"


_STEPS = {
    ReplayKey.LEFT: -STEP_SECONDS,
    ReplayKey.RIGHT: STEP_SECONDS,
    ReplayKey.DOWN: -STRIDE_SECONDS,
    ReplayKey.UP: STRIDE_SECONDS,
}
_KEYS = {key.value: key for key in ReplayKey} | {
    b"\x1bOD": ReplayKey.LEFT,
    b"\x1bOC": ReplayKey.RIGHT,
    b"\x1bOB": ReplayKey.DOWN,
    b"\x1bOA": ReplayKey.UP,
}


_TOKEN = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO[ -~]"  # keys, and answers to questions
    rb"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[^\[\]OPX^_]|[^\x1b]",
    re.DOTALL,
)
"""One key or one answer of the terminal; what is cut waits for its rest."""


@dataclass(slots=True)
class Tempo:
    """
    How fast a recording plays.

    Attributes:
        speed: 2 plays twice as fast.
        idle_limit: No pause of the recording is longer, in its seconds; None: any.
    """

    speed: float = 1.0
    idle_limit: float | None = None

    def __post_init__(self) -> None:
        """Refuse what would not play."""
        if not 0.01 <= self.speed <= 1000:
            raise UsageError("--speed is a number from 0.01 to 1000")
        if self.idle_limit is not None and not self.idle_limit >= 0:
            raise UsageError("--idle-limit is a number of seconds")

    def change(self, key: ReplayKey) -> None:
        """Take the next speed that is faster or slower."""
        if key is ReplayKey.FASTER:
            self.speed = min((s for s in SPEEDS if s > self.speed), default=self.speed)
        else:
            self.speed = max((s for s in SPEEDS if s < self.speed), default=self.speed)

    def rest(self, seconds: float) -> float:
        """Return how long to wait for what comes *seconds* later in the recording."""
        limit = seconds if self.idle_limit is None else self.idle_limit
        return max(min(seconds, limit), 0.0) / self.speed


class ReplayKeyboard:
    """The keys of the terminal on standard input, if it is one."""

    def __init__(self) -> None:
        """Read from standard input."""
        self.is_there = sys.stdin.isatty()
        self._typed = b""  # what was read and not looked at; at most two reads

    def raw(self) -> AbstractContextManager[None]:
        """Take keys as they are within the block."""
        return raw_keyboard() if self.is_there else nullcontext()

    def read(self, seconds: float | None) -> ReplayKey | None:
        """Return a key that is known; None after *seconds* without one."""
        if not self.is_there:
            time.sleep(seconds or 0.0)
            return None
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            if (key := self._next()) is not None:
                return key
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            if not select.select([sys.stdin], [], [], left)[0]:
                return None
            typed = os.read(sys.stdin.fileno(), 4096)
            if not typed:
                return ReplayKey.LEAVE  # the terminal is gone
            self._typed = (self._typed + typed)[-4096:]

    def _next(self) -> ReplayKey | None:
        """Return the next key that is known of those that were read."""
        while (found := _TOKEN.match(self._typed)) is not None:
            self._typed = self._typed[found.end() :]
            if found[0] in _KEYS:
                return _KEYS[found[0]]
        return None

    def drop(self) -> None:
        """Drop what was not read, answers to a program's questions among it."""
        if self.is_there:
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def replay_here(source: Source, tempo: Tempo, start: float = 0.0) -> int:
    """Play *source* from *start* seconds on, to its end or Q."""
    screen, keys = LocalScreen(lambda: b""), ReplayKeyboard()
    cols, rows = source.size
    here = screen.size
    if sys.stdout.isatty() and (cols > here[0] or rows > here[1]):
        complain(f"recorded at {cols}x{rows}; this terminal has {here[0]}x{here[1]}")
    if keys.is_there and sys.stdout.isatty():
        complain("space pauses, arrows seek, [ and ] jump, < and > set the speed, q")
    with keys.raw():
        try:
            Player(source, tempo, screen, keys).play(start)
        finally:
            keys.drop()
    return 0


class Player:
    """Plays one recording."""

    def __init__(
        self, source: Source, tempo: Tempo, screen: LocalScreen, keys: ReplayKeyboard
    ) -> None:
        """Begin before its first event."""
        self._source, self._tempo = source, tempo
        self._screen, self._keys = screen, keys
        self._is_paused = False
        self.position = 0.0

    def play(self, start: float) -> None:
        """Play from *start* on, wherever it is sought to, until its end or Q."""
        target: float | None = start
        while target is not None:
            target = self._play_from(min(target, self._source.duration))

    def _play_from(self, start: float) -> float | None:
        """Play on from *start*; return where to go on, or None at the end."""
        if sys.stdout.isatty():
            self._screen.paint(b"")
        self.position = start
        for event in self._source.events(start):
            while event.time > self.position:
                key = self._wait(event)
                if key is None:
                    self.position = event.time
                elif key in (ReplayKey.LEAVE, ReplayKey.INTERRUPT):
                    return None
                elif (target := self._act(key)) is not None:
                    return target
            if event.code == OUTPUT:
                self._show(event.text.encode())
        return None

    def _show(self, output: bytes) -> None:
        if output.startswith(RESET) and sys.stdout.isatty():
            self._screen.paint(output)
        else:
            self._screen.write(output)

    def _wait(self, event: CastEvent) -> ReplayKey | None:
        """Wait until *event* is due, or for a key."""
        if self._is_paused:
            return self._keys.read(None)
        began = time.monotonic()
        key = self._keys.read(self._tempo.rest(event.time - self.position))
        if key is not None:
            gone = (time.monotonic() - began) * self._tempo.speed
            self.position = min(self.position + gone, event.time)
        return key

    def _act(self, key: ReplayKey) -> float | None:
        """Do what *key* says; return where to go on, if somewhere else."""
        if key is ReplayKey.PAUSE:
            self._is_paused = not self._is_paused
        elif key in (ReplayKey.FASTER, ReplayKey.SLOWER):
            self._tempo.change(key)
        elif key in _STEPS:
            return max(self.position + _STEPS[key], 0.0)
        else:
            return self._jump(key)
        self._tell()
        return None

    def _jump(self, key: ReplayKey) -> float | None:
        if key is ReplayKey.NEXT:
            later = (mark for mark in self._source.marks if mark > self.position)
            return min(later, default=None)
        # A second behind its beginning, the one before is meant.
        earlier = (mark for mark in self._source.marks if mark < self.position - 1)
        return max(earlier, default=0.0)

    def _tell(self) -> None:
        state = "paused" if self._is_paused else f"{self._tempo.speed:g}x"
        at, all_of_it = clock(self.position), clock(self._source.duration)
        self._screen.set_title(f"replay {at} / {all_of_it} ({state})")


def clock(seconds: float) -> str:
    """Return *seconds* as ``m:ss`` or ``h:mm:ss``."""
    hours, rest = divmod(int(seconds), 3600)
    if hours:
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
    return f"{rest // 60}:{rest % 60:02d}"
