"""Committed notebooks are small, stable and hold nothing of anybody's machine."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent.parent.parent / "notebooks"
NOTEBOOKS = sorted(
    path for path in FOLDER.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
)
NAMES = [str(path.relative_to(FOLDER)) for path in NOTEBOOKS]


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_there_is_a_quickstart() -> None:
    assert "quickstart.ipynb" in NAMES


def links(path: Path) -> set[Path]:
    """The notebooks that one links to, as its own folder has them."""
    cells = [cell for cell in read(path)["cells"] if cell["cell_type"] == "markdown"]
    texts = ("".join(cell["source"]) for cell in cells)
    found = [name for text in texts for name in re.findall(r"\]\(([^)]+)\)", text)]
    return {path.parent.joinpath(name).resolve() for name in found if ":" not in name}


def test_the_quickstart_leads_to_every_other_notebook() -> None:
    first = FOLDER / "quickstart.ipynb"

    assert links(first) >= {path.resolve() for path in NOTEBOOKS} - {first.resolve()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_its_links_lead_somewhere(path: Path) -> None:
    assert [str(link) for link in links(path) if not link.is_file()] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_it_is_small_and_stores_no_widgets(path: Path) -> None:
    notebook = read(path)

    assert path.stat().st_size < 100_000
    assert "widgets" not in notebook["metadata"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "widget-view" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_its_cells_have_names_for_ids(path: Path) -> None:
    """A random id changes at every rewrite; a name does not."""
    ids = [cell["id"] for cell in read(path)["cells"]]

    assert len(set(ids)) == len(ids)
    assert not [name for name in ids if not re.fullmatch(r"[a-z][a-z0-9-]*", name)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_every_code_cell_was_run_and_none_failed(path: Path) -> None:
    cells = [cell for cell in read(path)["cells"] if cell["cell_type"] == "code"]

    assert all(cell["execution_count"] for cell in cells)
    kinds = {out["output_type"] for cell in cells for out in cell["outputs"]}
    assert "error" not in kinds


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_it_holds_no_secret_and_no_home(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert not re.search(r"vhq_[a-z]_\w{8}|Bearer [\w.-]{8}|[?&]token=", text)
    assert not re.search(r"/(?:home|root|Users)/", text)
