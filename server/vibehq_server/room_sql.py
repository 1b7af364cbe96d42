"""
One SQLite file a room: for what is too large or too relational for key-values.

Statements run in a thread, one after another; WAL with ``synchronous=FULL``, so what
a call returned for is on disk. The file is not part of the room's log: a write here
and an append are two writes, and a kill may come between them.
"""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from vibehq_nb.core.errors import NotStoredError, UsageError
from vibehq_nb.core.ids import RoomKey

T = TypeVar("T")
Row = dict[str, Any]


def sql_path(folder: Path, key: RoomKey) -> Path:
    """Return where the file of room *key* lies; a name of its own for every room."""
    digest = hashlib.sha256(str(key).encode()).hexdigest()[:32]
    return folder / "sql" / key.party / f"{digest}.sqlite3"


class RoomSql:
    """The SQLite database of one room."""

    def __init__(self, path: Path | None) -> None:
        """Use *path*, made with the first statement; None keeps it in memory."""
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._lock = asyncio.Lock()

    async def execute(self, statement: str, *values: Any) -> list[Row]:
        """
        Run one statement and return its rows, committed.

        Raises:
            UsageError: If SQLite does not accept the statement or its values.
            NotStoredError: If the disk refuses.
        """
        async with self._lock:
            return await self._in_thread(lambda db: _execute(db, statement, values))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["SqlTransaction"]:
        """
        Run the block's statements as one transaction; nothing stays if it raises.

        Other statements of the room wait until the block ends.
        """
        async with self._lock:
            try:
                await self._in_thread(lambda db: db.execute("BEGIN IMMEDIATE"))
                yield SqlTransaction(self)
                await self._in_thread(lambda db: db.execute("COMMIT"))
            except BaseException:
                await asyncio.shield(self._in_thread(_roll_back))
                raise

    async def _in_thread(self, work: Callable[[sqlite3.Connection], T]) -> T:
        running = asyncio.ensure_future(asyncio.to_thread(self._run, work))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])  # what has begun ends before the next begins
            raise

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._open())
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            if _is_disk(error):
                raise NotStoredError(f"the disk refuses: {error}") from None
            raise UsageError(f"SQLite says: {error}") from None
        except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
            raise UsageError(f"SQLite says: {error}") from None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            if self._path is not None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self._path or ":memory:", isolation_level=None, check_same_thread=False
            )
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
        return self._db

    def close(self) -> None:
        """Let go of the file; blocks."""
        if self._db is not None:
            self._db.close()
            self._db = None


class SqlTransaction:
    """The statements of one transaction."""

    def __init__(self, database: RoomSql) -> None:
        """Run on *database*, whose lock is held."""
        self._database = database

    async def execute(self, statement: str, *values: Any) -> list[Row]:
        """Run one statement and return its rows; as :meth:`RoomSql.execute`."""
        return await self._database._in_thread(
            lambda db: _execute(db, statement, values)
        )


def _execute(
    db: sqlite3.Connection, statement: str, values: tuple[Any, ...]
) -> list[Row]:
    return [dict(row) for row in db.execute(statement, values).fetchall()]


def _roll_back(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        db.execute("ROLLBACK")


def _is_disk(error: sqlite3.Error) -> bool:
    kinds = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")
    return getattr(error, "sqlite_errorname", "").startswith(kinds)
