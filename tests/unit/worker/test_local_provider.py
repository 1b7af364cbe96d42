"""What a terminal's program sees of the worker's environment."""

from pathlib import Path

import pytest

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.providers.local import (
    LocalProvider,
    _is_shell,
    child_environment,
    default_shell,
)
from vibehq_nb.worker.providers.port import Opening


def test_secrets_stay_with_the_worker() -> None:
    parent = {
        "VIBEHQ_WORKER_KEY": "1",
        "VIBEHQ_TOKEN": "2",
        "VIBEHQ_ADMIN_KEY": "3",
        "JUPYTER_TOKEN": "4",
        "JUPYTERHUB_API_TOKEN": "5",
        "JPY_API_TOKEN": "6",
        "CONFIGPROXY_AUTH_TOKEN": "7",
        "JUPYTERHUB_USER": "ana",
        "VIBEHQ_URL": "http://h",
        "PATH": "/bin",
        "TMUX": "other",
        "COLUMNS": "12",
    }

    env = child_environment(parent, "w:1")

    assert env == {
        "VIBEHQ_URL": "http://h",
        "JUPYTERHUB_USER": "ana",
        "PATH": "/bin",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "VIBEHQ_TERMINAL": "w:1",
        "LANG": "C.UTF-8",
    }


def test_a_language_that_is_set_stays() -> None:
    assert child_environment({"LANG": "de_DE.UTF-8"}, "w")["LANG"] == "de_DE.UTF-8"


@pytest.mark.parametrize("shell", ["", "/no/such/bash", "/bin/true"])
def test_a_shell_that_is_none_is_not_used(
    monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("SHELL", shell)

    assert default_shell() in {"/bin/bash", "/bin/sh"}


@pytest.mark.parametrize(
    ("fields", "code", "sentence"),
    [
        ({"command": []}, "no-command", "The command is empty."),
        ({"command": ["a\0b"]}, "no-command", "The command holds a NUL character."),
        ({"command": ["./x"]}, "no-command", 'There is no program "./x".'),
        ({"cwd": "/no/place"}, "no-folder", 'There is no folder "/no/place".'),
        ({"place": "x"}, "no-provider", '"local:x" names no place. Use "local".'),
    ],
)
async def test_refusals_are_one_sentence(
    tmp_path: Path, fields: dict[str, object], code: str, sentence: str
) -> None:
    wanted: dict[str, object] = {"place": "", "command": None, "cwd": None, **fields}
    opening = Opening(
        terminal="w",
        worker="w",
        cols=80,
        rows=24,
        runtime=tmp_path,
        **wanted,  # type: ignore[arg-type]
    )

    with pytest.raises(DeniedError) as caught:
        await LocalProvider().open(opening)

    assert (caught.value.code, caught.value.reason) == (code, sentence)


@pytest.mark.parametrize(
    ("command", "is_shell"),
    [
        (["bash"], True),
        (["/bin/sh", "-l"], True),
        (["bash", "-c", "make"], False),
        (["bash", "script.sh"], False),
        (["top"], False),
    ],
)
def test_a_shell_is_one_that_prompts(command: list[str], is_shell: bool) -> None:
    assert _is_shell(command) is is_shell
