"""The room server of VibeHQ: standalone, or inside a Jupyter server."""

from typing import Any

from vibehq_nb import __version__

__all__ = ["__version__"]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell Jupyter which application to load; jupyter_server is imported only here."""
    from vibehq_server.extension import VibeExtension

    return [{"module": "vibehq_server", "app": VibeExtension}]
