"""``?mode=raw`` with the real @xterm/addon-attach on @xterm/headless in Node."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vibehq_nb.testing import ThrowAwayServer

MODULES = Path(__file__).parents[2] / "vibehq_nb" / "js" / "node_modules"
SCRIPT = Path(__file__).with_name("xterm_attach.mjs")
CHECKS = re.findall(r'^  "([a-zA-Z-]+)": async', SCRIPT.read_text(), re.MULTILINE)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    node = shutil.which("node")
    if node is None or not (MODULES / "@xterm" / "addon-attach").is_dir():
        pytest.skip("needs a package: node with npm's @xterm/addon-attach")
    # Node looks for packages beside the script.
    folder = tmp_path_factory.mktemp("xterm")
    script = folder / SCRIPT.name
    script.write_text(SCRIPT.read_text())
    (folder / "node_modules").symlink_to(MODULES)
    with ThrowAwayServer() as server:
        tokens = [server.grant(user, ["viewer", "operator"]) for user in ("ana", "bob")]
        done = subprocess.run(
            [node, str(script), server.url, *tokens],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("check", CHECKS)
def test_the_attach_addon_in_raw_mode(verdicts: dict[str, str], check: str) -> None:
    assert verdicts[check] == ""
