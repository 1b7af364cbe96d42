"""Scans: each in a child process of its own, with exactly one end."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from vibehq_nb.core.codec import Decoder
from vibehq_nb.core.errors import DecodeError, DeniedError
from vibehq_nb.core.messages import (
    Cancel,
    Message,
    Scan,
    ScanFailed,
    ScanProgress,
    WorkerScanResult,
)
from vibehq_nb.worker.control_link import END_BYTES, TOO_BIG

logger = logging.getLogger(__name__)

DECODER = Decoder((ScanProgress, WorkerScanResult, ScanFailed))
MAX_SCANS = 4
LINE_BYTES = END_BYTES
GRACE = 2.0

SCANNER = (sys.executable, "-m", "vibehq_nb.ops")


class Scans:
    """Runs at most four scans at a time; what they tell goes to *report*."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        report: Callable[[Message], None],
        scanner: Sequence[str] = SCANNER,
        options: Sequence[str] = (),
    ) -> None:
        """Start *scanner* with *options* after a scan's own, as tasks of *tasks*."""
        self._tasks = tasks
        self._report = report
        self._scanner = scanner
        self._options = options
        self._running: dict[str, asyncio.Task[None]] = {}

    def perform(self, request: Scan | Cancel) -> None:
        """Start or stop a scan, as ``start`` and ``cancel`` do."""
        match request:
            case Scan():
                self.start(request)
            case Cancel(scan_id=scan_id):
                self.cancel(scan_id)

    def start(self, scan: Scan) -> None:
        """
        Start *scan*; one that runs already goes on.

        Raises:
            DeniedError: ``busy`` when four scans run.
        """
        if scan.scan_id in self._running:
            return
        if len(self._running) >= MAX_SCANS:
            raise DeniedError("busy", f"{MAX_SCANS} scans run here already.")
        task = self._tasks.create_task(self._run(scan))
        self._running[scan.scan_id] = task
        task.add_done_callback(lambda _task: self._running.pop(scan.scan_id, None))

    def cancel(self, scan_id: str) -> None:
        """Stop a scan; it ends as ``cancelled``. One that is over stays as it is."""
        if task := self._running.get(scan_id):
            task.cancel()

    @property
    def is_running(self) -> bool:
        """Whether any scan runs."""
        return bool(self._running)

    def cancel_all(self) -> None:
        """Stop every scan."""
        for task in list(self._running.values()):
            task.cancel()

    async def _run(self, scan: Scan) -> None:
        end: Message = ScanFailed(
            scan_id=scan.scan_id, code="crashed", message="The scan could not start."
        )
        try:
            async with asyncio.timeout(scan.deadline + GRACE):
                end = await self._run_child(scan)
        except TimeoutError:
            end = _failed(scan, "timeout", f"It took over {scan.deadline:g} s.")
        except asyncio.CancelledError:
            end = _failed(scan, "cancelled", "It was cancelled.")
            raise
        except OSError as error:
            end = _failed(scan, "crashed", f"It could not start: {error.strerror}.")
        finally:
            self._report(end)

    async def _run_child(self, scan: Scan) -> Message:
        child = await asyncio.create_subprocess_exec(
            *self._scanner,
            *_arguments(scan),
            *self._options,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            start_new_session=True,
        )
        try:
            end = await self._forward(scan, child)
        finally:
            code = await _reap(child)
        if end is not None:
            return end
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return _failed(scan, "crashed", f"The scan's process ended with {how}.")

    async def _forward(
        self, scan: Scan, child: asyncio.subprocess.Process
    ) -> Message | None:
        """Pass on the child's lines; return its end, if it told one."""
        assert child.stdout is not None
        while True:
            try:
                line = await child.stdout.readline()
            except ValueError:
                return _failed(scan, "too-big", TOO_BIG)
            if not line:
                return None
            message = _decode(line, scan.scan_id)
            if isinstance(message, ScanProgress):
                self._report(message)
            elif message is not None:
                return message


def _decode(line: bytes, scan_id: str) -> Message | None:
    try:
        message = DECODER.decode(line)
    except DecodeError as error:
        logger.warning("scan %s: %s", scan_id, error.reason)
        return None
    return message if getattr(message, "scan_id", None) == scan_id else None


def _failed(scan: Scan, code: str, message: str) -> ScanFailed:
    return ScanFailed(scan_id=scan.scan_id, code=code, message=message)


def _arguments(scan: Scan) -> list[str]:
    """Return the options of ``python -m vibehq_nb.ops`` that stand for *scan*."""
    options = ["--scan-id", scan.scan_id, "--scope", scan.scope]
    options += ["--deadline", f"{scan.deadline:g}"]
    options += ["--filters", json.dumps(scan.filters)]
    if scan.kinds:
        options += ["--kinds", ",".join(scan.kinds)]
    for pattern in scan.logs:
        options += [f"--logs={pattern}"]
    return options


async def _reap(child: asyncio.subprocess.Process) -> int:
    """End what is left of the child and return its exit code."""
    with suppress(ProcessLookupError):
        if child.returncode is None:
            child.terminate()
    try:
        async with asyncio.timeout(GRACE):
            return await child.wait()
    except TimeoutError:
        child.kill()
        return await child.wait()
