"""``pytest --vibehq`` proves notebooks, in a pytest of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ROOT = Path(__file__).parent.parent.parent
QUICKSTART = ROOT / "notebooks" / "quickstart.ipynb"
SANITIZE = ROOT / "notebooks" / "sanitize.cfg"


def prepared(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a pytest in *folder*."""
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
    return [sys.executable, "-m", "pytest", "-c", "pytest.ini", *plugins], env


def run_pytest(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command, env = prepared(folder)
    return subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def start_pytest(folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    command, env = prepared(folder)
    return subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


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


def test_notebooks_run_as_the_same_person_everywhere_and_find_the_data_folder(
    tmp_path: Path,
) -> None:
    path = write_notebook(
        tmp_path / "who.ipynb",
        "import os, vibehq_nb\n"
        "found = 'endpoint.json' in os.listdir(os.environ['VIBEHQ_DATA'])\n"
        "print(vibehq_nb.connect().me.user, found)",
        "ana True\n",
    )

    done = run_pytest(tmp_path, "--nbval", "--vibehq", str(path))

    assert done.returncode == 0, done.stdout[-5000:]


def test_without_podman_what_needs_a_container_is_skipped_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("share_a_terminal.ipynb", "other.ipynb"):
        write_notebook(tmp_path / name, "print(1)", "1\n")
    monkeypatch.setenv("PATH", str(tmp_path))

    done = run_pytest(tmp_path, "-rs", "-p", "tests.runbooks", "--nbval", ".")

    assert done.returncode == 0, done.stdout[-5000:]
    assert "1 passed, 1 skipped" in done.stdout
    assert "needs a package: podman" in done.stdout


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


def test_without_rules_every_request_is_rejected_at_once(tmp_path: Path) -> None:
    write_notebook(
        tmp_path / "gate.ipynb",
        GATE.replace("COMMAND", "restart web-1"),
        "pytest rejected \"Do it?\": no rule approves 'restart web-1': "
        "add --vibehq-approve 'bob:restart web-1'\n",
    )

    done = run_pytest(tmp_path, "--nbval", "--vibehq", ".")

    assert done.returncode == 0, done.stdout[-5000:]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_pytest_that_is_ended_leaves_no_process_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "test_long.py"
    path.write_text(
        "import pathlib, threading, vibehq_nb\n"
        "def test_long():\n"
        "    vibehq_nb.connect().terminal().send('sleep 1000\\r')\n"
        "    pathlib.Path('ready').touch()\n"
        "    threading.Event().wait()\n"
    )
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    running = start_pytest(tmp_path, "--vibehq", str(path))
    try:
        wait_for((tmp_path / "ready").exists)
        started = psutil.Process(running.pid).children(recursive=True)
        assert len(started) >= 4  # server, worker, guard and who answers

        running.send_signal(number)
        code = running.wait(30)

        wait_for(lambda: not any(is_alive(process) for process in started))
        wait_for(lambda: not list(temporary.glob("vibehq-test-*")))
    finally:
        running.kill()
        running.wait()
    assert code == (143 if number == signal.SIGTERM else -number)


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


RUNBOOK = """
import vibehq_nb
term = vibehq_nb.connect().terminal()
result = term.run("printf 'one\\\\ntwo\\\\n'; (exit 3)", check=False)
print(repr(result), result.lines)
print(term.run("cd /usr").ok, term.run("pwd"))
ran = term.commands()[["command", "exit_code", "cwd", "state"]]
print(ran.tail(1).to_dict("records"))
"""

RAN = """\
<command "printf 'one\\\\ntwo\\\\n'; (exit 3)" exited 3> ['one', 'two']
True /usr
[{'command': 'pwd', 'exit_code': 0, 'cwd': '/usr', 'state': 'ended'}]
"""


def test_t16_a_runbook_cell_runs_a_command_in_a_shared_terminal(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "runbook.ipynb", RUNBOOK, RAN)

    done = run_pytest(tmp_path, "--nbval", "--vibehq", str(path))

    assert done.returncode == 0, done.stdout[-5000:]
