"""The README's example runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vibehq_nb.testing import ThrowAwayServer

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
