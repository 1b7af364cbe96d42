"""A notebook open in JupyterLab, driven as a person drives it."""

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page

KERNEL_IS_IDLE = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  const kernel = panel?.sessionContext?.session?.kernel;
  return kernel?.connectionStatus === 'connected' && kernel?.status === 'idle';
}"""

TERMINAL_TEXT = """() => {
  const [terminal] = [...(window.__vibehq?.terminals ?? new Map()).values()];
  return terminal ? terminal.text() : '';
}"""

KEEP_SOCKETS = """
window.openedSockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    window.openedSockets.push(this);
  }
};
"""


class NotebookPage:
    """One notebook in one browser tab."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def wait_for_kernel(self) -> None:
        """Wait for the kernel itself: the status bar says idle before there is one."""
        self.page.wait_for_function(KERNEL_IS_IDLE, timeout=60_000)

    def command(self, name: str) -> None:
        """Run a JupyterLab command without waiting for its end."""
        self.page.evaluate(f"() => void window.jupyterapp.commands.execute('{name}')")

    def open(self, name: str) -> None:
        """Open a notebook beside those that are open, and wait for its kernel."""
        script = """(path) => window.jupyterapp.commands.execute(
          'docmanager:open', {path, factory: 'Notebook'}).then(() => null)"""
        self.page.evaluate(script, name)
        self.wait_for_kernel()

    def save(self) -> None:
        """Save the notebook."""
        script = "() => window.jupyterapp.shell.currentWidget.context.save()"
        self.page.evaluate(script)

    def close_all(self) -> None:
        """Close every notebook and end its kernel, unless the server is gone."""
        script = """async () => {
          for (const panel of [...window.jupyterapp.shell.widgets('main')]) {
            await panel.sessionContext?.shutdown().catch(() => null);
            panel.dispose();
          }
        }"""
        self.page.evaluate(script)

    def run_all(self) -> None:
        self.command("notebook:run-all-cells")

    def cell(self, text: str) -> int:
        """Return the index of the code cell whose source holds *text*."""
        script = """(text) => {
          const cells = window.jupyterapp.shell.currentWidget.content.widgets;
          return cells.findIndex(cell => cell.model.type === 'code'
            && cell.model.sharedModel.getSource().includes(text));
        }"""
        index = int(self.page.evaluate(script, text))
        assert index >= 0, f"no code cell holds {text!r}"
        return index

    def run_cell(self, index: int) -> None:
        """Select a cell and run it."""
        script = """(index) => {
          const panel = window.jupyterapp.shell.currentWidget;
          panel.content.deselectAll();
          panel.content.activeCellIndex = index;
        }"""
        self.page.evaluate(script, index)
        self.command("notebook:run-cell")

    def run_and_wait(self, index: int) -> None:
        """Run a cell and wait until it is done anew."""
        script = """(index) => {
          const cell = window.jupyterapp.shell.currentWidget.content.widgets[index];
          return cell.model.sharedModel.execution_count;
        }"""
        before = self.page.evaluate(script, index)
        self.run_cell(index)
        self.until(lambda: self.page.evaluate(script, index) not in (before, None))

    def contents(self) -> dict[str, Any]:
        """Return what keys meant for the notebook would change."""
        script = """() => {
          const {content, context} = window.jupyterapp.shell.currentWidget;
          return {
            dirty: context.model.dirty,
            active: content.activeCellIndex,
            cells: content.widgets.map(({model}) => [
              model.type, model.sharedModel.getSource(),
              model.sharedModel.execution_count]),
          };
        }"""
        return dict(self.page.evaluate(script))

    def sockets(self) -> list[str]:
        """Return the rooms this page has a connection to, open or being opened."""
        script = """() => window.openedSockets
          .filter(socket => socket.readyState < WebSocket.CLOSING)
          .map(socket => new URL(socket.url).pathname.split('/parties/')[1])
          .filter(Boolean)"""
        return list(self.page.evaluate(script))

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """Return a cell's outputs as the notebook file would hold them."""
        script = """(index) => {
          const cell = window.jupyterapp.shell.currentWidget.content.widgets[index];
          return cell.model.sharedModel.getOutputs?.() ?? [];
        }"""
        return list(self.page.evaluate(script, index))

    def is_done(self, index: int) -> bool:
        """Tell whether a cell has run to its end."""
        script = """(index) => {
          const cell = window.jupyterapp.shell.currentWidget.content.widgets[index];
          return cell.model.sharedModel.execution_count !== null
            && cell.model.executionState !== 'running';
        }"""
        return bool(self.page.evaluate(script, index))

    @property
    def terminal(self) -> Locator:
        """The first terminal view on show."""
        return self.page.locator('[data-vhq="terminal"]:visible').first

    def terminal_text(self) -> str:
        """Return what the terminal holds, scrollback included."""
        return str(self.page.evaluate(TERMINAL_TEXT))

    def type(self, text: str) -> None:
        """Click into the terminal and type."""
        # JupyterLab's own word of a server that was away for long; anybody closes it.
        lost = self.page.locator('[aria-label^="Server Connection Error"] button').last
        if lost.is_visible():
            lost.click()
        self.terminal.locator(".xterm-screen").click()
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def press(self, *keys: str) -> None:
        """Press keys, one after another, where the focus is."""
        for key in keys:
            self.page.keyboard.press(key)

    def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Wait until *condition* holds and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            self.page.wait_for_timeout(100)
        raise AssertionError(f"not within {seconds} s: {self.terminal_text()[-2000:]}")
