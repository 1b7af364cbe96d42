"""Which room class serves which party: the built-in ones, and users' own."""

import importlib
from collections.abc import Mapping

from vibehq_server.room import Room
from vibehq_server.rooms.hil import HilRoom
from vibehq_server.rooms.lobby import LobbyRoom
from vibehq_server.rooms.ops import OpsRoom
from vibehq_server.rooms.terminal import TerminalRoom
from vibehq_server.rooms.worker import WorkerRoom
from vibehq_server.settings import StartError

BUILT_IN: dict[str, type[Room]] = {
    "terminal": TerminalRoom,
    "worker": WorkerRoom,
    "ops": OpsRoom,
    "hil": HilRoom,
    "lobby": LobbyRoom,
}


def load_parties(reference: str | None) -> dict[str, type[Room]]:
    """
    Return the built-in parties and those of *reference*, ``module:NAME``.

    Raises:
        StartError: If it names no mapping from party to room class, or one of ours.
    """
    if reference is None:
        return dict(BUILT_IN)
    module_name, _, name = reference.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name or "ROOMS")
    except (ImportError, AttributeError, ValueError) as error:
        raise StartError(f"--rooms {reference}: {error}") from None
    if not isinstance(found, Mapping) or not all(
        isinstance(kind, type) and issubclass(kind, Room) for kind in found.values()
    ):
        raise StartError(f"--rooms {reference} is no mapping from party to Room class")
    if taken := sorted(BUILT_IN.keys() & found.keys()):
        raise StartError(f"--rooms {reference}: {taken[0]} is a built-in party")
    return {**BUILT_IN, **{str(party): kind for party, kind in found.items()}}
