"""The fault proxy does what the suites that use it rely on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.trust.fault_proxy import Fault, FaultProxy


class Echo:
    """Answers every byte with itself and keeps what came."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = asyncio.Event()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(65536):
                self.received += data
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.ended.set()
            writer.close()


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Echo, int]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    try:
        yield echo, server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def talk(port: int, data: bytes) -> bytes:
    """Send *data*; return what came back before the link ended or 0.5 s were quiet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        writer.write(data)
        while True:
            async with asyncio.timeout(0.5):
                piece = await reader.read(65536)
            if not piece:
                break
            got += piece
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return got


async def test_without_a_fault_every_byte_passes_both_ways() -> None:
    data = bytes(range(256)) * 1000
    async with echoing() as (_, port), FaultProxy(port) as proxy:
        assert await talk(proxy.port, data) == data


@pytest.mark.parametrize("count", [0, 1, 700, 40_000])
async def test_a_cut_lets_exactly_so_many_bytes_pass(count: int) -> None:
    data = b"x" * 100_000
    async with echoing() as (echo, port), FaultProxy(port) as proxy:
        proxy.plan = lambda: Fault(cut_down=count)
        assert len(await talk(proxy.port, data)) == count
        proxy.plan = lambda: Fault(cut_up=count)
        echo.received.clear()
        echo.ended.clear()
        await talk(proxy.port, data)
        async with asyncio.timeout(5):
            await echo.ended.wait()
        assert len(echo.received) == count


async def test_a_stalled_link_stays_open_and_loses_nothing() -> None:
    async with echoing() as (_, port), FaultProxy(port) as proxy:
        proxy.plan = lambda: Fault(is_stalled=True)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read(1)
        proxy.links[0].resume()
        async with asyncio.timeout(5):
            assert await reader.readexactly(4) == b"held"
        writer.close()


async def test_a_delay_is_a_delay() -> None:
    async with echoing() as (_, port), FaultProxy(port) as proxy:
        proxy.plan = lambda: Fault(delay_seconds=0.1)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        writer.write(b"a")
        await reader.readexactly(1)
        assert loop.time() - begun >= 0.2
        writer.close()


async def test_cut_breaks_what_is_open_and_refuses_drops_what_comes() -> None:
    async with echoing() as (echo, port), FaultProxy(port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"a")
        await reader.readexactly(1)
        proxy.cut()
        async with asyncio.timeout(5):
            await echo.ended.wait()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        writer.close()
        proxy.refuses = True
        assert await talk(proxy.port, b"b") == b""
        assert echo.received == b"a"


async def test_new_links_go_where_the_proxy_points_now() -> None:
    async with echoing() as (_, one), echoing() as (other, two):
        async with FaultProxy(one) as proxy:
            await talk(proxy.port, b"a")
            proxy.target_port = two
            assert await talk(proxy.port, b"b") == b"b"
        assert other.received == b"b"


async def test_what_the_server_says_next_can_be_kept_back_at_the_moment_it_comes() -> (
    None
):
    async with echoing() as (echo, port), FaultProxy(port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"a")
        await reader.readexactly(1)
        seen: list[bytes] = []
        proxy.links[0].on_down = lambda: seen.append(bytes(echo.received))
        writer.write(b"b")
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        assert seen == [b"ab"]
        writer.close()
