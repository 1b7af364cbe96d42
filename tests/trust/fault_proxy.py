"""
A TCP proxy that breaks links on purpose: this machine's kernel can drop no packets.

    async with FaultProxy(server_port) as proxy:
        proxy.plan = lambda: Fault(cut_down=1000)   # for links to come
        ...connect to proxy.port...
        proxy.cut()                                 # every open link, now
        proxy.target_port = another_port            # a restarted server

It knows bytes only, so a cut falls anywhere, also in the middle of a frame.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

CHUNK_BYTES = 16 * 1024


@dataclass(frozen=True)
class Fault:
    """
    What one link will suffer.

    Attributes:
        cut_up: Bytes from the client that still arrive, then the link is cut.
        cut_down: The same for bytes from the server.
        delay_seconds: How much later everything arrives, in both directions.
        is_stalled: Half open: accepted, and nothing is ever forwarded.
    """

    cut_up: int | None = None
    cut_down: int | None = None
    delay_seconds: float = 0.0
    is_stalled: bool = False


class Link:
    """One connection through the proxy: what passed, and what it will suffer."""

    def __init__(self, fault: Fault, client: asyncio.StreamWriter) -> None:
        self.client_port: int = client.get_extra_info("peername")[1]
        self.up = self.down = 0
        self.is_cut = False
        self.met_its_fault = False
        self.on_down: Callable[[], None] | None = None
        """Called once, in place of forwarding the next bytes from the server."""
        self._fault = fault
        self._flows = asyncio.Event()
        self._writers = [client]
        if not fault.is_stalled:
            self._flows.set()

    def stall(self) -> None:
        """Forward nothing from now on; both ends stay open."""
        self._flows.clear()

    def resume(self) -> None:
        """Forward again, all that came meanwhile included."""
        self._flows.set()

    def cut(self) -> None:
        """Break both ends; what is not forwarded yet is lost."""
        self.is_cut = True
        self._flows.set()
        for writer in self._writers:
            writer.transport.abort()

    async def carry(
        self, client: asyncio.StreamReader, target_port: int, writer: Any
    ) -> None:
        """Connect to the target and forward both ways until an end is gone."""
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", target_port)
        except OSError:
            self.cut()
            return
        self._writers.append(to_server)
        if self.is_cut:
            self.cut()
            return
        ways = [
            asyncio.create_task(self._pump(client, to_server, is_up=True)),
            asyncio.create_task(self._pump(server, writer, is_up=False)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await self._end()

    async def _end(self) -> None:
        # What was forwarded arrives, unless the link was cut.
        self.is_cut = True
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with suppress(OSError):
                await writer.wait_closed()

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, is_up: bool
    ) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                if self._fault.delay_seconds:
                    await asyncio.sleep(self._fault.delay_seconds)
                await self._flows.wait()
                if self.is_cut or (not is_up and self._intercept()):
                    return
                data, is_last = self._until_cut(data, is_up)
                target.write(data)
                await target.drain()
                if is_last:
                    return

    def _intercept(self) -> bool:
        hook, self.on_down = self.on_down, None
        if hook is None:
            return False
        hook()
        return True

    def _until_cut(self, data: bytes, is_up: bool) -> tuple[bytes, bool]:
        passed = self.up if is_up else self.down
        cut = self._fault.cut_up if is_up else self._fault.cut_down
        is_last = cut is not None and passed + len(data) >= cut
        self.met_its_fault |= is_last
        if cut is not None:
            data = data[: max(0, cut - passed)]
        if is_up:
            self.up += len(data)
        else:
            self.down += len(data)
        return data, is_last


class FaultProxy:
    """
    Listens on a port of its own and forwards to *target_port* on this host.

    Attributes:
        port: Where it listens.
        target_port: Where new links go.
        plan: What the next link suffers.
        refuses: Whether new connections are dropped at once.
        links: The open ones, oldest first.
        accepted: How many there were.
        cuts: How many of them ended at the byte their plan named.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.target_port = target_port
        self.plan: Callable[[], Fault] = Fault
        self.refuses = False
        self.links: list[Link] = []
        self.accepted = self.cuts = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every open link."""
        for link in tuple(self.links):
            link.cut()

    async def _accept(
        self, client: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        link = Link(self.plan(), writer)
        self.links.append(link)
        try:
            if self.refuses:
                link.cut()
            else:
                await link.carry(client, self.target_port, writer)
        finally:
            self.links.remove(link)
            self.cuts += link.met_its_fault
            self._tasks.discard(task)
