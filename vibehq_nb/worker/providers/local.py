"""Terminals on this host: the user's own shell, or a command."""

import os
import pwd
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from subprocess import SubprocessError

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker import shell_integration
from vibehq_nb.worker.environment import forget_secrets
from vibehq_nb.worker.freezer import Freezer
from vibehq_nb.worker.providers.port import Opening
from vibehq_nb.worker.pty import Pty, explain

SHELLS = frozenset({"bash", "zsh", "fish", "sh", "dash", "ksh", "mksh", "ash"})
PREFERRED = frozenset({"bash", "zsh", "fish", "sh"})


class LocalProvider:
    """Opens terminals on this host."""

    name = "local"

    def __init__(self, freezer: Freezer | None = None) -> None:
        """Give each terminal a cgroup of *freezer*, by default of the host's."""
        self._freezer = freezer or Freezer()

    def is_usable(self) -> bool:
        """Tell that a host can always open terminals on itself."""
        return True

    async def close(self) -> None:
        """Do nothing: each terminal ends by itself."""

    async def open(self, opening: Opening) -> Pty:
        """
        Start the command, or the user's shell with marks around its commands.

        Raises:
            DeniedError: ``no-folder`` or ``no-command``, with what is wrong.
        """
        if opening.place:
            raise DeniedError(
                "no-provider",
                f'"local:{opening.place}" names no place. Use "local".',
            )
        env = child_environment(os.environ, opening.terminal)
        cwd = _folder(opening.cwd)
        if opening.command is None:
            command = shell_integration.command_for(
                default_shell(), opening.runtime, env
            )
        else:
            command = _checked(opening.command, cwd, env)
        is_shell = opening.command is None or _is_shell(command)
        start = partial(
            Pty, command, env, cwd, opening.cols, opening.rows, is_shell=is_shell
        )
        try:
            return self._start(start)
        except OSError as error:
            raise DeniedError("no-command", explain(error, command[0])) from None

    def _start(self, start: Callable[..., Pty]) -> Pty:
        cgroup = self._freezer.new()
        if cgroup is None:
            return start()
        try:
            return start(cgroup=cgroup)
        except SubprocessError:  # the kernel lets nothing into the cgroup
            cgroup.leave()
            return start()
        except OSError:
            cgroup.leave()
            raise


def _is_shell(command: list[str]) -> bool:
    """Tell whether *command* is a shell that prompts, rather than runs a script."""
    name, options = Path(command[0]).name, command[1:]
    return name in SHELLS and all(option.startswith("-") for option in options)


def default_shell() -> str:
    """Return the path of the user's shell, else of bash, else of sh."""
    shell = os.environ.get("SHELL", "")
    if Path(shell).name in PREFERRED and os.access(shell, os.X_OK):
        return shell
    return "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"


def child_environment(parent: Mapping[str, str], terminal: str) -> dict[str, str]:
    """Return what a terminal's program sees: *parent* without its secrets."""
    env = dict(parent)
    forget_secrets(env)
    env.update(TERM="xterm-256color", COLORTERM="truecolor", VIBEHQ_TERMINAL=terminal)
    env.setdefault("LANG", "C.UTF-8")
    for name in ("COLUMNS", "LINES", "TMUX", "STY"):  # another terminal's
        env.pop(name, None)
    return env


def _folder(cwd: str | None) -> str:
    folder = Path(cwd).expanduser() if cwd else _home()
    if folder.is_dir():
        return str(folder)
    if cwd:
        raise DeniedError("no-folder", f'There is no folder "{cwd}".')
    return "/"


def _home() -> Path:
    home = os.environ.get("HOME")
    return Path(home or pwd.getpwuid(os.getuid()).pw_dir)


def _checked(command: list[str], cwd: str, env: Mapping[str, str]) -> list[str]:
    program = command[0] if command else ""
    if not program:
        raise DeniedError("no-command", "The command is empty.")
    if any("\0" in word for word in command):
        raise DeniedError("no-command", "The command holds a NUL character.")
    if "/" in program:
        found = os.access(Path(cwd, program), os.X_OK)
    else:
        found = shutil.which(program, path=env.get("PATH")) is not None
    if not found:
        raise DeniedError("no-command", f'There is no program "{program}".')
    return command
