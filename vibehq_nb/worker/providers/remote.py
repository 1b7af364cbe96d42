"""
A terminal's processes somewhere else, reached by short scripts for any ``sh``.

The command begins within ``OPENING``, which prints a mark with its pid first; what
stands before the exit of the session is then looked up in that place's ``/proc``.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.providers.port import Exit, Foreground, Opening

MARK_SECONDS = 15.0
"""How long a shell may read its settings before the mark."""
MARK_BYTES = 64 * 1024
"""How much a place may print before the mark."""
TICKS = 100
"""In a second, in what the kernel tells of a process's start."""

HUNG_UP = Exit(None, "HUP")
"""The end of a terminal whose place, or the way there, is gone."""

NO_FOLDER, NO_COMMAND = 95, 96
"""Exit codes of ``OPENING``."""

CONTAINER_SHELL = "if command -v bash >/dev/null; then set -- bash; else set -- sh; fi"
LOGIN_SHELL = 'set -- "${SHELL:-sh}" -l'

# One line without a single quote: a remote user's shell, whichever it is, reads it.
OPENING = (
    'mark=$1 cwd=$2 rows=$3 cols=$4; export VIBEHQ_TERMINAL="$5"; shift 5; '
    "export TERM=xterm-256color COLORTERM=truecolor; "
    'case $cwd in "~"|"~/"*) cwd=$HOME${cwd#"~"};; esac; '
    'if [ -n "$cwd" ]; then cd -- "$cwd" 2>/dev/null || exit 95; fi; '
    "if [ $# -eq 0 ]; then @shell@; fi; "
    'command -v "$1" >/dev/null || exit 96; '
    'stty rows "$rows" cols "$cols" 2>/dev/null; '
    "started=$({ read -r line < /proc/$$/stat; } 2>/dev/null; "
    'set -- ${line##*) }; echo "${20}"); '
    'printf "\\036%s %s %s\\036" "$mark" "$$" "$started"; exec "$@"'
)

# In a loop over files in /proc: takes what follows the name in one as $1, $2 and on.
NEXT_STAT = '{ read -r line < "$file"; } 2>/dev/null || continue; set -- ${line##*) }'

FOREGROUND = f"""
file=/proc/$1/stat started=$2
for file in $file; do {NEXT_STAT}; done
[ "${{20}}" = "$started" ] || {{ echo none; exit 0; }}
group=$6
read -r up rest < /proc/uptime
for file in /proc/$group/stat /proc/[0-9]*/stat; do
  {NEXT_STAT}
  if [ "$3" = "$group" ] && [ "$1" != Z ]; then echo "$up $line"; exit 0; fi
done
echo none
"""

SIGNAL = f"""
started=$2 signal=$3
for file in /proc/$1/stat; do {NEXT_STAT}; done
[ "${{20}}" = "$started" ] && kill -s "$signal" -- "-$6"
"""

END = f"""
leader=$1 started=$2
for file in /proc/$leader/stat; do
  {NEXT_STAT}
  [ "${{20}}" = "$started" ] || exit 0
done
members() {{
  found=
  for file in /proc/[0-9]*/stat; do
    {NEXT_STAT}
    [ "$4" = "$leader" ] && [ "$1" != Z ] && found="$found ${{line%% *}}"
  done
  [ -n "$found" ]
}}
live() {{
  for pid in $found; do
    for file in /proc/$pid/stat; do
      {NEXT_STAT}
      [ "$4" = "$leader" ] && [ "$1" != Z ] && return 0
    done
  done
  return 1
}}
for signal in HUP TERM KILL KILL; do
  members || exit 0
  kill -s $signal $found 2>/dev/null
  kill -s CONT $found 2>/dev/null
  tenths=0
  while [ $tenths -lt 20 ] && live; do
    if sleep 0.1 2>/dev/null; then tenths=$((tenths + 1)); else
      sleep 1; tenths=$((tenths + 10))
    fi
  done
done
"""


class Leader(NamedTuple):
    """The first process of a session: its pid there, and its start in ticks."""

    pid: int
    started: str


class Began(NamedTuple):
    """That a session has begun, and what was printed so far, without the mark."""

    leader: Leader
    output: bytes


def new_mark() -> str:
    """Return a word that no program prints by chance."""
    return secrets.token_hex(16)


def opening_command(opening: Opening, mark: str, shell: str) -> list[str]:
    """
    Return what begins the session: *mark* first, then the command, else *shell*.

    Args:
        opening: What to open.
        mark: A word of ``new_mark``.
        shell: ``CONTAINER_SHELL`` or ``LOGIN_SHELL``.
    """
    size = [str(opening.rows), str(opening.cols)]
    script = OPENING.replace("@shell@", shell)
    words = [mark, opening.cwd or "", *size, opening.terminal, *(opening.command or [])]
    return ["sh", "-c", script, "sh", *words]


def check_command(opening: Opening) -> None:
    """
    Refuse a command that no program can have.

    Raises:
        DeniedError: ``no-command``.
    """
    if opening.command is not None and not any(opening.command[:1]):
        raise DeniedError("no-command", "The command is empty.")
    if any("\0" in word for word in [*(opening.command or []), opening.cwd or ""]):
        raise DeniedError("no-command", "The command holds a NUL character.")


async def await_mark(read: Callable[[], Awaitable[bytes]], mark: str) -> Began | None:
    """
    Read until *mark* is there; None when the end comes first.

    Args:
        read: Returns what comes next; empty is the end.
        mark: What ``opening_command`` was given.

    Raises:
        DeniedError: ``no-answer`` when it does not come within 15 s or 64 KiB.
    """
    output = b""
    pattern = re.compile(rb"\x1e%s (\d+) (\d*)\x1e" % mark.encode())
    try:
        async with asyncio.timeout(MARK_SECONDS):
            while len(output) <= MARK_BYTES:
                fresh = await read()
                if not fresh:
                    return None
                output += fresh
                if found := pattern.search(output):
                    leader = Leader(int(found[1]), found[2].decode())
                    return Began(
                        leader, output[: found.start()] + output[found.end() :]
                    )
    except TimeoutError:
        pass
    sentence = f"Its shell does not begin within {MARK_SECONDS:g} s and 64 KiB."
    raise DeniedError("no-answer", sentence)


def refusal(opening: Opening, code: int | None, where: str) -> DeniedError:
    """
    Return why a session ended before its mark.

    Args:
        opening: What was to be opened.
        code: The exit code.
        where: The place in a sentence: ``in container web-1``.
    """
    if code == NO_FOLDER:
        return DeniedError("no-folder", f'There is no folder "{opening.cwd}" {where}.')
    if code == NO_COMMAND:
        program = (opening.command or ["sh"])[0]
        return DeniedError("no-command", f'There is no program "{program}" {where}.')
    return DeniedError("no-shell", f"There is no sh {where}, which a terminal needs.")


class RemoteSession:
    """The processes of one terminal in a place where scripts can be run."""

    def __init__(
        self, run: Callable[..., Awaitable[str]], leader: Leader, is_shell: bool
    ) -> None:
        """
        Look after the session of *leader*.

        Args:
            run: Runs a script of ``sh`` with arguments there, and returns its output.
            leader: The session's first process.
            is_shell: Whether that is a shell at its prompt.
        """
        self._run = run
        self._leader = leader
        self._is_shell = is_shell

    async def foreground(self) -> Foreground | None:
        """
        Return the foreground job, None when there is none.

        Raises:
            DeniedError: ``not-known`` where the processes cannot be seen, or what is
                said when no script can be run there.
        """
        if not self._leader.started:
            raise DeniedError("not-known", "That place shows no processes.")
        told = await self._run(FOREGROUND, *self._names())
        return None if told.strip() == "none" else self._job(told)

    def _names(self) -> tuple[str, str]:
        return str(self._leader.pid), self._leader.started

    def _job(self, told: str) -> Foreground:
        """Read ``uptime pid (name) state ppid pgrp …``, as the kernel writes it."""
        found = re.match(r"([\d.]+) (\d+) \((.*)\) (.*)", told, re.DOTALL)
        if found is None:
            raise DeniedError("not-known", "That place does not tell what runs.")
        fields = found[4].split()
        age = max(float(found[1]) - int(fields[19]) / TICKS, 0.0)
        is_shell = self._is_shell and int(fields[2]) == self._leader.pid
        return Foreground(found[3], int(found[2]), round(age, 1), is_shell)

    async def signal(self, name: str) -> None:
        """
        Send ``SIG{name}`` to the foreground job; without one it does nothing.

        Raises:
            DeniedError: ``no-signal`` where the processes cannot be seen.
        """
        if not self._leader.started:
            raise DeniedError("no-signal", "That place shows no processes. Type ^C.")
        await self._run(SIGNAL, *self._names(), name)

    async def end(self) -> None:
        """
        Hang up, then terminate, then kill, until no process is left.

        Raises:
            DeniedError: If no script can be run there.
        """
        if self._leader.started:
            await self._run(END, *self._names())
