"""What every keeper of room logs checks before it stores anything."""

from collections.abc import Sequence

from vibehq_nb.core.errors import NotStoredError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import Entry, first_broken

AUDITED_PARTIES = frozenset({"hil", "grants", "terminal-log"})
"""Parties whose entries are never trimmed: decisions, grants, terminals' entry logs."""


def refuse_strangers(
    room: RoomKey, head: int, head_hash: bytes, entries: Sequence[Entry]
) -> None:
    """
    Pass only *entries* that follow the head densely and are chained to it.

    Raises:
        NotStoredError: If one does not.
    """
    for wanted, entry in enumerate(entries, start=head + 1):
        if entry.offset != wanted:
            raise NotStoredError(
                f"offset {entry.offset} does not follow the head {wanted - 1} of {room}"
            )
    if first_broken(str(room), entries, head_hash) is not None:
        raise NotStoredError(f"an entry is not chained to the head of {room}")
