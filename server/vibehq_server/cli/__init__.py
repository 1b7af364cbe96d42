"""``vibehq``: the command line. Everything heavy is imported by the command used."""

from vibehq_server.cli.main import main

__all__ = ["main"]
