"""
The probe of the process table.

It looks twice, a second apart: what is a zombie, or in the very same uninterruptible
wait, both times is reported. Kernel threads are left out, and so is what a debugger, a
signal or a freezer holds.
"""

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import psutil

from vibehq_nb.ops.rule import Deadline

SETTLE_SECONDS = 1.0
"""Between the two looks."""
MAX_NAME = 80
"""Characters."""

_INTERPRETER = re.compile(
    r"(python|pypy|node|nodejs|java|ruby|perl|php|bash|dash|sh)[\d.]*"
)
_HALTED = frozenset({psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP})
_KTHREADD = 2
_FREEZER = Path("/sys/fs/cgroup/freezer")


@dataclass(frozen=True, slots=True)
class Process:
    """One process as two looks saw it."""

    pid: int
    name: str
    """What it runs: the command, or an interpreter and its script."""
    user: str
    parent: "Process | None" = None
    """Known for zombies only."""
    descriptors: int = 0
    descriptor_limit: int = 0
    """The soft limit; 0 where there is none."""

    @property
    def key(self) -> str:
        """User and name: the same after a restart, and without a process id."""
        return f"{self.user}/{self.name}"

    @property
    def descriptor_percent(self) -> float:
        """Percent of the soft limit in use, 0 without a limit."""
        if not self.descriptor_limit:
            return 0.0
        return 100.0 * self.descriptors / self.descriptor_limit


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What two looks agree on."""

    zombies: tuple[Process, ...] = ()
    stuck: tuple[Process, ...] = ()
    counted: tuple[Process, ...] = ()
    """Processes whose descriptors and limit are known."""
    unreadable: Mapping[str, int] = field(default_factory=dict)
    """By user, how many processes' descriptors this user may not count."""
    has_limits: bool = True
    """Whether this system tells a process's limits."""
    was_complete: bool = True
    """Whether the time was enough."""


def probe(deadline: Deadline, settle_seconds: float = SETTLE_SECONDS) -> ProcessFacts:
    """Look at the process table twice; sees most as root, its own as a user."""
    processes = [
        process for process in psutil.process_iter() if not _is_kernel(process)
    ]
    first = {process: _mark(process) for process in processes}
    suspects = {process: mark for process, mark in first.items() if mark}
    looked_at = time.monotonic()
    counted, unreadable, was_complete = _count_all(processes, deadline)
    if suspects:
        settle = settle_seconds - (time.monotonic() - looked_at)
        time.sleep(max(0.0, min(settle, deadline.remaining)))
    same = [process for process, mark in suspects.items() if _mark(process) == mark]
    zombies = [process for process in same if suspects[process] == _ZOMBIE]
    return ProcessFacts(
        zombies=tuple(_with_parents(zombies)),
        stuck=tuple(_described(set(same).difference(zombies))),
        counted=tuple(counted),
        unreadable=dict(unreadable),
        has_limits=hasattr(psutil.Process, "rlimit"),
        was_complete=was_complete and not deadline.is_over,
    )


def _is_kernel(process: psutil.Process) -> bool:
    # In a container 2 is an ordinary process: the name tells.
    try:
        if process.pid == _KTHREADD:
            return bool(process.name() == "kthreadd")
        return process.ppid() == _KTHREADD and _is_kernel(psutil.Process(_KTHREADD))
    except psutil.Error:
        return False


_ZOMBIE = ("zombie", 0)


def _mark(process: psutil.Process) -> tuple[str, int] | None:
    """Return what must be the same at both looks, None for a healthy process."""
    try:
        status = process.status()
        if status == psutil.STATUS_ZOMBIE:
            # A main thread that ended before its others looks the same but is alive.
            return _ZOMBIE if process.num_threads() <= 1 else None
        if status == psutil.STATUS_DISK_SLEEP and not _is_frozen(process.pid):
            switches = process.num_ctx_switches()
            # As many switches as before: it has not run since, it is the same wait.
            return "stuck", switches.voluntary + switches.involuntary
    except psutil.Error:
        return None
    return None


def _is_frozen(pid: int) -> bool:
    """Tell whether a freezer (cgroup v1, whose processes look stuck) holds *pid*."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        paths = [line.split(":", 2)[2] for line in lines if ":freezer:" in line]
        states = [
            (_FREEZER / path.lstrip("/") / "freezer.state").read_text().strip()
            for path in paths
            if path != "/"
        ]
    except (OSError, IndexError):
        return False
    return any(state != "THAWED" for state in states)


def _count_all(
    processes: Iterable[psutil.Process], deadline: Deadline
) -> tuple[list[Process], Counter[str], bool]:
    counted: list[Process] = []
    unreadable: Counter[str] = Counter()
    if not hasattr(psutil.Process, "rlimit"):
        return counted, unreadable, True
    for process in processes:
        if deadline.is_over:
            return counted, unreadable, False
        try:
            soft, _ = process.rlimit(psutil.RLIMIT_NOFILE)
            if soft != psutil.RLIM_INFINITY:
                counted.append(_describe(process, process.num_fds(), soft))
        except psutil.AccessDenied:
            unreadable[_user(process)] += 1
        except psutil.Error:
            continue  # it has ended meanwhile
    return counted, unreadable, True


def _with_parents(zombies: Iterable[psutil.Process]) -> list[Process]:
    """Describe the zombies whose parent could reap them but does not."""
    described = []
    for zombie in zombies:
        try:
            parent = zombie.parent()
            if parent is None or parent.status() in _HALTED or _is_frozen(parent.pid):
                continue
            described.append(
                Process(
                    pid=zombie.pid,
                    name=zombie.name(),
                    user=_user(zombie),
                    parent=_describe(parent),
                )
            )
        except psutil.Error:
            continue
    return described


def _described(processes: Iterable[psutil.Process]) -> list[Process]:
    described = []
    for process in sorted(processes, key=lambda process: process.pid):
        try:
            described.append(_describe(process))
        except psutil.Error:
            continue
    return described


def _describe(process: psutil.Process, descriptors: int = 0, limit: int = 0) -> Process:
    try:
        command = process.cmdline()
    except psutil.AccessDenied:
        command = []
    return Process(
        pid=process.pid,
        name=name_of(process.name(), command),
        user=_user(process),
        descriptors=descriptors,
        descriptor_limit=limit,
    )


def _user(process: psutil.Process) -> str:
    try:
        return str(process.username())
    except psutil.Error:
        return "?"


def name_of(name: str, command: list[str]) -> str:
    """
    Return what a process runs, the same on every start and without secrets.

    An interpreter is named with its script, module or jar (``python app.py``), never
    with further arguments.
    """
    interpreter = _INTERPRETER.fullmatch(name)
    if interpreter is None:
        return name[:MAX_NAME]
    program = _program(command[1:])
    return f"{interpreter[1]} {program}".strip()[:MAX_NAME]


def _program(arguments: list[str]) -> str:
    words = iter(arguments)
    for word in words:
        if word in {"-m", "-jar"}:
            return PurePath(next(words, "")).name
        if word in {"-c", "-e"}:
            return ""
        if word in {"-W", "-X", "-cp", "-classpath", "-r", "--require", "-O", "-o"}:
            next(words, "")
        elif not word.startswith("-"):
            return PurePath(word).name
    return ""
