"""What ``docs/party-socket.md`` shows runs, and what it lists is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vibehq_nb.client.socket_options import PartyOptions
from vibehq_nb.testing import ThrowAwayServer

PAGE = Path(__file__).parents[2] / "docs" / "party-socket.md"


def example() -> str:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.timeout(60)
def test_the_example_runs_and_is_short() -> None:
    with ThrowAwayServer() as server:
        done = subprocess.run(
            [sys.executable, "-c", example()],
            env={**os.environ, **server.environment()},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    assert '"name":"deploy"' in done.stdout
    assert len([line for line in example().splitlines() if line]) <= 13


def test_every_option_is_in_the_table() -> None:
    text = PAGE.read_text()

    assert [name for name in PartyOptions.__annotations__ if name not in text] == []
