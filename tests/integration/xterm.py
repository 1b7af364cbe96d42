"""xterm.js as the second judge of keyframes: one Node process that is fed batches."""

import json
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

JS = Path(__file__).parents[2] / "vibehq_nb" / "js"
SCRIPT = Path(__file__).with_name("xterm_states.mjs")

State = dict[str, Any]


class Xterm:
    """Feeds fresh terminals of @xterm/headless and tells what they hold."""

    def __init__(self, folder: Path) -> None:
        """Begin a Node process; its packages are looked for beside the script."""
        node = shutil.which("node")
        if node is None or not (JS / "node_modules" / "@xterm" / "headless").is_dir():
            pytest.skip("needs a package: node with npm's @xterm/headless")
        script = folder / SCRIPT.name
        script.write_text(SCRIPT.read_text())
        (folder / "node_modules").symlink_to(JS / "node_modules")
        self._node = subprocess.Popen(
            [node, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def states(
        self, cases: Sequence[Sequence[bytes]], cols: int, rows: int
    ) -> list[list[State]]:
        """Write each case's pieces to a fresh terminal; its state after each piece."""
        request = {
            "cols": cols,
            "rows": rows,
            "cases": [[b64encode(piece).decode() for piece in case] for case in cases],
        }
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(json.dumps(request) + "\n")
        self._node.stdin.flush()
        answer: list[list[State]] = json.loads(self._node.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        self._node.communicate(timeout=10)
