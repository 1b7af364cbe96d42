"""
``pytest --vibehq``: runbooks against a real, throw-away server.

    pytest --nbval --vibehq --vibehq-approve 'bob:restart *' notebooks/

Does nothing without the option, and imports nothing of ours before it is given.
"""

import os
import signal
from types import FrameType
from typing import Any

import pytest

USER = "ana"
"""Who runs the notebooks: the same name in their outputs on every machine."""

_SERVER = pytest.StashKey[Any]()
_BEFORE = pytest.StashKey[dict[str, str | None]]()
_HANDLER = pytest.StashKey[Any]()


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
        "'bob:restart *'; whatever no rule matches is rejected at once (repeatable)",
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

    server = ThrowAwayServer(user=USER)
    config.stash[_HANDLER] = signal.signal(signal.SIGTERM, _leave)
    try:
        for rule in rules:
            decode_rule(rule)  # before anything is started
        server.__enter__()
        server.answer_with(rules)
    except VibeError as error:
        server.stop()
        signal.signal(signal.SIGTERM, config.stash[_HANDLER])
        raise pytest.UsageError(f"--vibehq: {error}") from None
    config.stash[_SERVER] = server
    found = server.environment()
    config.stash[_BEFORE] = {name: os.environ.get(name) for name in found}
    os.environ.update(found)


def _leave(_number: int, _frame: FrameType | None) -> None:
    # Once: whoever sends it again while the server stops does not hinder that.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pytest.exit("ended by SIGTERM", returncode=128 + signal.SIGTERM)


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
    signal.signal(signal.SIGTERM, config.stash[_HANDLER])
