"""Which room class serves which party: the built-in ones, and users' own."""

import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.ids import party_name
from vibehq_server.room import Room
from vibehq_server.rooms.grants import GrantsRoom
from vibehq_server.rooms.hil import HilRoom
from vibehq_server.rooms.lobby import LobbyRoom
from vibehq_server.rooms.ops import OpsRoom
from vibehq_server.rooms.terminal import TerminalRoom
from vibehq_server.rooms.terminal_log import TerminalLogRoom
from vibehq_server.rooms.worker import WorkerRoom
from vibehq_server.settings import StartError

_PARTY = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

BUILT_IN: dict[str, type[Room]] = {
    "terminal": TerminalRoom,
    "worker": WorkerRoom,
    "ops": OpsRoom,
    "hil": HilRoom,
    "lobby": LobbyRoom,
    "grants": GrantsRoom,
    "terminal-log": TerminalLogRoom,
}


@dataclass(frozen=True, slots=True)
class Rooms:
    """
    Users' rooms, as ``vibehq serve --rooms module:NAME`` finds them.

    Attributes:
        kinds: Room class by party name, or just the classes, whose names in
            kebab-case are then their parties: ``MyServer`` is ``my-server``.
        prefix: What stands before the party in the address; may have several parts.
        props: What ``on_start`` of every room is given.
    """

    kinds: Mapping[str, type[Room]] | Sequence[type[Room]]
    prefix: str = "parties"
    props: Mapping[str, Any] = field(default_factory=dict)

    def parties(self) -> dict[str, type[Room]]:
        """
        Return the room class of each party, by its name in kebab-case.

        Raises:
            UsageError: If there is none, or one that is no room, or a name twice.
        """
        found: dict[str, type[Room]] = {}
        for name, kind in self._named():
            party = party_name(str(name))
            if not _is_room_class(kind):
                raise UsageError(f"{name} is no Room class")
            if not _PARTY.fullmatch(party):
                raise UsageError(f"{party!r} is no party name")
            if kind.access not in ("session", "open"):
                raise UsageError(
                    f"{name}.access is {kind.access!r}; it is 'session' or 'open'"
                )
            if party in found:
                raise UsageError(f"there are two parties called {party}")
            found[party] = kind
        if not found:
            raise UsageError("there is no room class in it")
        if not all(part for part in self.prefix.split("/")):
            raise UsageError("a prefix is one or more words with a slash between them")
        return found

    def _named(self) -> Iterable[tuple[str, type[Room]]]:
        if isinstance(self.kinds, Mapping):
            return self.kinds.items()
        return [(getattr(kind, "__name__", str(kind)), kind) for kind in self.kinds]


def _is_room_class(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Room)


def load_rooms(reference: str) -> Rooms:
    """
    Return the rooms of *reference*, ``module:NAME``; NAME is ROOMS if left out.

    Raises:
        StartError: If it names no :class:`Rooms`, no mapping from party to room
            class and no sequence of room classes, or one of our parties.
    """
    module_name, _, name = reference.partition(":")
    try:
        with _importable_here():
            found = getattr(importlib.import_module(module_name), name or "ROOMS")
        if not isinstance(found, Rooms | Mapping | Sequence) or isinstance(found, str):
            raise UsageError(
                f"{name or 'ROOMS'} is no list of room classes; write ROOMS = [MyRoom]"
            )
        rooms = found if isinstance(found, Rooms) else Rooms(found)
        parties = rooms.parties()
    except UsageError as error:
        raise StartError(f"--rooms {reference}: {error}") from None
    except Exception as error:  # whatever the module does when it is imported
        raise StartError(
            f"--rooms {reference}: {type(error).__name__}: {error}"
        ) from None
    if taken := sorted(BUILT_IN.keys() & parties.keys()):
        raise StartError(f"--rooms {reference}: {taken[0]} is a built-in party")
    return rooms


@contextmanager
def _importable_here() -> Iterator[None]:
    """Find modules in the folder the server is started in, as ``python`` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
