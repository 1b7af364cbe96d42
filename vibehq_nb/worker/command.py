"""The worker as a process: arguments, lock, session, signals."""

import argparse
import asyncio
import fcntl
import logging
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from vibehq_nb.core.errors import UsageError
from vibehq_nb.worker.agent import IDLE_SECONDS, Agent
from vibehq_nb.worker.endpoint import EndpointSource
from vibehq_nb.worker.environment import forget_secrets

logger = logging.getLogger(__name__)


FENCED = 4
"""Exit code: starting again would only fence the other one in turn."""


class _HeldError(Exception):
    """Another worker holds the lock."""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a worker until it is told to stop; return the exit code.

    0: it ended, or another worker holds the folder; 2: it cannot work as called;
    4: another worker of the same name has taken over.
    """
    options = _parse(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        with ExitStack() as stack:
            if options.data is not None:
                stack.enter_context(_held(options.data / "worker.lock"))
            _leave_caller()
            runtime = stack.enter_context(_runtime_folder(options.data))
            source = EndpointSource(options.data, options.url)
            # What the worker starts inherits its environment: terminals and scans.
            forget_secrets(os.environ)
            agent = Agent(
                options.id,
                source,
                runtime,
                state=options.data / "scan-state.json" if options.data else None,
                idle_seconds=options.idle_seconds,
            )
            asyncio.run(_run(agent))
            if agent.is_fenced:
                return FENCED
    except _HeldError:
        sys.stderr.write(f"A worker holds {options.data} already.\n")
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vibehq worker", description="Hold this host's terminals for a server."
    )
    parser.add_argument(
        "--data", type=Path, help="folder with the server's endpoint.json"
    )
    parser.add_argument(
        "--url", help="address of the server; its key comes in VIBEHQ_WORKER_KEY"
    )
    parser.add_argument("--id", type=_worker_id, default=default_id())
    parser.add_argument(
        "--idle-seconds", type=float, default=IDLE_SECONDS, help=argparse.SUPPRESS
    )
    return parser.parse_args(argv)


def default_id() -> str:
    """Return this host's short name, as far as a worker's id can hold it."""
    name = socket.gethostname().partition(".")[0]
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:64] or "worker"


def _worker_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise argparse.ArgumentTypeError(
            "use 1 to 64 letters, digits, dots, dashes and underscores"
        )
    return text


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{lock} cannot be used: {error.strerror}.") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise _HeldError from None
    try:
        os.truncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(fd)


def _leave_caller() -> None:
    """Live on when the caller or its terminal goes away."""
    with suppress(OSError):
        os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


@contextmanager
def _runtime_folder(data: Path | None) -> Iterator[Path]:
    if data is not None:
        folder = data / "run"
        folder.mkdir(mode=0o700, exist_ok=True)
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="vibehq-worker-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _run(agent: Agent) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    logger.info("worker %s runs as process %d", agent.id, os.getpid())
    with suppress(asyncio.CancelledError):
        await agent.run()
    logger.info("worker %s ends", agent.id)
