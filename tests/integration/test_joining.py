"""Somebody who comes later: a real server, a real worker, real programs."""

import asyncio
import itertools
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.recordings import sample
from tests.integration.viewers import Viewer, watching
from tests.integration.worker_rooms import until
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.testing import ThrowAwayServer

pytestmark = pytest.mark.timeout(60)

COLS, ROWS = 80, 24
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[ThrowAwayServer]:
    with ThrowAwayServer() as running:
        yield running


def opened(server: ThrowAwayServer, *command: str) -> str:
    """Open a terminal of its own that runs *command*, or a shell; return its id."""
    api = HttpApi(Server(server.url, server.token))
    asked = {"target": "local", "name": f"t{next(NUMBERS)}"}
    started = asked | ({"command": list(command)} if command else {})
    return str(api.request("POST", "/api/terminals", started)["id"])


async def quiet(viewer: Viewer) -> None:
    """Await some output and then none: the program waits for a key."""
    await until(lambda: viewer.output)
    before = -1
    while viewer.offset != before:
        before = viewer.offset
        await asyncio.sleep(0.2)


def seen(viewer: Viewer) -> tuple[str, tuple[int, int]]:
    screen = viewer.screen
    return screen.text(), screen.cursor


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        (("vim", "-u", "NONE", "sample.txt"), (b"40G", b":split\r", b"ihello")),
        (("htop", "-d", "100"), (b"t", b"\x1b[B")),
    ],
    ids=["vim", "htop"],
)
async def test_t4_a_joiner_sees_the_screen_at_once_for_one_screens_bytes(
    server: ThrowAwayServer,
    command: tuple[str, ...],
    keys: tuple[bytes, ...],
    tmp_path: Path,
) -> None:
    if not shutil.which(command[0]):
        pytest.skip(f"needs a package: {command[0]}")
    (tmp_path / "sample.txt").write_text(sample())
    terminal = opened(server)
    async with watching(server, terminal) as first:
        await until(lambda: first.offset >= 0)
        await first.type(b"cd %s; %s\r" % (bytes(tmp_path), " ".join(command).encode()))
        for key in keys:
            await quiet(first)
            await first.type(key)
        await quiet(first)

        async with watching(server, terminal) as joiner:
            await until(lambda: joiner.offset >= first.offset)
            await until(lambda: joiner.offset == first.offset)

            assert seen(joiner) == seen(first)
            assert first.screen._is_alternate
            bytes_shown = len(joiner.keyframe)
            sys.stdout.write(f"{command[0]}: {bytes_shown} of {first.offset} bytes\n")
            assert bytes_shown < COLS * ROWS * 4
            assert not joiner.output


async def test_t4_who_joins_a_flood_gets_every_byte_once(
    server: ThrowAwayServer,
) -> None:
    terminal = opened(server)
    async with watching(server, terminal) as first:
        await until(lambda: first.offset >= 0)
        await first.type(b"seq 400000; echo the-$((40+2))-end\r")
        await until(lambda: b"\r\n9999\r\n" in first.output)
        async with watching(server, terminal) as joiner:
            for viewer in (first, joiner):
                await until(lambda one=viewer: b"the-42-end" in one.output, 40)
            await until(lambda: joiner.offset == first.offset)

            assert first.start < joiner.start < first.offset - 100_000
            assert joiner.output == first.output[joiner.start - first.start :]
            assert seen(joiner) == seen(first)


async def test_without_the_library_a_joiner_gets_a_tail_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "pyghostty"
    blocked.mkdir()
    (blocked / "__init__.py").write_text("raise ImportError('not for this platform')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    with ThrowAwayServer() as server:
        terminal = opened(server)
        async with watching(server, terminal) as first:
            await until(lambda: first.offset >= 0)
            line = "漢字😀" * 10
            await first.type(
                f"for n in {{1..3000}}; do echo $n {line}; done\r".encode()
            )
            await first.type(b"echo the-$((40+2))-end\r")
            await until(lambda: b"the-42-end\r\n" in first.output, 30)
            await quiet(first)
            async with watching(server, terminal) as joiner:
                await until(lambda: joiner.offset == first.offset)

                assert first.connected["screen"] == "tail"
                assert joiner.connected["screen"] == "tail"
                assert seen(joiner) == seen(first)
                # Cut neither in a character nor in a line.
                lines = bytes(joiner.keyframe).removeprefix(b"\x1bc").decode().split()
                assert 64_000 < len(joiner.keyframe) < 131_100
                assert lines[0].isdigit()
