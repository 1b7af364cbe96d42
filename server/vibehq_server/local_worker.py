"""The worker on this host: started in a session of its own, and again if it dies."""

import asyncio
import logging
import subprocess
import sys
from pathlib import Path

from vibehq_nb.core.backoff import reconnect_delay

logger = logging.getLogger(__name__)

CHECK_SECONDS = 2.0
MAX_RESTARTS = 8
STEADY_SECONDS = 60.0


class LocalWorker:
    """
    Keeps one worker running for a data folder.

    A worker that runs already keeps ``worker.lock``; the one started here then leaves
    with code 0 and the other is adopted. The worker outlives this server on purpose:
    a restart of the server ends no shell.
    """

    def __init__(self, data: Path) -> None:
        """Serve the server whose ``endpoint.json`` lies in *data*."""
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None

    async def keep(self) -> None:
        """Start the worker and look after it; ends with the task, the worker stays."""
        restarts = 0
        while restarts <= MAX_RESTARTS:
            started = asyncio.get_running_loop().time()
            process = self._start()
            # Neither asyncio's own subprocess, which is killed with its loop, nor a
            # waiting thread, which cannot be cancelled.
            while (code := process.poll()) is None:  # noqa: ASYNC110
                await asyncio.sleep(CHECK_SECONDS)
            if code == 0:
                # Another one holds the lock, or it left by itself after long idling.
                await asyncio.sleep(STEADY_SECONDS)
                continue
            held = asyncio.get_running_loop().time() - started >= STEADY_SECONDS
            restarts = 1 if held else restarts + 1
            logger.warning("the local worker ended with code %d", code)
            await asyncio.sleep(reconnect_delay(restarts, 0.0))
        logger.error(
            "the local worker fails again and again; see %s", self._data / "worker.log"
        )

    def _start(self) -> "subprocess.Popen[bytes]":
        log = self._data / "worker.log"
        log.touch(mode=0o600)
        command = [sys.executable, "-m", "vibehq_nb.worker", "--data", str(self._data)]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self._process

    @property
    def is_running(self) -> bool:
        """Whether the process started here runs."""
        return self._process is not None and self._process.poll() is None
