"""
Operate running systems from notebooks: live terminals, scans and approvals.

``connect()`` is the way in. Importing this package imports nothing of Jupyter and
no pandas; what needs them is imported where it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vibehq_nb.client.hq import HQ, connect
    from vibehq_nb.client.replicated_socket import ReplicatedPartySocket
    from vibehq_nb.client.socket import PartySocket

__version__ = "0.1.0"

__all__ = ["HQ", "PartySocket", "ReplicatedPartySocket", "__version__", "connect"]

_HOMES = {
    "HQ": "vibehq_nb.client.hq",
    "connect": "vibehq_nb.client.hq",
    "PartySocket": "vibehq_nb.client.socket",
    "ReplicatedPartySocket": "vibehq_nb.client.replicated_socket",
}


def __getattr__(name: str) -> Any:
    """Import the client on first use, so that a bare import stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
