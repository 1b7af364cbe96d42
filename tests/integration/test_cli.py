"""The command line, run as its users run it, against a real server."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_app import Process
from vibehq_nb.core.errors import UsageError
from vibehq_server.cli.approval import full_id
from vibehq_server.cli.grant import decode_ttl
from vibehq_server.cli.lab import copy_tour
from vibehq_server.cli.output import plain


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address and data folder of a server without workers."""
    data = tmp_path_factory.mktemp("cli") / "data"
    running = Process(data)
    yield running.url, data
    running.end()


def run(
    *words: str, home: Path, given: str = "", **environment: str
) -> "subprocess.CompletedProcess[str]":
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "VIBEHQ_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "vibehq_server.cli", *words],
        env=kept | {"HOME": str(home)} | environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["scna"], "Did you mean scan?"),
        (["terminal", "lst"], "Did you mean list?"),
        (["serve", "--alowed-host", "x"], "Did you mean --allowed-host?"),
        (["scan", "--fail-on", "hihg"], "Did you mean high?"),
        (["grant", "create", "bob"], "--role"),
        (["grant", "create", "bob", "--role", "viewer", "--ttl", "soon"], "30m"),
        (["login", "hq.example.com"], "no server address"),
        (["room", "ls", "--data", "/nowhere"], "no server in /nowhere"),
    ],
)
def test_a_wrong_word_exits_2_with_one_line_and_a_hint(
    words: list[str], hint: str, home: Path
) -> None:
    done = run(*words, home=home)
    assert done.returncode == 2, done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_every_command_has_help_with_an_example(home: Path) -> None:
    from vibehq_server.cli.completion import words
    from vibehq_server.cli.parser import Parser
    from vibehq_server.cli.tree import build_parser

    def leaves(parser: Parser) -> Iterator[Parser]:
        for below in parser.commands().values():
            if below.commands():
                yield from leaves(below)
            else:
                yield below

    root = build_parser()
    for leaf in leaves(root):
        text = leaf.format_help()
        assert "example:\n  vibehq" in text, leaf.prog
    paths = [path for path, _ in words(root)]
    assert "terminal ls" in paths


def test_the_command_line_starts_without_heavy_imports(home: Path) -> None:
    code = (
        "import sys, vibehq_server.cli as c\n"
        "try: c.main(['--version'])\nexcept SystemExit: pass\n"
        "heavy = {'jupyter_server', 'pandas', 'tornado.web', 'websockets', 'psutil'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_server_is_told_in_words(home: Path) -> None:
    done = run("terminal", "ls", home=home)
    assert done.returncode == 2
    assert "no server found" in done.stderr
    assert "kernel" not in done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    first_words = [line.split()[0] for line in lines[1:]]
    assert first_words == ["--data", "vibehq", "jupyter", "export"]
    assert "\\n" not in done.stderr


def test_a_missing_token_says_how_to_sign_in(
    server: tuple[str, Path], home: Path
) -> None:
    url, _ = server
    done = run("terminal", "ls", "--url", url, home=home)
    assert done.returncode == 1
    assert f"vibehq login {url}, or set VIBEHQ_TOKEN" in done.stderr


def test_the_doctor_finds_the_server_the_other_commands_find(
    server: tuple[str, Path], home: Path
) -> None:
    url, data = server
    done = run("doctor", VIBEHQ_DATA=str(data), home=home, SHELL="")
    lines = done.stdout.splitlines()
    assert any(line.startswith(f"ok: server: {url} (") for line in lines), lines
    assert f"FIX: worker: none online: vibehq worker --url {url}" in lines
    assert f"ok: data folder: {data}" in lines
    assert "ok: shell: /bin/bash" in lines
    assert done.returncode == 1


def test_a_port_that_is_taken_is_told_before_jupyterlab_starts(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("lab", str(home), "--port", str(port), home=home)
    assert done.returncode == 2
    assert f"port {port} cannot be used" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (home / "vibehq-tour").exists()


def test_the_notebooks_of_the_tour_are_trusted_until_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat")
    from nbformat.sign import NotebookNotary

    from vibehq_server.cli.lab import shipped_notebooks, trust

    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    path = copy_tour(shipped_notebooks(), tmp_path / "tour")[0]
    trust([path])

    notebook = nbformat.read(path, 4)
    assert NotebookNotary().check_signature(notebook)
    notebook.cells[0].source += "more"
    assert not NotebookNotary().check_signature(notebook)


def test_jupyterlab_opens_the_quickstart_and_prints_its_address(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vibehq_server.cli import main

    became: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _path, command: became.append(command))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(home / "jupyter"))
    monkeypatch.chdir(home)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    main(["lab", str(home), "--port", str(port), "--no-browser"])

    assert "--LabApp.default_url=/lab/tree/quickstart.ipynb" in became[0]
    assert "--ServerApp.port_retries=0" in became[0]


def test_a_notebooks_own_account_may_give_a_grant_and_its_token_alone_may_not(
    server: tuple[str, Path], home: Path
) -> None:
    url, data = server
    words = ("grant", "create", "eve", "--role", "operator")
    made = run(*words, "--data", str(data), home=home)
    notebook = {"VIBEHQ_URL": url, "VIBEHQ_TOKEN": made.stdout.strip()}

    refused = run(*words, home=home, **notebook)
    elsewhere = run(*words, home=home, **notebook, VIBEHQ_DATA=str(home))
    given = run(*words, home=home, **notebook, VIBEHQ_DATA=str(data))

    assert (refused.returncode, elsewhere.returncode) == (1, 1)
    assert "vhq_g_" not in refused.stdout + elsewhere.stdout
    assert given.stdout.startswith("vhq_g_"), given.stderr


def test_a_grant_is_created_listed_used_and_revoked(
    server: tuple[str, Path], home: Path
) -> None:
    url, data = server
    at = ("--data", str(data))
    made = run(
        *("grant", "create", "ana", "--role", "operator", "--role", "viewer"),
        *("--room", "terminal/*", "--ttl", "30m", *at),
        home=home,
    )
    token = made.stdout.strip()
    assert token.startswith("vhq_g_")
    assert "shown this once" in made.stderr
    assert token not in made.stderr

    every = json.loads(run("grant", "ls", "--json", *at, home=home).stdout)
    listed = [one for one in every if one["user"] == "ana"]
    assert [one["rooms"] for one in listed] == [["terminal/*"]]
    assert token not in json.dumps(every)

    signed = run("login", url, home=home, given=f"{token}\n")
    assert signed.returncode == 0, signed.stderr
    assert "as ana (operator, viewer)" in signed.stdout
    kept = home / ".config/vibehq/credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert token not in signed.stdout

    mine = run("terminal", "list", "--url", url, home=home)
    assert (mine.returncode, mine.stdout) == (0, "(none)\n")
    theirs = run("grant", "list", "--url", url, home=home)
    assert theirs.returncode == 1
    assert "admin" in theirs.stderr

    ended = run("grant", "revoke", listed[0]["id"], *at, home=home)
    assert "revoked" in ended.stdout
    assert run("terminal", "list", "--url", url, home=home).returncode == 1


def test_a_token_is_no_argument_and_a_bad_one_is_not_kept(
    server: tuple[str, Path], home: Path
) -> None:
    url, _ = server
    assert run("login", url, "vhq_g_x", home=home).returncode == 2
    wrong = run("login", url, home=home, given="hunter2\n")
    assert wrong.returncode == 2
    assert "hunter2" not in wrong.stderr
    unknown = run("login", url, home=home, given="vhq_g_unknown\n")
    assert unknown.returncode == 1
    assert not (home / ".config/vibehq/credentials.json").exists()


def test_a_fresh_login_link_is_printed_for_the_owner(
    server: tuple[str, Path], home: Path
) -> None:
    url, data = server
    done = run("login-link", "--data", str(data), home=home)
    assert done.stdout.startswith(f"{url}/login#vhq_c_")


def test_rooms_and_requests_are_shown_and_the_cli_of_the_host_does_not_decide(
    server: tuple[str, Path], home: Path
) -> None:
    from vibehq_nb.client.http import HttpApi, Server
    from vibehq_server.endpoint import read_endpoint

    url, data = server
    api = HttpApi(Server(url, read_endpoint(data).keys.admin))
    action = {"command": "restart\x1b[2J web-1"}
    asked = {"question": "Restart\u202e?", "action": action, "kind": "confirm"}
    request: dict[str, Any] = api.request("POST", "/api/hil/requests", asked)
    at = ("--data", str(data))

    listed = run("approval", "ls", "--status", "pending", *at, home=home).stdout
    shown = run("approval", "show", request["approval_id"], *at, home=home).stdout
    rooms = run("room", "ls", *at, home=home).stdout
    asks = run("approval", "approve", request["approval_id"], *at, home=home)
    decided = run(
        "approval", "approve", request["approval_id"], "--yes", *at, home=home
    )

    assert request["approval_id"] in listed
    assert "\u202e" not in listed + shown
    assert "\x1b" not in shown
    assert request["action_digest"] in shown
    assert "hil" in rooms
    assert (asks.returncode, "--yes" in asks.stderr) == (2, True)
    assert decided.returncode == 1
    page = f"{url}/r/{request['approval_id']}"
    assert "with the roles admin, operator, viewer" in decided.stderr
    assert "deciding needs the role approver" in decided.stderr
    assert f"Decide on the page {page}, or sign in" in decided.stderr


def test_a_request_is_named_by_the_beginning_of_its_id_and_waiting_ones_come_first(
    server: tuple[str, Path], home: Path
) -> None:
    from vibehq_nb.client.http import HttpApi, Server
    from vibehq_server.endpoint import read_endpoint

    url, data = server
    api = HttpApi(Server(url, read_endpoint(data).keys.admin))
    at = ("--data", str(data))
    asked = {"question": "Waits?", "action": {}, "kind": "confirm"}
    waits = api.request("POST", "/api/hil/requests", asked)["approval_id"]
    asked["question"] = "Gone?"
    gone = api.request("POST", "/api/hil/requests", asked)["approval_id"]
    path = f"/api/hil/requests/{gone}/status"
    api.request("PATCH", path, {"status": "cancelled"})

    shown = run("approval", "show", waits[:8], *at, home=home)
    short = run("approval", "show", waits[:5], *at, home=home)
    unknown = run("approval", "show", "zzzzzz", *at, home=home)
    listed = run("approval", "ls", "--json", *at, home=home)

    assert waits in shown.stdout
    assert (short.returncode, "6 characters" in short.stderr) == (2, True)
    assert unknown.returncode == 1
    states = [one["status"] for one in json.loads(listed.stdout)["requests"]]
    assert states == sorted(states, key=lambda state: state != "pending")
    assert "cancelled" in states


def test_a_beginning_of_several_ids_is_refused() -> None:
    class Api:
        def request(self, _method: str, _path: str) -> Any:
            ids = ["abcdef" + "0" * 26, "abcdef" + "1" * 26]
            return {"requests": [{"approval_id": one} for one in ids], "total": 2}

    with pytest.raises(UsageError, match="begins several: abcdef0"):
        full_id(Api(), "abcdef")
    assert full_id(Api(), "abcdef1") == "abcdef" + "1" * 26


def test_an_approver_decides_from_the_command_line(
    server: tuple[str, Path], home: Path
) -> None:
    from vibehq_nb.client.http import HttpApi, Server
    from vibehq_server.endpoint import read_endpoint

    url, data = server
    at = ("--data", str(data))
    made = run("grant", "create", "bob", "--role", "approver", *at, home=home)
    run("login", url, home=home, given=made.stdout)
    api = HttpApi(Server(url, read_endpoint(data).keys.admin))
    asked = {"question": "Go?", "action": {"command": "x"}, "kind": "review"}
    request = api.request("POST", "/api/hil/requests", asked)

    done = run(
        *("approval", "approve", request["approval_id"], "--yes", "--json"),
        *("--reason", "seen", "--url", url),
        home=home,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "approved"


def test_a_scan_without_workers_fails_in_one_line(
    server: tuple[str, Path], home: Path
) -> None:
    done = run("scan", "--data", str(server[1]), home=home)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_know_the_commands(shell: str, home: Path) -> None:
    done = run("completion", shell, home=home)
    assert done.returncode == 0
    for word in ("terminal", "approval", "fail-on"):
        assert word in done.stdout


def test_bash_completes_a_verb_of_a_noun(home: Path) -> None:
    script = run("completion", "bash", home=home).stdout
    asks = 'COMP_WORDS=(vibehq terminal o); COMP_CWORD=2; _vibehq; echo "$COMPREPLY"'
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{asks}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "open"


def test_the_tour_is_copied_and_nothing_is_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "shipped"
    (source / "tour").mkdir(parents=True)
    (source / "quickstart.ipynb").write_text("new")
    (source / "tour/one.ipynb").write_text("one")
    (source / ".ipynb_checkpoints").mkdir()
    (source / ".ipynb_checkpoints/x.ipynb").write_text("x")
    target = tmp_path / "vibehq-tour"
    target.mkdir()
    (target / "quickstart.ipynb").write_text("mine")

    assert copy_tour(source, target) == [target / "tour/one.ipynb"]
    assert copy_tour(source, target) == []

    assert (target / "quickstart.ipynb").read_text() == "mine"
    assert (target / "tour/one.ipynb").read_text() == "one"
    assert not (target / ".ipynb_checkpoints").exists()


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("30m", 1800), ("8h", 28800), ("7d", 604800)]
)
def test_durations_have_a_unit(text: str, seconds: int) -> None:
    assert decode_ttl(text) == seconds


def test_what_is_shown_holds_no_control_characters() -> None:
    assert plain("a\x1b[31m\r\n\u202eb\x00") == "a\\x1b[31m\\r\\n\\u202eb\\x00"
