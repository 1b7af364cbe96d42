"""``vibehq completion``: static scripts made from the tree of commands."""

import argparse
from collections.abc import Iterator

from vibehq_server.cli.output import say
from vibehq_server.cli.parser import Parser
from vibehq_server.cli.tree import build_parser


def completion(arguments: argparse.Namespace) -> int:
    """Print the script for one shell."""
    make = {"bash": _bash, "zsh": _zsh, "fish": _fish}[arguments.shell]
    say(make(dict(words(build_parser()))))
    return 0


def words(parser: Parser, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield each command's path and the words that may follow it."""
    commands = parser.commands()
    options = sorted(o for o in parser.options() if o.startswith("--"))
    yield path, [*sorted(commands), *options]
    for name, below in commands.items():
        yield from words(below, f"{path} {name}".strip())


def _cases(table: dict[str, list[str]]) -> str:
    return "\n".join(
        f'    "{path}") words="{" ".join(found)}" ;;' for path, found in table.items()
    )


def _bash(table: dict[str, list[str]]) -> str:
    return f"""_vibehq() {{
  local path="" words="" word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    [[ $word == -* ]] || path="${{path:+$path }}$word"
  done
  case "$path" in
{_cases(table)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _vibehq vibehq"""


def _zsh(table: dict[str, list[str]]) -> str:
    return (
        f"#compdef vibehq\nautoload -U +X bashcompinit && bashcompinit\n{_bash(table)}"
    )


def _fish(table: dict[str, list[str]]) -> str:
    lines = ["complete -c vibehq -f"]
    for path, found in table.items():
        parts = path.split()
        condition = "; and ".join(f"__fish_seen_subcommand_from {p}" for p in parts)
        for word in found:
            kind = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
            where = condition or "__fish_use_subcommand"
            lines.append(f"complete -c vibehq -n '{where}' {kind}")
    return "\n".join(lines)
