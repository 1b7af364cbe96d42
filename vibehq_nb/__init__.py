"""
Operate running systems from notebooks: live terminals, scans and approvals.

``connect()`` is the way in. Importing this package imports nothing of Jupyter and
no pandas; what needs them is imported where it is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vibehq_nb.client.hq import HQ, connect

__version__ = "0.1.0"

__all__ = ["HQ", "__version__", "connect"]


def __getattr__(name: str) -> Any:
    """Import the client on first use, so that a bare import stays quick."""
    if name in {"HQ", "connect"}:
        from vibehq_nb.client import hq

        return getattr(hq, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
