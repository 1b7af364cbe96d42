"""The connection of an exec, from a runtime that answers as fast as one can."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.integration.opened import opened
from vibehq_nb.worker.providers import container
from vibehq_nb.worker.providers.container import ContainerProvider
from vibehq_nb.worker.providers.port import Exit
from vibehq_nb.worker.providers.runtime import DOCKER, Runtime


class FastRuntime:
    """Sends an exec's whole output in one piece with the headers before it."""

    def __init__(self, output: bytes, code: int | None) -> None:
        self._output = output
        self._code = code
        self._mark = b""
        self.tasks: set[asyncio.Task[None] | None] = set()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.tasks.add(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        writer.close()
        await writer.wait_closed()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            words = head.decode().lower().partition("content-length: ")[2]
            body = await reader.readexactly(int(words.split("\r")[0]) if words else 0)
            path = head.split()[1].decode().partition("?")[0]
            if path.endswith("/start"):
                upgraded = b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n"
                writer.write(upgraded + self._mark + self._output)
                return
            answer = json.dumps(self._answer(path, body)).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(answer), answer))

    def _answer(self, path: str, body: bytes) -> Any:
        if path.endswith("/version"):
            return {"ApiVersion": "1.41"}
        if path.startswith("/v1.41/containers/") and path.endswith("/exec"):
            self._mark = b"\x1e%s 7 99\x1e" % json.loads(body)["Cmd"][4].encode()
            return {"Id": "e1"}
        if path.startswith("/v1.41/containers/"):
            return {"Id": "c1", "Name": "/web-1", "State": {"Running": True}}
        if path.startswith("/v1.41/exec/") and path.endswith("/resize"):
            return {}
        return {"Running": self._code is None, "ExitCode": self._code}


@asynccontextmanager
async def provider_of(
    runtime: FastRuntime, folder: Path
) -> AsyncIterator[ContainerProvider]:
    path = folder / "d.sock"
    server = await asyncio.start_unix_server(runtime.serve, path)
    provider = ContainerProvider(
        DOCKER, Runtime(DOCKER, {"DOCKER_HOST": f"unix://{path}"})
    )
    yield provider
    await provider.close()
    server.close()
    await asyncio.wait([task for task in runtime.tasks if task])


async def test_output_that_comes_with_the_headers_is_not_lost(tmp_path: Path) -> None:
    async with provider_of(FastRuntime(b"last", 7), tmp_path) as provider:
        program = await opened(provider, "web-1", "x")
        ended = await program.ended()

    assert program.output == b"last"
    assert ended == Exit(7, None)


async def test_an_exec_without_a_status_has_hung_up(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(container, "STATUS_SECONDS", 0.2)
    async with provider_of(FastRuntime(b"last", None), tmp_path) as provider:
        program = await opened(provider, "web-1", "x")
        ended = await program.ended()

    assert program.output == b"last"
    assert ended == Exit(None, "HUP")
