"""``vibehq lab``: JupyterLab on a copy of the shipped notebooks."""

import argparse
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from vibehq_nb.core.errors import UsageError
from vibehq_server.cli.output import say
from vibehq_server.settings import StartError

FOLDER = "vibehq-tour"
FIRST = "quickstart.ipynb"


def lab(arguments: argparse.Namespace) -> int:
    """Copy what is missing, then become JupyterLab."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise UsageError('JupyterLab is missing: pip install "vibehq-nb[lab]"')
    folder = Path(arguments.dir).expanduser().absolute() / FOLDER
    copied = copy_tour(shipped_notebooks(), folder)
    say(f"{folder}: {copied} files copied; what was there is left as it is.")
    os.chdir(folder)
    command = [sys.executable, "-m", "jupyter", "lab"]
    if (folder / FIRST).exists():
        command.append(FIRST)
    if arguments.port is not None:
        command.append(f"--ServerApp.port={arguments.port}")
    if arguments.no_browser or not has_screen():
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # Jupyter asks root to say it twice; a container knows no other user.
        command.append("--allow-root")
    command += arguments.after
    sys.stdout.flush()
    os.execv(sys.executable, command)


def has_screen() -> bool:
    """Tell whether a browser opened here would be seen."""
    if sys.platform == "darwin":
        return "SSH_CONNECTION" not in os.environ
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def shipped_notebooks() -> Path:
    """
    Return where the notebooks lie: in the package, else in the source tree.

    Raises:
        StartError: If they are in neither.
    """
    package = Path(str(resources.files("vibehq_nb")))
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if folder.is_dir():
            return folder
    raise StartError("the notebooks are not in this installation; reinstall vibehq-nb")


def copy_tour(source: Path, target: Path) -> int:
    """Copy the files that are not there yet; return how many."""
    copied = 0
    for path in _files(source):
        place = target / path.relative_to(source)
        if place.exists() or place.is_symlink():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        copied += 1
    target.mkdir(parents=True, exist_ok=True)
    return copied


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith((".", "__")) for part in path.parts)
        is_hidden = hidden and not any(
            part.startswith((".", "__")) for part in folder.parts
        )
        if path.is_file() and not is_hidden:
            yield path
