"""The main story, in a real browser on a real JupyterLab."""

import re

from tests.browser.lab import Lab
from tests.browser.notebook import NotebookPage

CONFIRM = '[data-vhq="approve"]'


def test_run_all_then_a_killed_server_then_a_new_kernel(
    lab: Lab, quickstart: NotebookPage
) -> None:
    page = quickstart.page
    gate = quickstart.cell("task.confirm")

    # Run All: a live terminal, a scan, and a gate that waits while it blocks.
    quickstart.run_all()
    page.locator(CONFIRM).first.click(timeout=60_000)
    quickstart.until(lambda: quickstart.is_done(gate), 60)
    errors = [
        output
        for index in range(gate + 1)
        for output in quickstart.outputs(index)
        if output["output_type"] == "error"
    ]
    assert errors == []

    # Typed keys reach the shell.
    quickstart.type("echo typed-$((40+2))")
    quickstart.until(lambda: "typed-42" in quickstart.terminal_text())

    # The server dies and comes back; the shell goes on and nothing is missing.
    quickstart.type("for i in $(seq 1 150); do echo tick-$i; sleep 0.05; done; pwd")
    quickstart.until(lambda: "tick-20\n" in quickstart.terminal_text())
    worker = lab.worker_pid()
    lab.kill()
    quickstart.until(
        lambda: quickstart.terminal.get_attribute("data-state") != "connected"
    )
    lab.start()
    quickstart.until(lambda: "tick-150\n" in quickstart.terminal_text(), 60)
    ticks = re.findall(r"^tick-(\d+)$", quickstart.terminal_text(), re.MULTILINE)
    assert [int(tick) for tick in ticks] == list(range(1, 151))
    assert lab.worker_pid() == worker
    assert "typed-42" in quickstart.terminal_text()
    quickstart.type("echo again-$((40+3))")
    quickstart.until(lambda: "again-43" in quickstart.terminal_text())

    # A new kernel, the gate once more, and a click ends it.
    page.evaluate(
        """async () => {
          const context = window.jupyterapp.shell.currentWidget.sessionContext;
          await context.changeKernel({name: 'python3'});
        }"""
    )
    quickstart.wait_for_kernel()
    quickstart.run_cell(quickstart.cell("vibehq_nb.connect("))
    quickstart.run_cell(gate)
    page.locator(f"{CONFIRM}:not([disabled])").last.click(timeout=60_000)
    quickstart.until(lambda: quickstart.is_done(gate), 60)
    assert all(o["output_type"] != "error" for o in quickstart.outputs(gate))
