"""
Marks around what a shell does: OSC 133 A, B, C, D; OSC 7 for the folder; the title.

``A`` stands before the prompt, ``B`` after it, ``C`` before a command's output and
``D;status`` after it.
"""

import os
from pathlib import Path

BASHRC = r"""# Written at each start: your ~/.bashrc, then marks around commands.
[ -r ~/.bashrc ] && . ~/.bashrc

__vibehq_ran=
__vibehq_empty=''
__vibehq_wrapped=

__vibehq_first() {
  local status=$?
  if [ -n "$__vibehq_ran" ]; then
    __vibehq_ran=
    builtin printf '\e]133;D;%s\a' "$status"
  fi
  return "$status"
}

__vibehq_encode() {
  local LC_ALL=C text=$1 out= char i
  case $text in
    *[!A-Za-z0-9/._~-]*) ;;
    *) REPLY=$text; return ;;
  esac
  for ((i = 0; i < ${#text}; i++)); do
    char=${text:i:1}
    case $char in
      [A-Za-z0-9/._~-]) out+=$char ;;
      *) builtin printf -v char '%%%02X' "'$char"; out+=%${char: -2} ;;
    esac
  done
  REPLY=$out
}

__vibehq_last() {
  local status=$? REPLY
  if [[ ${PS1-} != "$__vibehq_wrapped" ]]; then
    # $? and the flag serve the prompt that follows when something has taken the
    # place of PROMPT_COMMAND.
    PS1='\[${__vibehq_ran:+'$'\e'']133;D;$?'$'\a''}'$'\e'']133;A'$'\a''\]'${PS1-}'\['$'\e'']133;B'$'\a''\]'
    __vibehq_wrapped=$PS1
  fi
  if [[ ${PS0-} != *'133;C'* ]]; then
    PS0=${PS0-}'${__vibehq_empty:$((__vibehq_ran=1,0)):0}'$'\e'']133;C'$'\a'
  fi
  __vibehq_encode "$PWD"
  builtin printf '\e]7;file://%s%s\a\e]0;%s@%s: %s\a' \
    "$HOSTNAME" "$REPLY" "${USER-}" "${HOSTNAME%%.*}" "${PWD/#"${HOME-}"/\~}"
  return "$status"
}

if [[ $(declare -p PROMPT_COMMAND 2>/dev/null) == 'declare -a'* ]]; then
  PROMPT_COMMAND=(__vibehq_first "${PROMPT_COMMAND[@]}" __vibehq_last)
else
  PROMPT_COMMAND=$'__vibehq_first\n'"${PROMPT_COMMAND-}"$'\n__vibehq_last'
fi
"""


def command_for(shell: str, runtime: Path) -> list[str]:
    """
    Return how to start *shell* so that it emits marks, where we know how.

    Writes what the shell reads at its start into *runtime*, for this user alone.
    """
    if Path(shell).name != "bash":
        return [shell]
    rcfile = runtime / "bashrc"
    _write_private(rcfile, BASHRC)
    return [shell, "--rcfile", str(rcfile), "-i"]


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
