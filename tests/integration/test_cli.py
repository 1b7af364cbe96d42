"""The command line, run as its users run it, against a real server."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_app import Process
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
    assert "No VibeHQ server found" in done.stderr
    assert "Traceback" not in done.stderr


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

    listed = json.loads(run("grant", "ls", "--json", *at, home=home).stdout)
    assert [(one["user"], one["rooms"]) for one in listed] == [("ana", ["terminal/*"])]
    assert token not in json.dumps(listed)

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

    assert copy_tour(source, target) == 1
    assert copy_tour(source, target) == 0

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
