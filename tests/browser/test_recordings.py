"""The player of recordings in JupyterLab, driven by keys and clicks."""

import re
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.lab import Lab
from tests.browser.notebook import NotebookPage

RECORD = """
import time, vibehq_nb
hq = vibehq_nb.connect()
term = hq.terminal(new=True)
with term.record() as recording:
    term.run("echo first-$((40+2))")
    time.sleep(2)
    term.run("printf '\\\\e[1;32mgreen\\\\e[0m 漢字\\\\n'; seq 1 40")
    time.sleep(2)
    term.run("echo last-$((50+5))")
recording
"""
STATUS = """() => {
  const [recording] = [...(window.__vibehq?.recordings ?? new Map()).values()];
  return recording ? {...recording.status(), text: recording.text()} : null;
}"""


def status(page: Page) -> dict[str, Any]:
    return dict(page.evaluate(STATUS) or {"state": "", "text": "", "position": 0})


def test_t14_a_recording_plays_seeks_and_is_saved_as_its_last_screen(
    lab: Lab, screen: Page
) -> None:
    screen.goto(f"{lab.url}lab?reset&token={lab.token}")
    screen.wait_for_function("() => window.jupyterapp?.restored")
    desk = NotebookPage(screen)
    lab.write_notebook("recording.ipynb", RECORD)
    desk.open("recording.ipynb")
    desk.run_cell(0)
    view = screen.locator('[data-vhq="recording"]:visible')
    expect(view).to_have_attribute("data-state", "paused", timeout=60_000)
    before = desk.contents()

    view.focus()
    desk.press(" ")
    expect(view).to_have_attribute("data-state", "playing")
    desk.until(lambda: "first-42" in status(screen)["text"])
    assert "last-55" not in status(screen)["text"]
    desk.press(" ")
    expect(view).to_have_attribute("data-state", "paused")
    paused = status(screen)["position"]

    desk.press("End")
    expect(view).to_have_attribute("data-state", "ended")
    assert "last-55" in status(screen)["text"]
    assert "green 漢字" in status(screen)["text"]
    desk.press("Home")
    desk.until(lambda: status(screen)["state"] == "paused")
    assert "first-42" not in status(screen)["text"]
    assert status(screen)["position"] == 0
    desk.press("ArrowRight")
    desk.until(lambda: status(screen)["position"] >= min(paused, 4))
    view.locator('[data-vhq="speed"]').select_option("10")
    view.locator('[data-vhq="toggle"]').click()
    expect(view).to_have_attribute("data-state", "ended")

    # No key of it was one for the notebook, and nothing was typed anywhere.
    after = desk.contents()
    assert (after["active"], after["cells"]) == (before["active"], before["cells"])
    (output,) = desk.outputs(0)
    assert "last-55" in "".join(output["data"]["text/html"])
    assert re.fullmatch(r"<recording of .+:2>", "".join(output["data"]["text/plain"]))
    assert desk.sockets() == []
