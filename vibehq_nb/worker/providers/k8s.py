"""Terminals in pods of Kubernetes: an exec over a WebSocket each."""

import asyncio
import json
import logging
import re
from contextlib import suppress

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.process_io import INPUT_BYTES, GatheringProcess
from vibehq_nb.worker.providers import remote
from vibehq_nb.worker.providers.cluster import Cluster, Pod
from vibehq_nb.worker.providers.leftovers import Leftovers, end_begun
from vibehq_nb.worker.providers.port import Exit, Foreground, Opening
from vibehq_nb.worker.providers.remote import RemoteSession

logger = logging.getLogger(__name__)

STDIN, STDOUT, STDERR, STATUS, RESIZE = range(5)
"""The first byte of a frame: which channel it belongs to."""
CHUNK_BYTES = 16 * 1024
SCRIPT_SECONDS = 15.0
CLOSE_SECONDS = 5.0


def exit_of(status: bytes) -> Exit | None:
    """Return the exit that a frame of the status channel tells; None if none."""
    try:
        told = json.loads(status)
        if told["status"] == "Success":
            return Exit(0, None)
        causes = told["details"]["causes"]
        codes = [one["message"] for one in causes if one["reason"] == "ExitCode"]
        return Exit(int(codes[0]), None)
    except (ValueError, KeyError, TypeError, IndexError):
        return None


class PodProcess(GatheringProcess):
    """A program in a pod, over a socket of its own."""

    def __init__(self, cluster: Cluster, pod: Pod, socket: ClientConnection) -> None:
        """Speak to what was started in *pod* over *socket*."""
        super().__init__()
        self._cluster = cluster
        self._pod = pod
        self._socket = socket
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._input = bytearray()  # over INPUT_BYTES: input is refused
        self._size: tuple[int, int] | None = None
        self._has_more = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.exit: Exit | None = None
        self.session: RemoteSession

    async def read_some(self) -> bytes:
        """Return the next output; empty at the end."""
        with suppress(ConnectionClosed):
            while True:
                frame = await self._socket.recv()
                channel, content = _split(frame)
                if channel == STATUS:
                    self.exit = exit_of(content)
                elif channel in (STDOUT, STDERR) and content:
                    return content
        return b""

    def begin(self, began: remote.Began, is_shell: bool) -> None:
        """Note who leads the session, and keep what it has printed."""
        self.session = RemoteSession(self._run, began.leader, is_shell)
        self._hold(began.output)

    async def end_begun(self, mark: str) -> None:
        """End what was begun with *mark*, and let go of it."""
        try:
            await end_begun(self._run, mark, self.read_some, f"in pod {self._pod.name}")
        finally:
            await self.drop()

    async def drop(self) -> None:
        """Close the socket."""
        await self._socket.close()

    def _begin(self) -> None:
        self._tasks = [
            asyncio.create_task(self._read_all()),
            asyncio.create_task(self._send_all()),
        ]

    async def _read_all(self) -> None:
        while output := await self.read_some():
            self._gather(output)
            await self._may_read.wait()
        await self._socket.close()
        self._tell_exit(self.exit or remote.HUNG_UP)
        self._tasks[1].cancel()

    def pause(self) -> None:
        """Stop reading: the program waits once the buffers between are full."""
        self._may_read.clear()

    def resume(self) -> None:
        """Read on."""
        self._may_read.set()

    def write(self, keys: bytes) -> bool:
        """Queue *keys* as typed; False and nothing queued when the queue is full."""
        if self.ended.is_set():
            return False
        if self._input and len(self._input) + len(keys) > INPUT_BYTES:
            return False
        self._input += keys
        self._has_more.set()
        return True

    def resize(self, cols: int, rows: int) -> None:
        """Set the size in character cells."""
        self._size = (cols, rows)
        self._has_more.set()

    async def _send_all(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                await self._has_more.wait()
                self._has_more.clear()
                await self.send_size()
                while chunk := bytes(self._input[:CHUNK_BYTES]):
                    del self._input[:CHUNK_BYTES]
                    await self._socket.send(bytes([STDIN]) + chunk)

    async def send_size(self) -> None:
        """Tell the size that was set last, if it was not told."""
        if self._size is not None:
            (cols, rows), self._size = self._size, None
            text = json.dumps({"Width": cols, "Height": rows})
            await self._socket.send(bytes([RESIZE]) + text.encode())

    async def foreground(self) -> Foreground | None:
        """
        Return the foreground job, None when there is none.

        Raises:
            DeniedError: ``not-known``, or what the cluster says.
        """
        return await self.session.foreground()

    async def signal(self, name: str) -> None:
        """
        Send ``SIG{name}`` to the foreground job.

        Raises:
            DeniedError: What the cluster says.
        """
        await self.session.signal(name)

    async def _run(self, script: str, *words: str) -> str:
        command = ["sh", "-c", script, "sh", *words]
        output = b""
        try:
            async with asyncio.timeout(SCRIPT_SECONDS):
                socket = await self._cluster.exec(self._pod, command, tty=False)
                async with socket:
                    helper = PodProcess(self._cluster, self._pod, socket)
                    while fresh := await helper.read_some():
                        output += fresh
        except TimeoutError:
            sentence = f"Pod {self._pod.name} does not answer."
            raise DeniedError("no-answer", sentence) from None
        return output.decode(errors="replace")

    async def freeze(self) -> str:
        """Stop nothing: only keys are refused, which is ``degraded``."""
        return "degraded"

    async def thaw(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Hang up, then terminate, then kill, until no process of it is left."""
        if not self.ended.is_set():
            try:
                await self.session.end()
            except DeniedError as error:
                name = self._pod.name
                logger.warning("what ran in %s may run on: %s", name, error.reason)
        self.resume()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.ended.wait()
        except TimeoutError:
            self._socket.transport.abort()
            await self.ended.wait()


def _split(frame: str | bytes) -> tuple[int, bytes]:
    raw = frame.encode() if isinstance(frame, str) else frame
    return (raw[0], raw[1:]) if raw else (STDOUT, b"")


class PodProvider:
    """Opens terminals in the pods of one cluster."""

    name = "k8s"

    def __init__(self) -> None:
        """Use the cluster of the user's settings."""
        self._cluster = Cluster()
        self._leftovers = Leftovers()

    def is_usable(self) -> bool:
        """Tell whether the library is installed and settings are there."""
        return self._cluster.is_usable()

    async def open(self, opening: Opening) -> PodProcess:
        """
        Start the command, or the container's bash or sh, in a running pod.

        Raises:
            DeniedError: With one sentence that says why it cannot be started.
        """
        name = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?"
        found = re.fullmatch(f"({name})/({name})(?:/({name}))?", opening.place)
        if found is None:
            sentence = 'Name namespace and pod, as in "k8s:default/web-1".'
            raise DeniedError("no-pod", sentence)
        remote.check_command(opening)
        wanted = Pod(found[1], found[2], found[3] or "")
        pod = await self._cluster.find(wanted, opening.worker)
        mark = remote.new_mark()
        command = remote.opening_command(opening, mark, remote.CONTAINER_SHELL)
        starting = asyncio.create_task(self._start(pod, command))
        try:
            process = await asyncio.shield(starting)
            process.resize(opening.cols, opening.rows)
            with suppress(ConnectionClosed):  # then reading tells the end
                await process.send_size()
            began = await remote.await_mark(process.read_some, mark)
        except BaseException:
            self._leftovers.end(_end_started(starting, mark))
            raise
        if began is None:
            if process.exit is None:  # the stream was cut
                self._leftovers.end(process.end_begun(mark))
            else:
                await process.drop()
            code = process.exit.code if process.exit else None
            raise remote.refusal(opening, code, f"in pod {pod.name}")
        process.begin(began, opening.command is None)
        return process

    async def _start(self, pod: Pod, command: list[str]) -> PodProcess:
        socket = await self._cluster.exec(pod, command, tty=True)
        return PodProcess(self._cluster, pod, socket)

    async def close(self) -> None:
        """Let go of the threads, once what was left is ended."""
        await self._leftovers.close()
        self._cluster.close()


async def _end_started(starting: asyncio.Task[PodProcess], mark: str) -> None:
    with suppress(DeniedError):  # nothing was started
        process = await starting
        await process.end_begun(mark)
