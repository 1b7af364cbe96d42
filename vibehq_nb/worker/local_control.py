"""How a worker is told to stop from its own host, with or without a server."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from vibehq_nb.core.errors import DeniedError, UsageError
from vibehq_nb.core.messages import Object

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0
MAX_LINE = 64 * 1024

Stop = Callable[[bool], Awaitable[Object]]


def _socket_of(data: Path) -> Path:
    return data / "run" / "control"


@asynccontextmanager
async def listening(data: Path | None, stop: Stop) -> AsyncIterator[None]:
    """Take the wish to stop in *data*, which only its owner can enter."""
    if data is None:
        yield
        return
    path = _socket_of(data)
    path.unlink(missing_ok=True)
    try:
        server = await asyncio.start_unix_server(
            lambda reader, writer: _answer(reader, writer, stop), path, limit=MAX_LINE
        )
    except OSError as error:  # such as a path that is too long for a socket
        logger.warning("%s cannot be had (%s): stop it by signal", path, error)
        yield
        return
    try:
        path.chmod(0o600)
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stop: Stop
) -> None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            asked = json.loads(await reader.readline())
            try:
                answer: Object = {"done": await stop(bool(asked["force"]))}
            except DeniedError as error:
                answer = {"code": error.code, "message": error.reason}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
    except (OSError, ValueError, KeyError, TypeError, TimeoutError):
        logger.warning("somebody on this host asked for nothing that is known")
    finally:
        writer.close()


def ask_to_stop(data: Path, is_forced: bool) -> Object:
    """
    Stop the worker of *data* and return what it ends: ``terminals``.

    Raises:
        DeniedError: ``still-running`` if jobs run and it is not forced.
        UsageError: If no worker of *data* answers.
    """
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(ANSWER_SECONDS)
        try:
            link.connect(str(_socket_of(data)))
            link.sendall(json.dumps({"force": is_forced}).encode() + b"\n")
            with link.makefile("rb") as answers:
                answer = json.loads(answers.readline(MAX_LINE))
        except (OSError, ValueError):
            raise UsageError(f"No worker of {data} answers.") from None
    if "done" in answer:
        return dict(answer["done"])
    with suppress(KeyError):
        raise DeniedError(str(answer["code"]), str(answer["message"]))
    raise UsageError(f"The worker of {data} is of another version.")
