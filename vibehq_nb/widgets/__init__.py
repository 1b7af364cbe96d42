"""
Views for notebook front ends. A view declares; it decides nothing.

The page's own socket reaches the rooms, with the identity of whoever looks at the
page; the kernel only names the room. No trait holds a credential.
"""

from vibehq_nb.widgets.bundle import bundle_hash, bundle_path
from vibehq_nb.widgets.views import (
    ApprovalView,
    FindingsView,
    RecordingView,
    RoomView,
    TerminalView,
)

__all__ = [
    "ApprovalView",
    "FindingsView",
    "RecordingView",
    "RoomView",
    "TerminalView",
    "bundle_hash",
    "bundle_path",
]
