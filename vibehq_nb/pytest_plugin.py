"""
``pytest --vibehq``: runbooks against a real, throw-away server.

    pytest --nbval --vibehq --vibehq-approve 'bob:restart *' notebooks/

Does nothing without the option, and imports nothing of ours before it is given.
"""

import os
from typing import Any

import pytest

_SERVER = pytest.StashKey[Any]()
_BEFORE = pytest.StashKey[dict[str, str | None]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("vibehq", "VibeHQ for notebooks")
    group.addoption(
        "--vibehq",
        action="store_true",
        help="start a throw-away server and worker, and let notebooks find it",
    )
    group.addoption(
        "--vibehq-approve",
        action="append",
        default=[],
        metavar="USER:GLOB",
        help="another person approves requests whose command matches, such as "
        "'bob:restart *'; whatever no rule matches is rejected (repeatable)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start the server, once: parallel workers of pytest-xdist inherit it."""
    rules: list[str] = config.getoption("--vibehq-approve")
    if not config.getoption("--vibehq"):
        if rules:
            raise pytest.UsageError("--vibehq-approve needs --vibehq.")
        return
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    from vibehq_nb.core.errors import VibeError
    from vibehq_nb.testing import ThrowAwayServer, decode_rule

    server = ThrowAwayServer()
    try:
        for rule in rules:
            decode_rule(rule)  # before anything is started
        server.__enter__()
        server.answer_with(rules)
    except VibeError as error:
        server.stop()
        raise pytest.UsageError(f"--vibehq: {error}") from None
    config.stash[_SERVER] = server
    found = server.environment()
    config.stash[_BEFORE] = {name: os.environ.get(name) for name in found}
    os.environ.update(found)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say that a server runs."""
    return "vibehq: a throw-away server runs" if _SERVER in config.stash else None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server and put the environment back."""
    server = config.stash.get(_SERVER, None)
    if server is None:
        return
    for name, value in config.stash[_BEFORE].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    server.stop()
