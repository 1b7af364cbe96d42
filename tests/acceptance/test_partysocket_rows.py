"""
What PartyServer promises, checked with the npm client its deployments use.

The server is ``vibehq serve`` with rooms a user would write; the client is a stock
``partysocket`` in Node. One Node process a script makes all its checks; each is a test
here. ``row-NN`` is the capability's number in the comparison with PartyServer.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).with_name("partysocket_rows")
MODULES = ROOT / "vibehq_nb" / "js" / "node_modules"
NAMES = ("addresses", "connections", "client")


def _claims(script: str) -> list[str]:
    text = (SCRIPTS / f"{script}.mjs").read_text()
    return re.findall(r'^  "(row-\d\d-[a-z0-9-]+)":', text, re.MULTILINE)


CHECKS = [(script, claim) for script in NAMES for claim in _claims(script)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the rooms under test, started as a user starts it."""
    folder = tmp_path_factory.mktemp("server")
    data = folder / "data"
    command = ["serve", "--rooms", "rooms_under_test:ROOMS", "--port", "0"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "vibehq_server.cli", *command, "--data", str(data)],
            cwd=ROOT / "tests",
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=log,
            stderr=log,
        )
    try:
        yield _address(process, data / "endpoint.json", folder / "log")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0


def _address(process: "subprocess.Popen[bytes]", endpoint: Path, log: Path) -> str:
    deadline = time.monotonic() + 20
    while not endpoint.is_file():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    return str(json.loads(endpoint.read_text())["url"])


@pytest.fixture(scope="module")
def verdicts(url: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that runs a script once and returns what it found."""
    node = shutil.which("node")
    if node is None or not (MODULES / "partysocket").is_dir():
        pytest.skip("needs a package: node with npm's partysocket")
    # Node looks for packages beside the script.
    folder = tmp_path_factory.mktemp("node") / "rows"
    shutil.copytree(SCRIPTS, folder)
    (folder / "node_modules").symlink_to(MODULES)

    @cache
    def run(script: str) -> dict[str, dict[str, Any]]:
        done = subprocess.run(
            [node, str(folder / f"{script}.mjs"), url],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, dict[str, Any]] = json.loads(done.stdout)
        return found

    return run


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(("script", "claim"), CHECKS, ids=[c for _, c in CHECKS])
def test_a_stock_partysocket_finds(verdicts: Any, script: str, claim: str) -> None:
    verdict = verdicts(script)[claim]

    assert verdict["ok"], verdict["detail"]
