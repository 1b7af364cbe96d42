"""The views inside JupyterLab: keys, sockets, saved pictures, decisions, losses."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import new_page
from tests.browser.lab import Lab
from tests.browser.notebook import NotebookPage

TERMINAL = "import vibehq_nb\nhq = vibehq_nb.connect()\nterm = hq.terminal()\nterm"
MARKUP = "<img src=x onerror=window.injected=1>"
HOSTILE = f"""
from vibehq_nb.widgets import FindingsView, TerminalView
from IPython.display import display
display(TerminalView(terminal="vm", base="http://127.0.0.1:1/", title={MARKUP!r}))
display(TerminalView(terminal="../api/me", title={MARKUP!r}))
display(FindingsView(base="//elsewhere.example", title={MARKUP!r}))
display(FindingsView(base="javascript:0", snapshot='<p class="vhq-x">{MARKUP}</p>'))
"""
GATE = """
import vibehq_nb
with vibehq_nb.connect().task("restart") as task:
    decision = task.confirm("Restart web-1?", action={"command": "restart web-1"})
"""
CLICK_AT_ONCE = """() => {
  window.wasDisabled = new Promise((resolve) => {
    const observer = new MutationObserver(() => {
      const button = document.querySelector('[data-vhq="approve"]');
      if (!button) return;
      observer.disconnect();
      button.click();
      resolve(button.disabled);
    });
    observer.observe(document.body, {childList: true, subtree: true});
  });
}"""


@pytest.fixture(scope="module")
def tab(lab: Lab, chromium: Browser) -> Iterator[NotebookPage]:
    """One browser tab for all tests here: JupyterLab loads for seconds."""
    with new_page(chromium) as page:
        page.goto(f"{lab.url}lab?reset&token={lab.token}")
        page.wait_for_function("() => window.jupyterapp?.restored")
        yield NotebookPage(page)


@pytest.fixture
def desk(tab: NotebookPage) -> Iterator[NotebookPage]:
    yield tab
    tab.close_all()


def open_with(lab: Lab, desk: NotebookPage, name: str, *cells: str) -> None:
    lab.write_notebook(name, *cells)
    desk.open(name)


def run_terminal(desk: NotebookPage) -> None:
    desk.run_cell(0)
    expect(desk.terminal).to_have_attribute("data-state", "connected")
    desk.until(lambda: re.search(r"[$#] ?$", desk.terminal_text()))


def test_every_key_reaches_the_shell_and_the_notebook_stays_as_it_is(
    lab: Lab, desk: NotebookPage
) -> None:
    open_with(lab, desk, "keys.ipynb", TERMINAL, "x = 1", "y = 2")
    run_terminal(desk)
    expect(desk.terminal.locator('[data-vhq="title"]')).to_have_text(
        re.compile(r"^[\w.-]+ \(local\)( · .*)?$")
    )
    desk.type("PS1='> ' bash --norc --noprofile")
    desk.until(lambda: desk.terminal_text().endswith(">"))
    desk.type("stty -ixon; cat -v")
    before = desk.contents()

    # Command mode would add, cut, delete, convert, interrupt and run with these.
    desk.press(*"abddxmyrzc00iisklL1", "Enter")
    desk.until(lambda: desk.terminal_text().count("abddxmyrzc00iisklL1") == 2)
    desk.press("Escape", "ArrowUp", "ArrowDown", "ArrowLeft", "Tab", "Shift+Tab")
    desk.press("Control+s", "Control+b", "Control+p", "Control+f", "Enter")
    desk.until(lambda: desk.terminal_text().count("^S^B^P^F") == 2)
    for line, key in (("1", "Shift"), ("2", "Control"), ("3", "Alt"), ("4", "Shift")):
        desk.press(line, f"{key}+Enter")
        shown = rf"\n{line}(\^\[)?\n{line}(\^\[)?$"
        desk.until(lambda shown=shown: re.search(shown, desk.terminal_text()))

    text = desk.terminal_text()
    assert "\nabddxmyrzc00iisklL1\nabddxmyrzc00iisklL1\n" in text
    assert re.search(r"\n\^\[\^\[\[A\^\[\[B\^\[\[D\s+\^\[\[Z\^S\^B\^P\^F\n", text)

    desk.press("Control+c")
    desk.until(lambda: desk.terminal_text().endswith("^C\n>"))
    desk.press("Control+d")
    desk.until(lambda: re.search(r">\s+exit\n.+[$#]$", desk.terminal_text()))
    assert desk.contents() == before


def test_a_closed_terminal_says_how_it_ended_and_waits_for_nobody(
    lab: Lab, desk: NotebookPage
) -> None:
    own = TERMINAL.replace("terminal()", "terminal(name='ends')")
    open_with(lab, desk, "ends.ipynb", own, "term.close()")
    run_terminal(desk)
    desk.run_and_wait(1)
    expect(desk.terminal).to_have_attribute("data-state", "exited")
    desk.page.wait_for_timeout(1000)  # its link ends a moment later

    expect(desk.terminal).to_have_attribute("data-state", "exited")
    notice = desk.terminal.locator('[data-vhq="notice"]')
    expect(notice).to_contain_text(re.compile(r"Ended by signal|Exited with code"))


def test_views_share_a_socket_and_a_saved_one_shows_its_last_screen(
    lab: Lab, desk: NotebookPage
) -> None:
    open_with(lab, desk, "saved.ipynb", TERMINAL, "term", "hq.watch()", HOSTILE)
    run_terminal(desk)
    desk.type("echo kept-$((40+2))")
    desk.until(lambda: "kept-42" in desk.terminal_text())

    # Run again, and shown twice: still one connection.
    for cell in (0, 0, 1, 2):
        desk.run_and_wait(cell)
    here = desk.page.locator('[data-vhq="show-here"]:visible')
    here.click()
    desk.until(lambda: len(desk.sockets()) == 2)
    assert sorted(room.split("/")[0] for room in desk.sockets()) == ["ops", "terminal"]

    # What a notebook says of another server opens nothing and injects nothing.
    desk.run_and_wait(3)
    expect(desk.page.locator('[data-vhq="placeholder"]')).to_have_count(4)
    assert len(desk.sockets()) == 2

    desk.save()
    desk.close_all()
    desk.until(lambda: desk.sockets() == [])
    desk.open("saved.ipynb")
    picture = desk.page.locator(".jp-OutputArea-output .vhq-snapshot").first
    expect(picture).to_contain_text("kept-42")
    expect(desk.page.locator(".vhq-view")).to_have_count(4)
    assert desk.page.get_by_text("Error displaying widget").count() == 0
    assert desk.sockets() == []
    assert desk.page.evaluate("() => window.injected") is None


def test_a_decision_in_one_browser_is_seen_in_the_other_and_ends_the_cell(
    lab: Lab, desk: NotebookPage, chromium: Browser
) -> None:
    open_with(lab, desk, "gate.ipynb", GATE)
    with new_page(chromium) as other:
        other.context.request.get(f"{lab.url}login?token={lab.token}")
        other.goto(f"{lab.url}vibehq/#approvals")
        desk.page.evaluate(CLICK_AT_ONCE)
        desk.run_cell(0)
        # What is pressed as the question appears was meant for something else.
        assert desk.page.evaluate("() => window.wasDisabled") is True
        expect(desk.page.locator('[data-vhq="countdown"]:visible')).to_contain_text(
            "left"
        )
        desk.page.locator('[data-vhq="reject"]:visible').click()
        expect(desk.page.locator('[data-vhq="error"]:visible')).to_contain_text(
            "reason"
        )

        other.locator('[data-vhq="approve"]').dblclick()

        for page in (desk.page, other):
            result = page.locator('[data-vhq="result"]:visible')
            expect(result).to_contain_text("Confirmed by")
    desk.until(lambda: desk.is_done(0))
    assert all(output["output_type"] != "error" for output in desk.outputs(0))


def test_a_lost_connection_holds_keys_drops_them_in_sight_and_asks_to_sign_in(
    lab: Lab, desk: NotebookPage
) -> None:
    open_with(lab, desk, "lost.ipynb", TERMINAL)
    run_terminal(desk)
    desk.terminal.locator(".xterm-screen").click()
    lab.kill()
    expect(desk.terminal).to_have_attribute("data-state", "reconnecting")
    desk.press(*"held")
    notice = desk.terminal.locator('[data-vhq="notice"]')
    expect(notice).to_contain_text("Connection lost, reconnecting…")
    expect(notice.locator('[data-vhq="held"]')).to_have_text("held: held")
    expect(notice.locator('[data-vhq="spinner"]')).to_be_visible()
    expect(notice).to_contain_text("4 keystrokes were not sent", timeout=15_000)
    expect(notice.locator('[data-vhq="held"]')).to_be_hidden()

    # Another cookie secret, and another token: JupyterLab's own requests would sign
    # the page in again by the old one.
    (lab.root / "runtime" / "jupyter_cookie_secret").unlink()
    lab.token = "another-token"
    lab.start()
    expect(desk.terminal).to_have_attribute("data-state", "signed-out", timeout=30_000)
    expect(notice).to_contain_text("You are signed out.")
    expect(notice.locator('[data-vhq="sign-in"]')).to_be_visible()
    assert "held" not in desk.terminal_text().splitlines()[-1]
