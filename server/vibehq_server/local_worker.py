"""The worker on this host: started in a session of its own, and again if it dies."""

import asyncio
import fcntl
import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from vibehq_nb.core.backoff import reconnect_delay

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
MAX_RESTARTS = 8
STEADY_SECONDS = 60.0
FENCED = 4
"""The worker's exit code when another one of its name took over."""
LOCK = "worker.lock"
STOPPED = "stopped\n"
"""What a worker leaves in its lock when it was told to stop."""


class LocalWorker:
    """
    Keeps one worker running for a data folder.

    A worker that runs already holds ``worker.lock`` and is adopted. The worker
    outlives this server on purpose: a restart of the server ends no shell.
    """

    _started: ClassVar[list["subprocess.Popen[bytes]"]] = []
    """Kept while they run: one that is dropped unwaited would stay a zombie."""

    def __init__(self, data: Path) -> None:
        """Serve the server whose ``endpoint.json`` lies in *data*."""
        self._data = data

    async def keep(self) -> None:
        """Look after the worker; ends with the task, the worker stays."""
        self._forget_stop()
        failures = 0
        loop = asyncio.get_running_loop()
        while failures <= MAX_RESTARTS:
            process = await self._begin()
            started = loop.time()
            # Neither asyncio's own subprocess, which is killed with its loop, nor a
            # waiting thread, which cannot be cancelled.
            while (code := process.poll()) is None:  # noqa: ASYNC110
                await asyncio.sleep(CHECK_SECONDS)
            if code == FENCED:
                logger.error("another worker of this name took over; none is started")
                return
            was_steady = loop.time() - started >= STEADY_SECONDS
            failures = 1 if was_steady else failures + 1
            logger.warning("the local worker ended with code %d", code)
            await asyncio.sleep(reconnect_delay(failures, 0.0, minimum=0.5))
        logger.error(
            "the local worker fails again and again; see %s", self._data / "worker.log"
        )

    async def _begin(self) -> "subprocess.Popen[bytes]":
        """Start the worker, once no other holds the folder and this host lets it."""
        refusals = 0
        while True:
            try:
                # A worker of another parent can be neither waited for nor listened to.
                while self._is_held() or self._was_stopped():  # noqa: ASYNC110
                    await asyncio.sleep(CHECK_SECONDS)
                return self._start()
            except OSError as error:  # out of processes, files or space: it may pass
                refusals += 1
                logger.warning("the local worker cannot be started now: %s", error)
            await asyncio.sleep(reconnect_delay(refusals, 0.0, minimum=0.5))

    def _was_stopped(self) -> bool:
        """Tell whether the last worker ended because somebody wanted it to."""
        return (self._data / LOCK).read_text() == STOPPED

    def _forget_stop(self) -> None:
        with suppress(OSError):
            if self._was_stopped():
                (self._data / LOCK).write_text("")

    def _is_held(self) -> bool:
        """Tell whether a worker of another start is there."""
        descriptor = os.open(
            self._data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _start(self) -> "subprocess.Popen[bytes]":
        log = self._data / "worker.log"
        log.touch(mode=0o600)
        command = [sys.executable, "-m", "vibehq_nb.worker", "--data", str(self._data)]
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started[:] = [one for one in self._started if one.poll() is None]
        self._started.append(process)
        return process
