"""
For notebooks that need a container: a real one called web-1, for one run of pytest.

    pytest -p tests.runbooks --nbval --vibehq notebooks/

It is Podman's, and reached as Docker's would be. Where that cannot be, the notebooks
that need it are skipped and say why.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.containers import running_podman, what_is_missing

NAME = "web-1"
NEED_IT = ("share_a_terminal.ipynb",)
_STACK = pytest.StashKey[ExitStack]()


@contextmanager
def container() -> Iterator[None]:
    """Run the container; what is started meanwhile finds it."""
    with running_podman() as podman, pytest.MonkeyPatch.context() as patch:
        podman.start(NAME)
        patch.setenv("DOCKER_HOST", podman.url)
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start it before the server whose worker is to find it."""
    if config.option.collectonly or what_is_missing():
        return
    config.stash[_STACK] = ExitStack()
    config.stash[_STACK].enter_context(container())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot run here."""
    if missing := what_is_missing():
        for item in items:
            if item.path.name in NEED_IT:
                item.add_marker(pytest.mark.skip(reason=missing))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove it after everything that used it."""
    if _STACK in config.stash:
        config.stash[_STACK].close()
