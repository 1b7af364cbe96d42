"""Rules that hold for the project as a whole."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from vibehq_nb.core.messages import MESSAGE_TYPES

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "data" / "wire"
MOST_LINES = 320

LAB_ONLY = ("IPython", "anywidget", "ipykernel", "ipywidgets", "jupyter", "pandas")
COMPOSED = ("vibehq_nb.client", "vibehq_nb.ops", "vibehq_nb.worker")


def modules() -> Iterator[Path]:
    yield from (ROOT / "vibehq_nb").rglob("*.py")
    yield from (ROOT / "server" / "vibehq_server").rglob("*.py")


def loaded_by(statement: str) -> set[str]:
    """The modules a new interpreter has loaded after `statement`."""
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.timeout(60)
def test_imports_run_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")

    done = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_is_longer_than_a_reader_holds() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines())
        for path in modules()
        if "node_modules" not in path.parts
    }

    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}


def test_every_message_has_a_golden_file_and_every_file_a_message() -> None:
    names = {path.stem for path in GOLDEN.glob("*.json")}

    assert names == set(MESSAGE_TYPES)


@pytest.mark.parametrize(
    "module",
    ["vibehq_nb", "vibehq_nb.worker", "vibehq_nb.ops", "vibehq_server.app"],
)
def test_the_base_install_imports_nothing_of_the_lab(module: str) -> None:
    loaded = loaded_by(f"import {module}")

    assert sorted(name for name in loaded if name.startswith(LAB_ONLY)) == []


@pytest.mark.parametrize("module", ["vibehq_server.cli", "vibehq_server.extension"])
def test_what_composes_reaches_the_library_lazily(module: str) -> None:
    loaded = loaded_by(f"import {module}")

    assert sorted(name for name in loaded if name.startswith(COMPOSED)) == []


def test_there_is_no_top_level_module_called_server() -> None:
    spec = find_spec("server")

    assert spec is None or spec.origin is None, "`server/` is a source root only"
