"""
The room server of VibeHQ: standalone, or inside a Jupyter server.

What the author of a room needs is here: ``from vibehq_server import Room``.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vibehq_nb import __version__

if TYPE_CHECKING:
    from vibehq_nb.core.messages import Message
    from vibehq_server.connection import Connection
    from vibehq_server.mount import Mount
    from vibehq_server.parties import Rooms
    from vibehq_server.replicated import ReplicatedRoom
    from vibehq_server.requests import ConnectRequest, HttpRequest, Response
    from vibehq_server.room import Room, ScheduledTask
    from vibehq_server.rooms.topics import Topics

__all__ = [
    "ConnectRequest",
    "Connection",
    "HttpRequest",
    "Message",
    "Mount",
    "ReplicatedRoom",
    "Response",
    "Room",
    "Rooms",
    "ScheduledTask",
    "Topics",
    "__version__",
]

_HOMES = {
    "ConnectRequest": "requests",
    "Connection": "connection",
    "HttpRequest": "requests",
    "Message": "replicated",
    "Mount": "mount",
    "ReplicatedRoom": "replicated",
    "Response": "requests",
    "Room": "room",
    "Rooms": "parties",
    "ScheduledTask": "room",
    "Topics": "rooms.topics",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the CLI starts without them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vibehq_server' has no attribute {name!r}")
    return getattr(importlib.import_module(f"vibehq_server.{_HOMES[name]}"), name)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell Jupyter which application to load; jupyter_server is imported only here."""
    from vibehq_server.extension import VibeExtension

    return [{"module": "vibehq_server", "app": VibeExtension}]
