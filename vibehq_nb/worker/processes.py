"""The processes of one session: who is in it, who is in front, how it is ended."""

import asyncio
import os
import signal
import time
from contextlib import suppress

import psutil

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.providers.port import Foreground

GRACE = 2.0
"""Seconds between HUP and TERM, and between TERM and KILL."""

POLL = 0.05


def members(session: int) -> list[int]:
    """Return the pids of the living processes of *session*, its leader first."""
    found = [pid for pid in psutil.pids() if _lives_in(pid, session)]
    return sorted(found, key=lambda pid: (pid != session, pid))


def _lives_in(pid: int, session: int) -> bool:
    try:
        if os.getsid(pid) != session:
            return False
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except (OSError, psutil.Error):
        return False


def send(pids: list[int], number: int) -> None:
    """Send signal *number* to every one of *pids* that is still there."""
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


async def end_session(session: int) -> None:
    """Hang up, then terminate, then kill *session*, until no process is left."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
        send(members(session), number)
        send(members(session), signal.SIGCONT)  # what is stopped must hear it too
        if await _is_empty_within(session, GRACE):
            return


async def _is_empty_within(session: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while members(session):
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(POLL)
    return True


def describe_group(group: int, shell: int | None, now: float) -> Foreground | None:
    """
    Return the job with the process group *group*.

    Args:
        group: A process group's id.
        shell: The pid of the terminal's shell, None when it runs no shell.
        now: The time, in seconds since 1970.
    """
    for pid in [group, *psutil.pids()]:
        try:
            if os.getpgid(pid) != group:
                continue
            process = psutil.Process(pid)
            age = max(now - process.create_time(), 0.0)
            return Foreground(process.name(), pid, round(age, 1), group == shell)
        except (OSError, psutil.Error):
            continue
    return None


async def stop_session(session: int, stopped: list[int]) -> None:
    """
    Stop every process of *session*, its leader first, until none runs.

    Adds to *stopped* whom it stopped, in order; what was stopped before is left out,
    so that it stays stopped after the thaw.

    Raises:
        DeniedError: ``not-frozen`` if something does not stop within 2 s.
    """
    deadline = time.monotonic() + GRACE
    while running := [pid for pid in members(session) if not _is_stopped(pid)]:
        if time.monotonic() >= deadline:
            raise DeniedError("not-frozen", f"Process {running[0]} does not stop.")
        fresh = [pid for pid in running if pid not in stopped]
        send(fresh, signal.SIGSTOP)
        stopped += fresh
        await asyncio.sleep(0.005)


def _is_stopped(pid: int) -> bool:
    try:
        status = psutil.Process(pid).status()
    except psutil.Error:
        return True
    return status in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
