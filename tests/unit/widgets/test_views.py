"""Views declare: traits, a stub, one message; no secret and nothing that changes."""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vibehq_nb.widgets import (
    ApprovalView,
    FindingsView,
    RecordingView,
    RoomView,
    TerminalView,
    bundle_hash,
)

bundle = sys.modules["vibehq_nb.widgets.bundle"]


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    content = b"export default { render() {} };"
    path = tmp_path / "vibehq.js"
    path.write_bytes(content)
    monkeypatch.setattr(bundle, "bundle_path", lambda: path)
    return content


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (TerminalView, "terminal"),
        (ApprovalView, "approvals"),
        (FindingsView, "findings"),
        (RecordingView, "recording"),
    ],
)
def test_each_view_says_which_one_it_is(kind: type[RoomView], name: str) -> None:
    assert kind().get_state()["view"] == name


def test_what_is_sent_to_the_page_is_small_and_holds_no_secret(built: bytes) -> None:
    state = TerminalView(terminal="web-1", title="t", snapshot="<pre>x</pre>")

    sent = {
        key: value
        for key, value in state.get_state().items()
        if not key.startswith("_") and key not in ("layout", "tabbable", "tooltip")
    }

    assert sent == {
        "view": "terminal",
        "base": "",
        "terminal": "web-1",
        "recording": "",
        "approval_id": "",
        "title": "t",
        "height": 0,
        "bundle_hash": hashlib.sha256(built).hexdigest()[:12],
    }


def test_the_stub_is_small() -> None:
    assert len(str(TerminalView()._esm)) < 3000


def test_a_saved_notebook_keeps_the_screen_and_a_stable_name() -> None:
    view = TerminalView(
        terminal="web-1", title="<terminal web-1 (local)>", snapshot="<pre>$ ls</pre>"
    )

    content, _metadata = view._repr_mimebundle_()

    assert content["text/plain"] == "<terminal web-1 (local)>"
    assert content["text/html"] == "<pre>$ ls</pre>"
    assert "application/vnd.jupyter.widget-view+json" in content


def test_the_bar_shows_the_name_without_the_brackets_of_a_repr() -> None:
    view = TerminalView(title="<terminal web-1 (local)>")

    assert view.get_state()["title"] == "web-1 (local)"
    assert repr(view) == "<terminal web-1 (local)>"


def test_a_view_without_a_screen_shows_its_name_escaped() -> None:
    content, _metadata = RoomView(title="<b>")._repr_mimebundle_()

    assert content["text/html"] == '<p class="vhq-view">&lt;b&gt;</p>'


def test_the_page_gets_the_bundle_when_it_asks(
    built: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = TerminalView()
    sent: list[tuple[Any, Any]] = []
    monkeypatch.setattr(view, "send", lambda *sends: sent.append(sends))

    view._answer(view, {"type": "bundle"}, [])
    view._answer(view, {"type": "other"}, [])
    view._answer(view, "bundle", [])

    assert sent == [({"type": "bundle", "hash": bundle_hash()}, [built])]


def test_without_a_bundle_the_hash_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "bundle_path", lambda: tmp_path / "none.js")

    assert bundle.bundle_hash() == ""
    assert bundle.bundle_bytes() == b""


def test_a_bare_import_imports_nothing_of_jupyter_and_no_pandas() -> None:
    program = (
        "import sys, vibehq_nb; vibehq_nb.connect; import vibehq_nb.client.hq;"
        "import vibehq_nb.aio, vibehq_nb.testing;"
        "heavy = {'pandas', 'IPython', 'ipywidgets', 'anywidget', 'jupyter_core'};"
        "print(sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
