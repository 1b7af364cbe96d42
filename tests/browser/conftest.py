import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.lab import Lab
from tests.browser.notebook import KEEP_SOCKETS, NotebookPage

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MOST_SECONDS = 100
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests the time that JupyterLab takes on a busy machine."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(MOST_SECONDS))
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs a package: chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def new_page(chromium: Browser) -> Iterator[Page]:
    """A fresh browser profile that reaches this machine only."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()
    page.route(lambda url: "127.0.0.1" not in url, lambda route: route.abort())
    page.add_init_script(KEEP_SOCKETS)
    page.set_default_timeout(30_000)
    try:
        yield page
    finally:
        context.close()


@pytest.fixture
def screen(chromium: Browser) -> Iterator[Page]:
    with new_page(chromium) as page:
        yield page


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on the tour, as `vibehq lab` starts it; one for all, for time."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def quickstart(lab: Lab, screen: Page) -> NotebookPage:
    """The quickstart, opened in the browser with a kernel."""
    screen.goto(f"{lab.url}lab/tree/quickstart.ipynb?reset&token={lab.token}")
    notebook = NotebookPage(screen)
    notebook.wait_for_kernel()
    return notebook
