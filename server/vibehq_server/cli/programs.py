"""``vibehq worker`` and ``vibehq doctor``: programs of the library."""

import argparse

from vibehq_server.cli.remote import data_folder, find
from vibehq_server.settings import default_data


def worker(arguments: argparse.Namespace) -> int:
    """Run the worker in this process, by default for the server of this host."""
    from vibehq_nb.worker import main

    data = arguments.data
    if data is None and arguments.url is None:
        data = str(default_data("standalone"))
    options = {"--data": data, "--id": arguments.id, "--url": arguments.url}
    return main([word for pair in options.items() if pair[1] for word in pair])


def doctor(arguments: argparse.Namespace) -> int:
    """Check the installation; code 1 if something is wrong."""
    from vibehq_nb.client import doctor as checks

    return checks.run(
        json=arguments.json,
        find=lambda: find(arguments),
        data=data_folder(arguments),
    )
