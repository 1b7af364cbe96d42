"""
The client: sockets that resume, and the notebook facade on top of them.

Everything here runs on one background event loop (``loop``); what a notebook calls is
a thin synchronous face. Nothing of Jupyter and no pandas is imported before use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vibehq_nb.client.fetch import Fetched
    from vibehq_nb.client.link import CloseEvent, ReadyState
    from vibehq_nb.client.reconnecting import ReconnectingWebSocket
    from vibehq_nb.client.replicated_socket import ReplicatedPartySocket, ResumeAnswer
    from vibehq_nb.client.socket import PartySocket

__all__ = [
    "CloseEvent",
    "Fetched",
    "PartySocket",
    "ReadyState",
    "ReconnectingWebSocket",
    "ReplicatedPartySocket",
    "ResumeAnswer",
]

_HOMES = {
    "CloseEvent": "link",
    "Fetched": "fetch",
    "PartySocket": "socket",
    "ReadyState": "link",
    "ReconnectingWebSocket": "reconnecting",
    "ReplicatedPartySocket": "replicated_socket",
    "ResumeAnswer": "replicated_socket",
}


def __getattr__(name: str) -> Any:
    """Import a socket on first use: what needs another module here waits for none."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
