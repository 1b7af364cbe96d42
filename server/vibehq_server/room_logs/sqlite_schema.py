"""The tables of the room log's SQLite file, and how the file is opened."""

import os
import shutil
import sqlite3
from pathlib import Path

from vibehq_nb.core.errors import NotStoredError, VibeError

SCHEMA_VERSION = 1
_NEEDED_BYTES = 256 * 1024  # for the files that SQLite makes beside its own
APPLICATION_ID = 0x56484C47  # "VHLG", what `file` can tell it by

_SCHEMA = f"""
CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    party TEXT NOT NULL,
    name TEXT NOT NULL,
    audited INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    term INTEGER NOT NULL DEFAULT 0,
    head INTEGER NOT NULL DEFAULT 0,
    head_hash BLOB NOT NULL,
    oldest INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (party, name)
);
CREATE TABLE entries (
    room INTEGER NOT NULL REFERENCES rooms (id),
    offset INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (room, offset)
) WITHOUT ROWID;
CREATE TABLE states (
    room INTEGER PRIMARY KEY REFERENCES rooms (id),
    offset INTEGER NOT NULL,
    state BLOB NOT NULL
);
CREATE TRIGGER entries_follow BEFORE INSERT ON entries
WHEN NEW.offset <= (SELECT max(offset) FROM entries WHERE room = NEW.room)
BEGIN SELECT RAISE(ABORT, 'an entry goes after the head only'); END;
CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'an entry never changes'); END;
CREATE TRIGGER audited_entries_stay BEFORE DELETE ON entries
WHEN (SELECT audited FROM rooms WHERE id = OLD.room)
BEGIN SELECT RAISE(ABORT, 'an audited entry stays'); END;
CREATE TRIGGER audited_rooms_stay BEFORE DELETE ON rooms WHEN OLD.audited
BEGIN SELECT RAISE(ABORT, 'an audited room stays'); END;
CREATE TRIGGER audited_rooms_stay_audited
BEFORE UPDATE OF id, audited, epoch, oldest ON rooms WHEN OLD.audited
BEGIN SELECT RAISE(ABORT, 'an audited room stays audited'); END;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


class SchemaError(VibeError):
    """The file was written by a newer version, or by another program; left as is."""


def connect(path: Path, *, reads_only: bool) -> sqlite3.Connection:
    """
    Return a connection to the room log at *path*; creates the tables in a new file.

    Raises:
        SchemaError: If the file is not ours or newer than we are; it stays as it is.
        NotStoredError: If it cannot be opened.
    """
    db = None
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise NotStoredError(f"cannot open {path}: it cannot be written")
    try:
        db = sqlite3.connect(
            path, timeout=5.0, isolation_level=None, check_same_thread=False
        )
        _prepare(db, path, reads_only)
    except BaseException as error:
        if db is not None:
            db.close()
        if isinstance(error, sqlite3.OperationalError):
            why = "the disk is full" if _is_full(path.parent) else error
            raise NotStoredError(f"cannot open {path}: {why}") from None
        if isinstance(error, sqlite3.DatabaseError):
            raise SchemaError(f"{path} is not a room log: {error}") from None
        raise
    return db


def _is_full(folder: Path) -> bool:
    return folder.exists() and shutil.disk_usage(folder).free < _NEEDED_BYTES


def _prepare(db: sqlite3.Connection, path: Path, reads_only: bool) -> None:
    is_new = _is_new(db, path)
    if reads_only:
        db.execute("PRAGMA query_only = ON")
        return
    if is_new:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA journal_size_limit = 67108864")
    db.execute("PRAGMA recursive_triggers = ON")
    if is_new:
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")


def _is_new(db: sqlite3.Connection, path: Path) -> bool:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    tables = int(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if tables == 0 and version == 0:
        return True
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise SchemaError(f"{path} was made by another program")
    if version > SCHEMA_VERSION:
        raise SchemaError(
            f"{path} was written by a newer vibehq-nb (schema {version}, this one "
            f"knows {SCHEMA_VERSION}); upgrade vibehq-nb on this host"
        )
    return False
