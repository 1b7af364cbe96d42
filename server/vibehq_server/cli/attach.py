"""``vibehq terminal attach``: this terminal's keys and screen for a remote one."""

import asyncio
import fcntl
import os
import shutil
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vibehq_nb.core.errors import UsageError, VibeError
from vibehq_server.cli.output import complain

LEAVE = b"\x1d"  # Ctrl-]
RESTORE = b"\x1b[!p\x1b[?1049l\x1b[?2004l\x1b[?1000l\x1b[?1006l\x1b[?25h\x1b[0m\r\n"


def attach_here(server: Any, terminal: str) -> int:
    """
    Join *terminal* until Ctrl-]; the remote program is not touched by leaving.

    Raises:
        UsageError: If standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError("attach needs a terminal to type in")
    complain(f"attached to {terminal}; Ctrl-] leaves it running")
    with _raw_terminal():
        asyncio.run(_relay(server, terminal))
    return 0


@contextmanager
def _raw_terminal() -> Iterator[None]:
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        os.write(sys.stdout.fileno(), RESTORE)


async def _relay(server: Any, terminal: str) -> None:
    import websockets
    from websockets.asyncio.client import connect

    size = shutil.get_terminal_size()
    url = server.socket_url(
        "terminal",
        terminal,
        {"mode": "raw", "cols": str(size.columns), "rows": str(size.lines)},
    )
    try:
        async with connect(
            url,
            additional_headers=server.headers(),
            compression=None,
            max_size=None,
            proxy=None,
        ) as socket:
            showing = asyncio.create_task(_show(socket))
            typing = asyncio.create_task(_type(socket))
            done, rest = await asyncio.wait(
                {showing, typing}, return_when=asyncio.FIRST_COMPLETED
            )
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            for task in done:
                task.result()
    except websockets.InvalidStatus as error:
        raise VibeError(
            f"the server refused the terminal ({error.response.status_code})"
        ) from None
    except (OSError, websockets.ConnectionClosed) as error:
        raise VibeError(f"the connection ended: {error}") from None


async def _show(socket: Any) -> None:
    out = sys.stdout.fileno()
    async for frame in socket:
        data = frame if isinstance(frame, bytes) else frame.encode()
        while data:
            data = data[os.write(out, data) :]


async def _type(socket: Any) -> None:
    loop = asyncio.get_running_loop()
    keys: asyncio.Queue[bytes] = asyncio.Queue(64)  # full: the kernel keeps the rest
    descriptor = sys.stdin.fileno()

    def read() -> None:
        if not keys.full():
            keys.put_nowait(os.read(descriptor, 4096))

    loop.add_reader(descriptor, read)
    try:
        while typed := await keys.get():
            before, left, _ = typed.partition(LEAVE)
            if before:
                await socket.send(before)
            if left:
                return
    finally:
        loop.remove_reader(descriptor)
