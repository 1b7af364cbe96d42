"""
One scan in a process of its own: ``python -m vibehq_nb.ops --host NAME …``.

JSON lines on stdout: ``scan-progress`` any number of times, then exactly one
``scan-result`` or ``scan-failed``. The log goes to stderr, stdin is not read. It ends
by itself at its deadline. Exit codes: 0 result, 1 failed, 2 cannot be run as asked.
"""

import argparse
import contextlib
import json
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from vibehq_nb.core.findings import ScanResult
from vibehq_nb.ops.request import ScanRequestError
from vibehq_nb.ops.scan import ALL_RULES, run_scan

logger = logging.getLogger("vibehq_nb.ops")

NICENESS = 10
FAILED, BAD_REQUEST = 1, 2
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_DONE = b"\0"
"""On the wake-up pipe; signals write their own number, which is never 0."""


class _Parser(argparse.ArgumentParser):
    """Refuses with an exception, so that the refusal is a JSON line too."""

    def error(self, message: str) -> NoReturn:
        raise ScanRequestError(f"{message[:1].upper()}{message[1:]}.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m vibehq_nb.ops",
        description="Run one scan of this host; JSON lines on stdout.",
        allow_abbrev=False,
    )
    parser.add_argument("--rules", action="store_true", help="print the rule table")
    parser.add_argument("--json", action="store_true", help="the table as JSON")
    parser.add_argument("--scan-id", default="scan", help="named in every line")
    parser.add_argument("--scope", default="incremental", help="incremental or full")
    parser.add_argument("--kinds", help="comma-separated; all if left out")
    parser.add_argument(
        "--logs", nargs="+", action="extend", default=[], metavar="PATTERN"
    )
    parser.add_argument("--filters", default="{}", help="JSON, see run_scan")
    parser.add_argument("--deadline", type=float, default=300.0, help="seconds")
    parser.add_argument("--host", default="", help="the name resources are kept under")
    parser.add_argument("--state", type=Path, help="file with the cursors of logs")
    return parser


class _Output:
    """Whole lines on stdout; nothing follows the last one."""

    def __init__(self, scan_id: str) -> None:
        self.scan_id = scan_id
        self._lock = threading.Lock()
        self._is_closed = False

    def progress(self, processed: int, total: int, phase: str) -> None:
        """Write one line of progress."""
        self._write(
            "scan-progress",
            {"processed": processed, "total": total, "phase": phase},
        )

    def result(self, result: ScanResult) -> None:
        """Write the good end."""
        self._write("scan-result", msgspec.to_builtins(result), is_last=True)

    def failed(self, code: str, message: str) -> None:
        """Write the other end."""
        self._write("scan-failed", {"code": code, "message": message}, is_last=True)

    def _write(self, name: str, fields: dict[str, Any], is_last: bool = False) -> None:
        line = msgspec.json.encode({"type": name, "scan_id": self.scan_id, **fields})
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = is_last
            _write_all(line + b"\n")


def _write_all(line: bytes) -> None:
    try:
        while line:
            line = line[os.write(sys.stdout.fileno(), line) :]
    except BrokenPipeError:
        os._exit(FAILED)  # whoever asked has gone: nobody is left to tell


class _Scan(threading.Thread):
    """The scan beside the main thread, which waits for signals and the deadline."""

    def __init__(
        self, options: argparse.Namespace, output: _Output, wake_up: int
    ) -> None:
        super().__init__(name="scan", daemon=True)
        self._options = options
        self._output = output
        self._wake_up = wake_up
        self.outcome: ScanResult | Exception | None = None

    def run(self) -> None:
        options = self._options
        kinds = None if options.kinds is None else options.kinds.split(",")
        try:
            self.outcome = run_scan(
                options.scope,
                kinds,
                _filters(options.filters),
                host=options.host or os.uname().nodename,
                scan_id=options.scan_id,
                logs=options.logs,
                state=options.state,
                progress=self._output.progress,
            )
        except Exception as error:
            self.outcome = error
        os.write(self._wake_up, _DONE)


def _filters(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        raise ScanRequestError("The filters are not a JSON object.") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one scan as the arguments say and return the exit code."""
    wake_up = _catch_signals()
    output = _Output("")
    try:
        options = _parser().parse_args(arguments)
        output.scan_id = options.scan_id
        if options.rules:
            _print_rules(as_json=options.json)
            return 0
        if not 0 < options.deadline <= 86_400:
            raise ScanRequestError("A deadline is between 0 and 86400 seconds.")
    except ScanRequestError as error:
        output.failed("bad-request", str(error))
        return BAD_REQUEST
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    with contextlib.suppress(OSError):  # a sandbox may forbid it; the scan still runs
        os.nice(NICENESS)
    scan = _Scan(options, output, wake_up[1])
    scan.start()
    woken_by = _wait(wake_up[0], options.deadline)
    return _end(scan, output, woken_by, options.deadline)


def _catch_signals() -> tuple[int, int]:
    """Have stop signals written to a pipe; return its two ends."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda *_: None)
    return reader, writer


def _wait(reader: int, seconds: float) -> bytes:
    """Return what woke the main thread, empty when the time was up."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([reader], [], [], left)[0]:
            return os.read(reader, 1)
    return b""


def _end(scan: _Scan, output: _Output, woken_by: bytes, deadline: float) -> int:
    if not woken_by:
        output.failed("deadline", f"The scan was not done after {deadline:g} s.")
        return FAILED
    if woken_by != _DONE:
        output.failed("cancelled", "The scan was cancelled.")
        return FAILED
    match scan.outcome:
        case ScanResult() as result:
            output.result(result)
            return 0
        case ScanRequestError() as error:
            output.failed("bad-request", str(error))
            return BAD_REQUEST
        case error:
            logger.error("the scan crashed", exc_info=error)
            name = type(error).__name__
            output.failed(
                "crashed", f"The scan crashed ({name}): see the worker's log."
            )
            return FAILED


def _print_rules(as_json: bool) -> None:
    if as_json:
        table = json.dumps(msgspec.to_builtins(ALL_RULES), indent=2)
        _write_all(f"{table}\n".encode())
        return
    for rule in ALL_RULES:
        row = f"{rule.code}  {rule.kind:<9}  {rule.type:<11}  {rule.cost:<6}  "
        row += f"{rule.deadline_seconds:>4g} s  {rule.title:<34}  {rule.runbook or '-'}"
        _write_all(f"{row}\n".encode())


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # A probe that hangs must not keep the process: its thread is left behind.
    os._exit(code)
