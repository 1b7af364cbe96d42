"""An argument parser that answers a wrong word with the nearest right one."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from vibehq_server.settings import nearest

_QUOTED = re.compile(r"invalid choice: '([^']*)'(.*)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong and which word was probably meant."""

    def __init__(self, **options: Any) -> None:
        """Accept no abbreviations: a script must not change meaning later."""
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)
        self.set_defaults(parser=self)

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """
        Return the arguments; leave with code 2 where they are wrong.

        What follows ``--`` is ``after``, for a command that hands it on.
        """
        words = list(argv)
        end = words.index("--") if "--" in words else len(words)
        arguments, rest = self.parse_known_args(words[:end])
        arguments.after = words[end + 1 :]
        if arguments.after and not getattr(arguments, "hands_on", False):
            arguments.parser.error(f"unknown option {arguments.after[0]}")
        if rest:
            chosen: Parser = arguments.parser
            chosen.error(f"unknown option {rest[0]}")
        if not hasattr(arguments, "run"):
            arguments.parser.print_help()
            raise SystemExit(2)
        return arguments

    def options(self) -> frozenset[str]:
        """Return every option of this command."""
        return frozenset(
            option for action in self._actions for option in action.option_strings
        )

    def commands(self) -> dict[str, "Parser"]:
        """Return the commands below this one, by name."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return dict(action.choices)
        return {}

    def error(self, message: str) -> NoReturn:
        """Leave with code 2, one line, and the nearest known word."""
        hint = ""
        if found := _QUOTED.search(message):
            wrong = found.group(1)
            known = frozenset(self.commands()) or frozenset(
                re.findall(r"'([^']*)'", found.group(2))
            )
            message = f"{wrong!r} is not known here."
            hint = nearest(wrong, known) or f" Known: {', '.join(sorted(known))}."
        elif message.startswith("unknown option "):
            wrong = message.removeprefix("unknown option ").partition("=")[0]
            message = f"{wrong!r} is not known here."
            hint = nearest(wrong, self.options())
        sys.stderr.write(f"{self.prog}: {message}{hint} Help: {self.prog} --help\n")
        raise SystemExit(2)


def _lazy(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        function = getattr(import_module(f"vibehq_server.cli.{module}"), name)
        result: int = function(arguments)
        return result

    return run


class Tree:
    """Builds the commands, each with its help and an example."""

    def __init__(self, parser: Parser, title: str = "command") -> None:
        """Add commands below *parser*."""
        self._below = parser.add_subparsers(metavar=title, parser_class=Parser)
        self._prog = parser.prog

    def group(self, name: str, text: str) -> "Tree":
        """Add a noun; return where its verbs go."""
        parser = self._below.add_parser(name, help=text, description=text)
        return Tree(parser, "verb")

    def add(
        self,
        name: str,
        text: str,
        example: str,
        run: tuple[str, str],
        aliases: Sequence[str] = (),
    ) -> Parser:
        """Add a verb that runs a function of a module here."""
        parser: Parser = self._below.add_parser(
            name,
            aliases=list(aliases),
            help=text,
            description=text,
            epilog=f"example:\n  {example}",
        )
        parser.set_defaults(run=_lazy(*run))
        return parser


def add_remote(parser: Parser, *, has_json: bool = True) -> None:
    """Add the options that say which server, and ``--json``."""
    parser.add_argument("--url", help="the server; else VIBEHQ_URL, else this host's")
    parser.add_argument("--data", help="the data folder of a server on this host")
    if has_json:
        parser.add_argument("--json", action="store_true", help="JSON, for programs")
