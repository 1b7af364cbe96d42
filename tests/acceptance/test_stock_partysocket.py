"""The npm client that PartyServer deployments use, unchanged, against our server."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.testing import ThrowAwayServer

JS = Path(__file__).parents[2] / "vibehq_nb" / "js"
SCRIPT = Path(__file__).with_name("stock_partysocket.mjs")


@pytest.mark.slow
def test_a_stock_partysocket_reads_a_terminal_and_types_into_it(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not (JS / "node_modules" / "partysocket").is_dir():
        pytest.skip("needs a package: node with npm's partysocket")
    # Node looks for packages beside the script.
    script = tmp_path / SCRIPT.name
    script.write_text(SCRIPT.read_text())
    (tmp_path / "node_modules").symlink_to(JS / "node_modules")
    with ThrowAwayServer() as server:
        api = HttpApi(Server(server.url, server.token))
        terminal = api.request("POST", "/api/terminals", {"target": "local"})["id"]
        done = subprocess.run(
            [node, str(script), server.url, server.token, terminal],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    assert done.stderr == ""
    seen = json.loads(done.stdout)
    assert done.returncode == 0, seen
    assert seen["first"] == "connected"
    assert seen["resumes"] == ["fresh", "fresh"]
    assert seen["opens"] == 2
