"""
Marks around what a shell does: OSC 133 A, B, C, D; OSC 7 for the folder; the title.

``A`` stands before the prompt, ``B`` after it, ``C`` before a command's output and
``D;status`` after it. ``C`` carries the command line as ``cmdline_url=``, the form
that kitty and Ghostty use; all carry ``aid=``, which names the very shell, so that
nothing a command prints is taken for a mark of the shell that runs it.

What the shells read is in ``shells/``. The user's own files are read as ever, and
first; nothing is exported, so a shell inside the shell is what it always was.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

SHELLS = Path(__file__).with_name("shells")


def command_for(shell: str, runtime: Path, env: MutableMapping[str, str]) -> list[str]:
    """
    Return how to start *shell* so that it emits marks, where we know how.

    Writes what the shell reads at its start into *runtime*, for this user alone, and
    adds to *env* what makes the shell read it.
    """
    match Path(shell).name:
        case "bash":
            rcfile = _installed("bashrc", runtime / "bashrc")
            return [shell, "--rcfile", str(rcfile), "-i"]
        case "zsh":
            folder = _installed("zshenv", runtime / "zsh" / ".zshenv").parent
            _installed("zshrc", folder / ".zshrc")
            if "ZDOTDIR" in env:
                env["VIBEHQ_ZDOTDIR"] = env["ZDOTDIR"]
            env["ZDOTDIR"] = str(folder)
            return [shell, "-i"]
        case "fish":
            path = _installed("config.fish", runtime / "config.fish")
            quoted = str(path).replace("\\", "\\\\").replace("'", "\\'")
            return [shell, "--interactive", "--init-command", f"source '{quoted}'"]
    return [shell]


def _installed(name: str, path: Path) -> Path:
    text = (SHELLS / name).read_text()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
    return path
