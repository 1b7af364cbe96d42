"""What goes into a build, without building: the hook, the locks, the settings."""

import json
import os
import re
from pathlib import Path

import pytest

import hatch_build
from hatch_build import NODE_FROM_PYPI, BuildHook, FrontEnd, FrontEndError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with front-end sources and nothing built."""
    source = tmp_path / "vibehq_nb" / "js" / "src" / "index.ts"
    source.parent.mkdir(parents=True)
    source.write_text("export const answer = 42;\n")
    (tmp_path / "vibehq_nb" / "js" / "package.json").write_text("{}\n")
    return tmp_path


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Node and an npm, alone on PATH; `npm run` writes the bundle."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder / "node", "echo v22.1.0")
    program(
        folder / "npm",
        'if [ "$1" = run ]; then /bin/mkdir -p ../static; : > ../static/vibehq.js; fi',
    )
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "none"))
    return folder


def program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def hook(root: Path) -> BuildHook:
    return BuildHook(str(root), {}, None, None, "", "wheel")  # type: ignore[arg-type]


@pytest.mark.usefixtures("npm")
def test_a_build_is_done_once_and_again_when_a_source_changes(clone: Path) -> None:
    front_end = FrontEnd(clone)
    assert not front_end.is_built()

    front_end.build()
    assert front_end.is_built()

    (front_end.sources / "src" / "index.ts").write_text("export const answer = 43;\n")
    assert not front_end.is_built()


@pytest.mark.usefixtures("npm")
def test_times_do_not_decide_for_an_sdist_does_not_keep_them(clone: Path) -> None:
    front_end = FrontEnd(clone)
    front_end.build()

    os.utime(front_end.sources / "src" / "index.ts", (2**32, 2**32))

    assert front_end.is_built()


@pytest.mark.usefixtures("npm")
def test_node_is_not_asked_for_where_the_system_has_it(clone: Path) -> None:
    assert hook(clone).dependencies() == []


def test_node_is_asked_for_where_the_system_has_none(clone: Path, npm: Path) -> None:
    (npm / "node").unlink()

    assert hook(clone).dependencies() == [NODE_FROM_PYPI]


def test_a_node_that_is_too_old_counts_as_none(clone: Path, npm: Path) -> None:
    program(npm / "node", "echo v12.22.0")

    assert hook(clone).dependencies() == [NODE_FROM_PYPI]


def test_node_is_not_asked_for_when_all_is_built(clone: Path, npm: Path) -> None:
    FrontEnd(clone).build()
    (npm / "node").unlink()

    assert hook(clone).dependencies() == []


def test_without_node_one_sentence_says_what_to_do(clone: Path, npm: Path) -> None:
    (npm / "node").unlink()

    with pytest.raises(FrontEndError) as caught:
        FrontEnd(clone).build()

    assert str(caught.value).count("\n") == 0
    assert f'pip install "{NODE_FROM_PYPI}"' in str(caught.value)


def test_a_failed_build_is_not_taken_for_a_built_one(clone: Path, npm: Path) -> None:
    program(npm / "npm", "echo no network >&2; exit 1")
    front_end = FrontEnd(clone)

    with pytest.raises(FrontEndError, match='"npm ci" failed'):
        front_end.build()

    assert not front_end.is_built()


def test_checkpoints_and_data_do_not_ship_with_the_notebooks(tmp_path: Path) -> None:
    for name in ("tour/01.ipynb", ".ipynb_checkpoints/x.ipynb", "own.csv"):
        path = tmp_path / "notebooks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    shipped = hatch_build.shipped_notebooks(tmp_path)

    assert list(shipped.values()) == ["vibehq_nb/notebooks/tour/01.ipynb"]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-node.lock"])
def test_a_lock_has_a_hash_for_each_package_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text()

    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
    packages = re.findall(r"^\w(?:.*\\\n)*.*", text, re.MULTILINE)
    assert packages
    assert [line for line in packages if "--hash=sha256:" not in line] == []


def test_the_front_ends_lock_holds_no_address() -> None:
    lock = json.loads((ROOT / "vibehq_nb" / "js" / "package-lock.json").read_text())

    assert [
        name for name, entry in lock["packages"].items() if "resolved" in entry
    ] == []


def test_the_extension_is_enabled_by_its_settings_file() -> None:
    folder = ROOT / "server" / "jupyter-config" / "jupyter_server_config.d"

    settings = json.loads((folder / "vibehq.json").read_text())

    assert settings == {"ServerApp": {"jpserver_extensions": {"vibehq_server": True}}}


def test_ci_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "make test"
