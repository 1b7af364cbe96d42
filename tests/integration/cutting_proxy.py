"""A TCP proxy that breaks what runs through it, wherever it happens to be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CHUNK_BYTES = 512


class CuttingProxy:
    """
    Passes bytes on to ``upstream_port``, and cuts all links after so many bytes.

    Small chunks make a cut fall inside frames, handshakes and acknowledgements alike.
    While ``holds_answers``, nothing comes back: what is read is lost with the next cut.
    """

    def __init__(self) -> None:
        self.port = 0
        self.upstream_port = 0
        self.cuts = 0
        self.holds_answers = False
        self._left: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def cut_after(self, size_bytes: int) -> None:
        """Cut every link once *size_bytes* more bytes have come through, either way."""
        self._left = size_bytes

    def cut(self) -> None:
        """Cut every link now."""
        self._left = None
        self.cuts += 1
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, there[1]}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pass(reader, there[1]))
                ways.create_task(self._pass(there[0], writer, is_answer=True))
        finally:
            self._writers -= both
            for end in both:
                end.transport.abort()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_answer: bool = False,
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if is_answer and self.holds_answers:
                    continue
                if self._left is not None and len(chunk) >= self._left:
                    writer.write(chunk[: self._left])
                    await writer.drain()
                    self.cut()
                    return
                if self._left is not None:
                    self._left -= len(chunk)
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def proxying() -> AsyncIterator[CuttingProxy]:
    """Run a proxy until the block ends; set its ``upstream_port``."""
    proxy = CuttingProxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        await server.wait_closed()
