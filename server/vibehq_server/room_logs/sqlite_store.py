"""
The tables of the room log in one SQLite file: plain, synchronous, no threads.

One :class:`Store` is one connection. The writer thread has one, readers another.
Triggers hold what code could get wrong: an entry never changes, never goes before
the head, and in an audited room never leaves.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vibehq_nb.core.errors import GapError, NotStoredError, VibeError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import FIRST_HASH, Entry, chain
from vibehq_nb.core.saved import vouches
from vibehq_server.room_logs.following import refuse_strangers
from vibehq_server.room_logs.port import FencedError, Opened, Term
from vibehq_server.room_logs.sqlite_schema import connect

DAY_SECONDS = 86_400
_TRIM_ROWS = 2_000
_ROWS_AT_ONCE = 64


class BrokenLogError(VibeError):
    """An audited room's entries, or its saved state, do not follow from the first."""

    def __init__(self, room: RoomKey, offset: int) -> None:
        """Name the first *offset* that does not follow."""
        super().__init__(
            f"the log of {room} was changed from outside: what it holds at offset "
            f"{offset} does not follow from its entries; restore it from a backup"
        )
        self.room = room
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Retention:
    """
    How much of a room that is not audited is kept; whichever bound comes first.

    Never trimmed: what the room's saved state does not cover yet.
    """

    max_age_seconds: float = 180 * DAY_SECONDS
    max_bytes: int = 2 * 1024**3
    max_entries: int | None = None


class Store:
    """One connection to the file; used by one thread at a time."""

    def __init__(
        self, path: Path, audited_parties: Collection[str], *, reads_only: bool = False
    ) -> None:
        """
        Open *path*; creates the tables in a new file.

        Raises:
            SchemaError: If the file is not ours or newer than we are.
            NotStoredError: If it cannot be opened.
        """
        self._audited_parties = frozenset(audited_parties)
        self._db = connect(path, reads_only=reads_only)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block wrote when it ends well, durably; nothing otherwise."""
        self._roll_back()  # where the disk refused even that before
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def find(self, room: RoomKey) -> Opened | None:
        """Return where *room* stands, if it was ever opened."""
        row = self._db.execute(
            "SELECT epoch, head, head_hash, oldest, coalesce(states.offset, 0), state"
            " FROM rooms LEFT JOIN states ON states.room = rooms.id"
            " WHERE party = ? AND name = ?",
            room,
        ).fetchone()
        return None if row is None else Opened(*row)

    def create(self, room: RoomKey, new_epoch: str) -> None:
        """Let *room* begin with *new_epoch*, unless it is there."""
        self._db.execute(
            "INSERT OR IGNORE INTO rooms (party, name, audited, epoch, head_hash)"
            " VALUES (?, ?, ?, ?, ?)",
            (*room, room.party in self._audited_parties, new_epoch, FIRST_HASH),
        )

    def claim(self, room: RoomKey, new_epoch: str) -> Term:
        """Begin a new ownership of *room* and return its term."""
        self.create(room, new_epoch)
        self._db.execute(
            "UPDATE rooms SET term = term + 1 WHERE party = ? AND name = ?", room
        )
        sql = "SELECT term FROM rooms WHERE party = ? AND name = ?"
        return Term(self._db.execute(sql, room).fetchone()[0])

    def append(self, room: RoomKey, term: Term, entries: Sequence[Entry]) -> int:
        """
        Write *entries* inside a transaction and return the head.

        Raises:
            FencedError: If *term* is not the latest claim.
            NotStoredError: If they do not follow the head. Nothing is written then.
        """
        row = self._db.execute(
            "SELECT id, term, head, head_hash FROM rooms WHERE party = ? AND name = ?",
            room,
        ).fetchone()
        if row is None or row[1] != term:
            raise FencedError(f"a later claim took {room}")
        room_id, _, head, head_hash = row
        refuse_strangers(room, head, head_hash, entries)
        if not entries:
            return int(head)
        for start in range(0, len(entries), _ROWS_AT_ONCE):
            self._insert(room_id, entries[start : start + _ROWS_AT_ONCE])
        last = entries[-1]
        added = sum(len(entry.body) for entry in entries)
        self._db.execute(
            "UPDATE rooms SET head = ?, head_hash = ?, bytes = bytes + ? WHERE id = ?",
            (last.offset, last.hash, added, room_id),
        )
        return last.offset

    def _insert(self, room_id: int, entries: Sequence[Entry]) -> None:
        # One statement: the interpreter's lock is let go once, not once a row, and
        # each time it may come back only 5 ms later.
        values = ", ".join(["(?, ?, ?, ?, ?)"] * len(entries))
        self._db.execute(
            f"INSERT INTO entries (room, offset, at, body, hash) VALUES {values}",
            [v for e in entries for v in (room_id, e.offset, e.at, e.body, e.hash)],
        )

    def save(self, room: RoomKey, offset: int, state: bytes) -> None:
        """
        Keep *state* at *offset*, unless a later one is kept already.

        Raises:
            NotStoredError: If the room is unknown or *offset* ahead of its head.
        """
        row = self._db.execute(
            "SELECT id, head FROM rooms WHERE party = ? AND name = ?", room
        ).fetchone()
        if row is None or offset > row[1]:
            raise NotStoredError(f"offset {offset} is ahead of the head of {room}")
        self._db.execute(
            "INSERT INTO states (room, offset, state) VALUES (?, ?, ?)"
            " ON CONFLICT (room) DO UPDATE SET offset = excluded.offset,"
            " state = excluded.state WHERE excluded.offset >= states.offset",
            (row[0], offset, state),
        )

    def read(self, room: RoomKey, after: int, limit: int) -> list[Entry]:
        """
        Return at most *limit* entries after offset *after*.

        Raises:
            GapError: If some of them are no longer kept.
        """
        # One statement, so that no trim can slip between the bound and the rows.
        rows = self._db.execute(
            "SELECT oldest, offset, at, body, hash FROM rooms LEFT JOIN entries"
            " ON room = id AND offset > ? WHERE party = ? AND name = ?"
            " ORDER BY offset LIMIT ?",
            (after, *room, max(limit, 1)),
        ).fetchall()
        if rows and after < rows[0][0]:
            raise GapError(after, rows[0][0])
        return [Entry(*row[1:]) for row in rows[:limit] if row[1] is not None]

    def size(self, room: RoomKey) -> int:
        """Return the bytes of the kept entries of *room*, 0 if it is unknown."""
        row = self._db.execute(
            "SELECT bytes FROM rooms WHERE party = ? AND name = ?", room
        ).fetchone()
        return int(row[0]) if row else 0

    def first_broken(self, room: RoomKey) -> int | None:
        """
        Return the first offset of *room* that does not follow, or None.

        In an audited room also the offset of a saved state that no entry vouches for.
        """
        # One transaction: what is appended or trimmed meanwhile is not to be seen.
        self._db.execute("BEGIN")
        try:
            broken = self._first_broken_entry(room)
            return self._broken_state(room) if broken is None else broken
        finally:
            self._roll_back()

    def _first_broken_entry(self, room: RoomKey) -> int | None:
        row = self._db.execute(
            "SELECT id, head, head_hash, oldest FROM rooms"
            " WHERE party = ? AND name = ?",
            room,
        ).fetchone()
        if row is None:
            return None
        room_id, head, head_hash, at_offset = row
        # A trimmed room's first entry has nothing left to be compared with.
        previous = FIRST_HASH if at_offset == 0 else None
        rows = self._db.execute(
            # Cast, because a tampered row may hold values of any type.
            "SELECT offset, CAST(at AS INTEGER), CAST(body AS BLOB), hash FROM entries"
            " WHERE room = ? ORDER BY offset",
            (room_id,),
        )
        for offset, at, body, found in rows:
            at_offset += 1
            if offset != at_offset or offset > head:
                return int(at_offset)
            if previous and chain(previous, str(room), offset, at, body) != found:
                return int(offset)
            previous = found
        if at_offset != head:
            return int(at_offset) + 1
        return int(head) if previous and previous != head_hash else None

    def _broken_state(self, room: RoomKey) -> int | None:
        row = self._db.execute(
            "SELECT rooms.id, states.offset, CAST(state AS BLOB) FROM rooms"
            " JOIN states ON states.room = rooms.id"
            " WHERE audited AND party = ? AND name = ?",
            room,
        ).fetchone()
        if row is None:
            return None
        room_id, covers, state = row
        bodies = self._db.execute(
            "SELECT body FROM entries WHERE room = ? AND offset > ? ORDER BY offset",
            (room_id, covers),
        )
        is_vouched = any(vouches(body, covers, state) for (body,) in bodies)
        return None if is_vouched else int(covers)

    def trim(self, retention: Retention, now: float) -> int:
        """
        Delete some of what *retention* no longer keeps; 0 when there is nothing left.

        At most 2,000 entries a call, so that appends never wait long.

        Args:
            retention: The bounds.
            now: Seconds since 1970.
        """
        rooms = self._db.execute(
            "SELECT id, head, oldest, bytes, states.offset FROM rooms"
            " JOIN states ON states.room = rooms.id"
            " WHERE NOT audited AND oldest < states.offset"
        ).fetchall()
        for room in rooms:
            if deleted := self._trim_room(room, retention, now):
                return deleted
        self._db.execute("PRAGMA incremental_vacuum(256)").fetchall()
        return 0

    def _trim_room(
        self, room: tuple[int, int, int, int, int], retention: Retention, now: float
    ) -> int:
        room_id, head, oldest, kept_bytes, saved = room
        youngest_gone = (now - retention.max_age_seconds) * 1000
        rows = self._db.execute(
            "SELECT offset, at, length(body) FROM entries"
            " WHERE room = ? AND offset <= ? ORDER BY offset LIMIT ?",
            (room_id, saved, _TRIM_ROWS),
        )
        cut, cut_bytes = oldest, 0
        for offset, at, size in rows:
            too_many = (
                retention.max_entries is not None
                and head - offset >= retention.max_entries
            )
            too_big = kept_bytes - cut_bytes > retention.max_bytes
            if not (too_many or too_big or at < youngest_gone):
                break
            cut, cut_bytes = offset, cut_bytes + size
        if cut == oldest:
            return 0
        self._db.execute(
            "DELETE FROM entries WHERE room = ? AND offset <= ?", (room_id, cut)
        )
        self._db.execute(
            "UPDATE rooms SET oldest = ?, bytes = bytes - ? WHERE id = ?",
            (cut, cut_bytes, room_id),
        )
        return int(cut - oldest)
