"""``vibehq doctor``: a program of the library."""

import argparse

from vibehq_server.cli.remote import data_folder, find


def doctor(arguments: argparse.Namespace) -> int:
    """Check the installation; code 1 if something is wrong."""
    from vibehq_nb.client import doctor as checks

    return checks.run(
        json=arguments.json,
        find=lambda: find(arguments),
        data=data_folder(arguments),
    )
