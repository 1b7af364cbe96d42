"""The view classes: traits, the stub they load, one message handler."""

import html
import re
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from vibehq_nb.widgets.bundle import bundle_bytes, bundle_hash

_BRACKETS = re.compile(r"<\w+ (?P<name>.+)>")

STUB = Path(__file__).parent / "stub.js"


class RoomView(anywidget.AnyWidget):
    """
    What all views share.

    The stub imports the bundle from the server's extension; where there is none, it
    asks the kernel for it once per page. ``snapshot`` is the HTML that a saved
    notebook shows; it is not sent to the page.
    """

    _esm = STUB

    view = traitlets.Unicode().tag(sync=True)
    base = traitlets.Unicode().tag(sync=True)
    terminal = traitlets.Unicode().tag(sync=True)
    recording = traitlets.Unicode().tag(sync=True)
    approval_id = traitlets.Unicode().tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)
    height = traitlets.Int(0, min=0, max=10_000).tag(sync=True)
    bundle_hash = traitlets.Unicode().tag(sync=True)

    def __init__(self, *, snapshot: str = "", **traits: Any) -> None:
        """Keep *snapshot* for saved notebooks; the rest are traits."""
        self._name = str(traits.get("title", ""))
        traits.setdefault("bundle_hash", bundle_hash())
        traits["title"] = _without_brackets(self._name)
        super().__init__(**traits)
        self.snapshot = snapshot
        self.on_msg(self._answer)

    def __repr__(self) -> str:
        """Return the same text at every run: no address, no id."""
        return self._name or f"<{self.view} view>"

    def _answer(self, _view: Any, content: Any, _buffers: Any) -> None:
        if isinstance(content, dict) and content.get("type") == "bundle":
            answer = {"type": "bundle", "hash": bundle_hash()}
            self.send(answer, [bundle_bytes()])

    def _repr_mimebundle_(self, **options: Any) -> Any:
        found = super()._repr_mimebundle_(**options)
        content, metadata = found if isinstance(found, tuple) else ({}, {})
        content["text/plain"] = repr(self)
        content["text/html"] = self.snapshot or _named(repr(self))
        return content, metadata


def _without_brackets(name: str) -> str:
    """Return ``web-1 (docker)`` for ``<terminal web-1 (docker)>``."""
    found = _BRACKETS.fullmatch(name)
    return found["name"] if found else name


def _named(name: str) -> str:
    # The class tells the front end that this still picture is one of ours.
    return f'<p class="vhq-view">{html.escape(name)}</p>'


class TerminalView(RoomView):
    """A live terminal."""

    view = traitlets.Unicode("terminal").tag(sync=True)


class RecordingView(RoomView):
    """A player of one recording."""

    view = traitlets.Unicode("recording").tag(sync=True)


class ApprovalView(RoomView):
    """One request for a decision with its buttons, or without an id all of them."""

    view = traitlets.Unicode("approvals").tag(sync=True)


class FindingsView(RoomView):
    """The findings of all scans, as they change."""

    view = traitlets.Unicode("findings").tag(sync=True)
