"""
Run the notebooks in place, so that their outputs are what really happens.

    python scripts/make_notebooks.py [notebooks/quickstart.ipynb …]

Each runs against a throw-away server where bob answers. What would differ from run to
run or tell of this machine is left out; a notebook with a secret in it is not written.
"""

import argparse
import getpass
import os
import re
import socket
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests import runbooks
from tests.containers import what_is_missing
from vibehq_nb.pytest_plugin import USER
from vibehq_nb.testing import ThrowAwayServer

FOLDER = Path(__file__).parent.parent / "notebooks"
RULES = ["bob:restart *"]
MAX_BYTES = 100_000
CELL_SECONDS = 120
WIDGET = "application/vnd.jupyter.widget-view+json"
SECRET = re.compile(r"vhq_[a-z]_|Bearer [\w.-]{8}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is named, or all there are; return 1 if one cannot be kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path)
    chosen = parser.parse_args(arguments).notebooks
    paths = chosen or sorted(
        path
        for path in FOLDER.rglob("*.ipynb")
        if ".ipynb_checkpoints" not in path.parts
    )
    return max([make(path) for path in paths], default=0)


def make(path: Path) -> int:
    """Run one notebook in place; return 1 if its outputs cannot be kept."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    with container_for(path), ThrowAwayServer(user=USER) as server:
        server.answer_with(RULES)
        found = server.environment()
        run(notebook, path.parent, found)
    clean(notebook)
    text = nbformat.writes(notebook) + "\n"  # type: ignore[no-untyped-call]
    problems = find_problems(text, [found["VIBEHQ_TOKEN"]])
    for problem in problems:
        print(f"{path}: {problem}", file=sys.stderr)
    if problems:
        return 1
    path.write_text(text, encoding="utf-8")
    print(f"{path}: {len(text) / 1000:.0f} kB")
    return 0


def container_for(path: Path) -> AbstractContextManager[None]:
    """Return what runs the container that the notebook needs, if it needs one."""
    if path.name not in runbooks.NEED_IT:
        return nullcontext()
    if missing := what_is_missing():
        raise SystemExit(f"{path} cannot be run here: it {missing}")
    return runbooks.container()


def run(notebook: Any, folder: Path, environment: dict[str, str]) -> None:
    """Execute every cell; outputs go into *notebook*."""
    NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    ).execute(env={**os.environ, **environment})


def clean(notebook: Any) -> None:
    """Leave out what no reader has: live widgets' ids, versions of this machine."""
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)


def find_problems(text: str, secrets: Sequence[str]) -> list[str]:
    """Return one sentence for each thing that must not be in a notebook."""
    problems = []
    if len(text) >= MAX_BYTES:
        problems.append(f"{len(text)} bytes are too many, the limit is {MAX_BYTES}")
    if SECRET.search(text) or any(secret in text for secret in secrets):
        problems.append("there is a secret in it")
    personal = {str(Path.home()), socket.gethostname(), f"{getpass.getuser()}@"}
    problems += [
        f"it tells of this machine: {word}" for word in personal if word_in(word, text)
    ]
    return problems


def word_in(word: str, text: str) -> bool:
    """Tell whether *word* stands in *text*, not as a part of a longer one."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


if __name__ == "__main__":
    sys.exit(main())
