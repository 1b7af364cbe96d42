"""``vibehq lab``: JupyterLab on a copy of the shipped notebooks."""

import argparse
import importlib.util
import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path

from vibehq_nb.core.errors import UsageError
from vibehq_server.cli.output import complain, say
from vibehq_server.settings import StartError

FOLDER = "vibehq-tour"
FIRST = "quickstart.ipynb"


def lab(arguments: argparse.Namespace) -> int:
    """Copy what is missing, then become JupyterLab."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise UsageError('JupyterLab is missing: pip install "vibehq-nb[lab]"')
    command = [sys.executable, "-m", "jupyter", "lab"]
    if arguments.port is not None:
        check_port(arguments.port, arguments.after)
        command.append(f"--ServerApp.port={arguments.port}")
        command.append("--ServerApp.port_retries=0")
    folder = Path(arguments.dir).expanduser().absolute() / FOLDER
    copied = copy_tour(shipped_notebooks(), folder)
    trust(path for path in copied if path.suffix == ".ipynb")
    say(f"{folder}: {len(copied)} files copied; what was there is left as it is.")
    os.chdir(folder)
    if (folder / FIRST).exists():
        # The address that is printed leads there too, not just the opened browser.
        command.append(f"--LabApp.default_url=/lab/tree/{FIRST}")
    if arguments.no_browser or not has_screen():
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # Jupyter asks root to say it twice; a container knows no other user.
        command.append("--allow-root")
    command += arguments.after
    sys.stdout.flush()
    os.execv(sys.executable, command)


def check_port(port: int, words: Sequence[str] = ()) -> None:
    """
    Refuse a port that JupyterLab could not listen on.

    Args:
        port: The port.
        words: What else JupyterLab is given; an address there is its own business.

    Raises:
        UsageError: If it is no port, or taken.
    """
    if not 0 <= port <= 65535:
        raise UsageError("--port is a number from 0 to 65535")
    if any(word.startswith(("--ip", "--ServerApp.ip")) for word in words):
        return
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError as error:
        raise UsageError(
            f"port {port} cannot be used ({error.strerror}): give another --port, or "
            "none for the next free one"
        ) from None


def trust(notebooks: Iterable[Path]) -> None:
    """Sign *notebooks*, which are ours, so that what they display comes back."""
    import nbformat
    from nbformat.sign import NotebookNotary

    try:
        notary = NotebookNotary()  # type: ignore[no-untyped-call]
        for path in notebooks:
            notebook = nbformat.read(path, 4)  # type: ignore[no-untyped-call]
            notary.sign(notebook)  # type: ignore[no-untyped-call]
    except (OSError, sqlite3.Error, ValueError) as error:
        complain(f"the notebooks are not trusted ({error}): jupyter trust *.ipynb")


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


def copy_tour(source: Path, target: Path) -> list[Path]:
    """Copy the files that are not there yet; return those copied."""
    copied = []
    for path in _files(source):
        place = target / path.relative_to(source)
        if place.exists() or place.is_symlink():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        copied.append(place)
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
