"""The README's example runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from vibehq_nb.testing import ThrowAwayServer
from vibehq_server.testing import as_user, serve_rooms

README = Path(__file__).parent.parent.parent / "README.md"


def example() -> str:
    found = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.timeout(60)
def test_the_example_runs_and_is_short() -> None:
    with ThrowAwayServer() as server:
        server.answer_with(["bob:restart *"])
        done = subprocess.run(
            [sys.executable, "-c", example()],
            env={**os.environ, **server.environment()},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 Filesystem")
    assert "restarting web-1" in done.stdout
    assert len(example().splitlines()) <= 14


def test_the_security_line_comes_before_the_features() -> None:
    text = README.read_text()

    assert text.index("not against the author of a notebook") < text.index("## What")


def test_the_test_command_is_one_word() -> None:
    assert re.search(r"^make test\b", README.read_text(), re.MULTILINE)


async def test_the_room_in_the_readme_keeps_and_tells_its_menu() -> None:
    [_, code] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    module: dict[str, Any] = {}
    exec(code, module)
    as_ana = as_user("ana", "operator")

    async with serve_rooms(module["ROOMS"]) as url:
        address = f"{url.replace('http', 'ws')}/parties/lunch/today"
        async with (
            connect(address, additional_headers=as_ana, proxy=None) as one,
            connect(address, additional_headers=as_ana, proxy=None) as two,
        ):
            first = await one.recv()
            await two.send("soup")
            told = await one.recv()

    assert (first, told) == ("nothing yet", "soup")
