"""``pytest --vibehq`` proves notebooks, in a pytest of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ROOT = Path(__file__).parent.parent.parent
QUICKSTART = ROOT / "notebooks" / "quickstart.ipynb"
SANITIZE = ROOT / "notebooks" / "sanitize.cfg"


def run_pytest(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("VIBEHQ_", "PYTEST_"))
    }
    paths = [str(ROOT), str(ROOT / "server"), env.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(paths)
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # half of the time otherwise
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    plugins = ["-p", "nbval.plugin", "-p", "vibehq_nb.pytest_plugin"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "pytest.ini", *plugins, *arguments],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def write_notebook(path: Path, source: str, printed: str) -> Path:
    cell = {
        "cell_type": "code",
        "execution_count": 1,
        "id": "cell",
        "metadata": {},
        "outputs": [{"output_type": "stream", "name": "stdout", "text": printed}],
        "source": source,
    }
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook))
    return path


GATE = """
import vibehq_nb
from IPython.utils.capture import capture_output
from vibehq_nb.client.errors import RejectedError

task = vibehq_nb.connect().task("gate")
with capture_output():
    try:
        said = task.confirm("Do it?", {"command": "COMMAND"})
    except RejectedError as error:
        said = error
print(said)
"""


def test_the_quickstart_does_what_it_says(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        "--nbval",
        "--vibehq",
        "--vibehq-approve=bob:restart *",
        f"--nbval-sanitize-with={SANITIZE}",
        str(QUICKSTART),
    )

    assert done.returncode == 0, done.stdout[-5000:]
    assert "a throw-away server runs" in done.stdout


def test_a_notebook_whose_output_has_changed_fails(tmp_path: Path) -> None:
    path = write_notebook(
        tmp_path / "changed.ipynb",
        "import vibehq_nb\n"
        "print(vibehq_nb.connect().terminal().run('echo new').output)",
        "old\n",
    )

    done = run_pytest(tmp_path, "--nbval", "--vibehq", str(path))

    assert done.returncode == 1, done.stdout[-5000:]
    assert "Cell outputs differ" in done.stdout


def test_what_no_rule_matches_is_rejected_and_the_rule_is_named(tmp_path: Path) -> None:
    write_notebook(
        tmp_path / "approved.ipynb",
        GATE.replace("COMMAND", "restart web-1"),
        "<decision: approved by bob>\n",
    )
    write_notebook(
        tmp_path / "rejected.ipynb",
        GATE.replace("COMMAND", "drop db"),
        "bob rejected \"Do it?\": no rule approves 'drop db': "
        "add --vibehq-approve 'bob:drop db'\n",
    )

    done = run_pytest(
        tmp_path, "--nbval", "--vibehq", "--vibehq-approve", "bob:restart *", "."
    )

    assert done.returncode == 0, done.stdout[-5000:]


def test_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "test_env.py"
    path.write_text(
        "import os\n"
        "def test_env():\n"
        "    assert os.environ['VIBEHQ_URL']\n"
        "    import vibehq_nb\n"
        "    vibehq_nb.connect().terminal().send('sleep 1000\\r')\n"
    )
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))

    done = run_pytest(tmp_path, "--vibehq", str(path))

    assert done.returncode == 0, done.stdout[-5000:]
    left = [p.name for p in temporary.iterdir() if p.name.startswith("vibehq")]
    assert left == []


def test_without_the_option_nothing_of_ours_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "test_bare.py"
    path.write_text(
        "import os, sys\n"
        "def test_bare():\n"
        "    assert 'VIBEHQ_URL' not in os.environ\n"
        "    ours = {n for n in sys.modules if n.startswith('vibehq')}\n"
        "    assert ours <= {'vibehq_nb', 'vibehq_nb.pytest_plugin'}\n"
        "    assert 'websockets' not in sys.modules\n"
    )

    done = run_pytest(tmp_path, str(path))

    assert done.returncode == 0, done.stdout[-5000:]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--vibehq-approve", "bob:x"], "--vibehq-approve needs --vibehq"),
        (["--vibehq", "--vibehq-approve", "nonsense"], "is no rule"),
    ],
)
def test_a_wrong_option_is_said_in_one_line(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = run_pytest(tmp_path, *arguments)

    assert done.returncode == 4
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
