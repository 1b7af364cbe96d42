"""A cgroup of its own for each terminal, so that all in it freezes at one word."""

import asyncio
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from vibehq_nb.core.errors import DeniedError

SECONDS = 2.0
"""How long the kernel may take to freeze, to thaw, or to let a cgroup go."""
POLL = 0.005


class Kind(NamedTuple):
    """How one version of cgroups is told to freeze, and what it says when it has."""

    control: str
    freeze: str
    thaw: str
    state: str
    is_frozen: str
    is_thawed: str


V1 = Kind("freezer.state", "FROZEN", "THAWED", "freezer.state", "FROZEN", "THAWED")
V2 = Kind("cgroup.freeze", "1", "0", "cgroup.events", "frozen 1", "frozen 0")


class Cgroup:
    """The processes of one terminal, as the kernel's freezer sees them."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        """Use the cgroup at *folder*."""
        self.folder = folder
        self._kind = kind
        self.is_frozen = False

    def open_procs(self) -> int:
        """Return a descriptor: a process that writes ``0`` to it is in the cgroup."""
        return os.open(self.folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)

    async def freeze(self) -> None:
        """
        Stop every process, whatever it does.

        Raises:
            DeniedError: ``not-frozen`` if that takes over 2 s.
        """
        self.is_frozen = True
        await self._become(self._kind.freeze, self._kind.is_frozen)

    async def thaw(self) -> None:
        """
        Let every process go on.

        Raises:
            DeniedError: ``not-thawed`` if that takes over 2 s.
        """
        if self.is_frozen:
            await self._become(self._kind.thaw, self._kind.is_thawed)
            self.is_frozen = False

    async def _become(self, word: str, told: str) -> None:
        deadline = time.monotonic() + SECONDS
        try:
            (self.folder / self._kind.control).write_text(word)
            while told not in (self.folder / self._kind.state).read_text():
                if time.monotonic() >= deadline:
                    code = "not-frozen" if word == self._kind.freeze else "not-thawed"
                    raise DeniedError(code, f"The kernel takes over {SECONDS:g} s.")
                await asyncio.sleep(POLL)
        except FileNotFoundError:
            pass  # its program is over

    def leave(self) -> None:
        """Hand what lives on to the cgroup above, and go if that is done at once."""
        with suppress(OSError):
            (self.folder / self._kind.control).write_text(self._kind.thaw)
            for pid in (self.folder / "cgroup.procs").read_text().split():
                with suppress(OSError):  # it has just ended
                    (self.folder.parent / "cgroup.procs").write_text(pid)
            self.folder.rmdir()

    async def remove(self) -> None:
        """Go for good; the kernel may need a moment after the last exit."""
        deadline = time.monotonic() + SECONDS
        while self.folder.exists() and time.monotonic() < deadline:
            self.leave()
            await asyncio.sleep(POLL)


class Freezer:
    """Makes cgroups, where this process may make them."""

    def __init__(self, places: Sequence[tuple[Path, Kind]] | None = None) -> None:
        """Make them in the first of *places* that will do; by default in our own."""
        self._places = places
        self._numbers = itertools.count(1)
        self._place: tuple[Path, Kind] | None = None

    def new(self) -> Cgroup | None:
        """Return an empty cgroup; None where there can be none."""
        if self._places is None:
            self._places = own_places()
        for folder, kind in [self._place] if self._place else self._places:
            cgroup = self._make(folder, kind)
            if cgroup is None:
                continue
            if self._place is None:
                self._place = folder, kind
                _sweep(folder, kind)
            return cgroup
        return None

    def _make(self, above: Path, kind: Kind) -> Cgroup | None:
        folder = above / f"vibehq-{os.getpid()}-{next(self._numbers)}"
        try:
            folder.mkdir()
        except OSError:
            return None
        if os.access(folder / kind.control, os.W_OK):
            return Cgroup(folder, kind)
        folder.rmdir()
        return None


def _sweep(above: Path, kind: Kind) -> None:
    """Let go what workers that were killed have left frozen or empty."""
    for folder in above.glob("vibehq-*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            Cgroup(folder, kind).leave()


def own_places() -> list[tuple[Path, Kind]]:
    """Return where this process stands in the hierarchies that can freeze."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return []
    return sorted(_places(mounts, groups), key=lambda place: place[1] is V1)


def _places(mounts: list[str], groups: list[str]) -> Iterator[tuple[Path, Kind]]:
    ours = {names: path for _, names, path in (line.split(":", 2) for line in groups)}
    v1 = [path for names, path in ours.items() if "freezer" in names.split(",")]
    for line in mounts:
        words, _, rest = line.partition(" - ")
        root, mounted = words.split()[3:5]
        kind, _, options = rest.split()[:3]
        if kind == "cgroup2" and "" in ours:
            yield _inside(mounted, root, ours[""]), V2
        elif kind == "cgroup" and v1 and "freezer" in options.split(","):
            yield _inside(mounted, root, v1[0]), V1


def _inside(mounted: str, root: str, path: str) -> Path:
    return Path(mounted, path.removeprefix(root).lstrip("/"))
