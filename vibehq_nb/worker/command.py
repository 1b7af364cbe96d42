"""The worker as a process: arguments, lock, session, signals."""

import argparse
import asyncio
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from vibehq_nb.core.errors import UsageError
from vibehq_nb.worker.agent import MAX_TERMINALS, Agent
from vibehq_nb.worker.endpoint import KEY_VARIABLE, EndpointSource
from vibehq_nb.worker.environment import forget_secrets
from vibehq_nb.worker.folder import STOPPED, HeldError, held, runtime_folder
from vibehq_nb.worker.join import JOIN_VARIABLE, folder_for, join, stored_name
from vibehq_nb.worker.lifetime import IDLE_SECONDS
from vibehq_nb.worker.local_control import listening

logger = logging.getLogger(__name__)

FENCED = 4
"""Exit code: starting again would only fence the other one in turn."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


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
        _choose_folder(options)
        return _work(options)
    except HeldError:
        sys.stderr.write(f"A worker holds {options.data} already.\n")
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _work(options: argparse.Namespace) -> int:
    data: Path | None = options.data
    with ExitStack() as stack:
        lock = stack.enter_context(held(data)) if data else None
        worker, source = _meet_server(options)
        _leave_caller()
        runtime = stack.enter_context(runtime_folder(data))
        # What the worker starts inherits its environment: terminals and scans.
        forget_secrets(os.environ)
        agent = Agent(
            worker,
            source,
            runtime,
            state=data / "scan-state.json" if data else None,
            max_terminals=options.max_terminals,
            idle_seconds=options.idle_seconds,
            cull_seconds=options.cull_idle,
        )
        asyncio.run(_run(agent, data))
        if agent.lifetime.is_told_to_stop and lock is not None:
            lock.write_text(STOPPED)
        return FENCED if agent.is_fenced else 0


def _choose_folder(options: argparse.Namespace) -> None:
    """
    Take the folder of the server at *options.url*, where none is given.

    Raises:
        UsageError: If there is nothing to show to that server.
    """
    token = os.environ.get(JOIN_VARIABLE)
    if token and not options.url:
        raise UsageError(f"{JOIN_VARIABLE} needs the server's address: --url URL.")
    if not options.url or KEY_VARIABLE in os.environ:
        return
    options.data = options.data or folder_for(options.url)
    if not token and stored_name(options.data) is None:
        raise UsageError(
            f"--url needs a join token in {JOIN_VARIABLE} (from vibehq worker invite), "
            f"or the worker's key in {KEY_VARIABLE}."
        )


def _meet_server(options: argparse.Namespace) -> tuple[str, EndpointSource]:
    """
    Return the worker's name and where its server is, having joined it if asked to.

    Raises:
        UsageError: If the server does not let it in.
    """
    token = os.environ.pop(JOIN_VARIABLE, "")
    known = stored_name(options.data) if options.data else None
    worker = options.id or known or default_id()
    if token and KEY_VARIABLE not in os.environ:
        join(options.url, token, worker, options.data)
        logger.info("joined %s as %s", options.url, worker)
    url = options.url if KEY_VARIABLE in os.environ else None
    return worker, EndpointSource(options.data, url)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vibehq worker", description="Hold this host's terminals for a server."
    )
    parser.add_argument(
        "--data", type=Path, help="folder with the server's endpoint.json"
    )
    parser.add_argument(
        "--url",
        help=f"address of the server; the first time with a join token in "
        f"{JOIN_VARIABLE}, or its key in {KEY_VARIABLE}",
    )
    parser.add_argument("--id", type=_worker_id)
    parser.add_argument("--max-terminals", type=_count, default=MAX_TERMINALS)
    parser.add_argument("--cull-idle", type=_duration)
    parser.add_argument(
        "--idle-seconds", type=float, default=IDLE_SECONDS, help=argparse.SUPPRESS
    )
    return parser.parse_args(argv)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 10_000):
        raise argparse.ArgumentTypeError("use a number from 1 to 10000")
    return int(text)


def _duration(text: str) -> float:
    found = re.fullmatch(r"(\d{1,7})([smhd])", text)
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not seconds:
        raise argparse.ArgumentTypeError("use a duration, such as 45m, 12h or 7d")
    return seconds


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


def _leave_caller() -> None:
    """Live on when the caller or its terminal goes away."""
    with suppress(OSError):
        os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


async def _run(agent: Agent, data: Path | None) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    logger.info("worker %s runs as process %d", agent.id, os.getpid())
    with suppress(asyncio.CancelledError):
        async with listening(data, agent.lifetime.stop):
            await agent.run()
    logger.info("worker %s ends", agent.id)
