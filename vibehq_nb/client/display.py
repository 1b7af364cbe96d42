"""
Where the client meets a notebook front end, without depending on one.

Views live in ``vibehq_nb.widgets``, which is above this package: they are looked up
by name when something is displayed, and plain text and HTML stand in where the extra
``lab`` is not installed or nothing displays.
"""

import importlib
import os
import sys
from typing import Any

VIEWS = "vibehq_nb.widgets"


def views() -> Any:
    """Return the module of views; None where anywidget is not installed."""
    try:
        return importlib.import_module(VIEWS)
    except ImportError:
        return None


def in_notebook() -> bool:
    """Tell whether this process is a kernel, whose displays somebody keeps."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def is_watched() -> bool:
    """
    Tell whether a person most likely looks at this notebook while it runs.

    Jupyter's server names the notebook in JPY_SESSION_NAME; programs that execute
    notebooks do not.
    """
    return in_notebook() and "JPY_SESSION_NAME" in os.environ


def show(thing: Any) -> None:
    """Display *thing* in the running cell; does nothing outside of a notebook."""
    if in_notebook():
        from IPython.display import display

        display(thing)  # type: ignore[no-untyped-call]


class ProgressBar:
    """
    How far a scan is, while somebody looks; gone afterwards.

    Safe to call from the client's loop: it sets traits and prints nothing.
    """

    def __init__(self, label: str) -> None:
        """Show an empty bar, where there is a front end to show it."""
        self._bar: Any = None
        if is_watched():
            self._bar = self._new_bar(label)

    @staticmethod
    def _new_bar(label: str) -> Any:
        try:
            import ipywidgets
        except ImportError:
            return None
        bar = ipywidgets.IntProgress(description=label, max=1)
        bar.layout.width = "60%"
        show(bar)
        return bar

    def report(self, phase: str, processed: int, total: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.max = max(total, 1)
            self._bar.value = min(processed, max(total, 1))
            self._bar.description = phase

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
