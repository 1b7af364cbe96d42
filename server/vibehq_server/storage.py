"""
What a room keeps: key-values in its log, and an SQLite file of its own.

Key-values are entries of the room's log: what a transaction wrote is one entry, so
it is stored whole or not at all, together with what the room appended in the same
turn of the loop. They are held in memory and bounded. ``sql`` is a file beside the
log, for what does not fit that, and not atomic with it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from vibehq_nb.core.codec import check_plain
from vibehq_nb.core.errors import DecodeError, UsageError
from vibehq_nb.core.messages import Message

if TYPE_CHECKING:
    from vibehq_server.room_sql import RoomSql

MAX_KEY_BYTES = 2048
MAX_VALUE_BYTES = 128 * 1024
MAX_STORAGE_BYTES = 16 * 1024 * 1024
OWN = "_vibehq/"
"""Keys of the server's own begin so; a room's code neither sees nor writes them."""

_encode = msgspec.json.Encoder().encode
_MISSING = object()


class Stored(Message, tag="_stored"):
    """Internal entry: these keys have these values now, and those are gone."""

    put: dict[str, Any] = msgspec.field(default_factory=dict)
    delete: list[str] = msgspec.field(default_factory=list)
    offset: int = 0


class KeyValues:
    """The key-values of one room as its log says: pure state."""

    def __init__(self, kept: Mapping[str, Any] | None = None) -> None:
        """Go on from what :meth:`as_state` returned."""
        self._values = {key: _encode(value) for key, value in (kept or {}).items()}
        self.size_bytes = sum(_size(k, v) for k, v in self._values.items())

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def get(self, key: str, default: Any = None) -> Any:
        """Return a fresh copy of the value of *key*."""
        found = self._values.get(key)
        return default if found is None else msgspec.json.decode(found)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with *prefix*, sorted."""
        return sorted(key for key in self._values if key.startswith(prefix))

    def fold(self, change: Stored) -> None:
        """Take one entry in."""
        for key in change.delete:
            gone = self._values.pop(key, None)
            self.size_bytes -= 0 if gone is None else _size(key, gone)
        for key, value in change.put.items():
            before = self._values.get(key)
            self.size_bytes -= 0 if before is None else _size(key, before)
            self._values[key] = raw = _raw(value)
            self.size_bytes += _size(key, raw)

    def size_after(self, change: Stored) -> int:
        """Return the bytes that would be kept with *change* in."""
        size = self.size_bytes
        for key in {*change.delete, *change.put}:
            before = self._values.get(key)
            size -= 0 if before is None else _size(key, before)
        return size + sum(_size(key, _raw(value)) for key, value in change.put.items())

    def as_state(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {key: msgspec.Raw(value) for key, value in self._values.items()}


def _size(key: str, value: bytes) -> int:
    return len(key.encode()) + len(value)


def _raw(value: Any) -> bytes:
    return bytes(value) if isinstance(value, msgspec.Raw) else _encode(value)


class Changes:
    """What a transaction will have written; nothing is stored before it ends."""

    def __init__(self, kept: KeyValues) -> None:
        """Read through to *kept*."""
        self._kept = kept
        self.put_raw: dict[str, msgspec.Raw] = {}
        self.deleted: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value as this transaction sees it."""
        if key in self.put_raw:
            return msgspec.json.decode(self.put_raw[key])
        return default if key in self.deleted else self._kept.get(key, default)

    def put(self, key: str, value: Any) -> None:
        """
        Write *value*, which JSON can carry, under *key*.

        Raises:
            UsageError: If the key or value is too long, or is no plain data.
        """
        _check_key(key)
        self.put_raw[key] = encode_value(key, value)
        self.deleted.discard(key)

    def delete(self, key: str) -> bool:
        """Remove *key*; tell whether it was there."""
        was_there = self.get(key, _MISSING) is not _MISSING
        self.put_raw.pop(key, None)
        self.deleted.add(key)
        return was_there

    def as_entry(self) -> Stored:
        """Return all of it as one entry."""
        return Stored(put=self.put_raw, delete=sorted(self.deleted))


def _check_key(key: str) -> None:
    if not 1 <= len(key.encode()) <= MAX_KEY_BYTES:
        raise UsageError(f"a storage key is a text of 1 to {MAX_KEY_BYTES} bytes")


def encode_value(key: str, value: Any) -> msgspec.Raw:
    """
    Return *value* as it is stored.

    Raises:
        UsageError: If it is no plain data, or too long.
    """
    try:
        check_plain(value, depth=4)  # what the entry around it adds
        encoded = _encode(value)
    except (DecodeError, TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"the value of {key!r} is not plain data: {error}") from None
    if len(encoded) > MAX_VALUE_BYTES:
        raise UsageError(
            f"the value of {key!r} has {len(encoded)} bytes of JSON; a value may have "
            f"{MAX_VALUE_BYTES}. Split it, or use storage.sql"
        )
    return msgspec.Raw(encoded)


class Storage:
    """
    The storage of one room, as its hooks use it.

    Values are plain data: what JSON can carry. A method that writes returns once
    it is on disk, and raises NotStoredError if the disk refuses.
    """

    def __init__(
        self,
        opened: Callable[[], Awaitable[KeyValues]],
        write: Callable[[Stored], Awaitable[None]],
        open_sql: "Callable[[], RoomSql]",
    ) -> None:
        """
        Read and write through the room's ledger.

        Args:
            opened: Opens the log if need be and returns its key-values.
            write: Appends an entry and returns once it is stored.
            open_sql: Makes the handle of the room's SQLite file.
        """
        self._opened, self._write, self._open_sql = opened, write, open_sql
        self._sql: RoomSql | None = None

    async def get(self, key: str, default: Any = None) -> Any:
        """Return a copy of the value of *key*, or *default*."""
        return (await self._opened()).get(key, default)

    async def list(
        self,
        prefix: str = "",
        *,
        start: str = "",
        end: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> dict[str, Any]:
        """Return key-values in the order of their keys, *start* in, *end* out."""
        kept = await self._opened()
        keys = [
            key
            for key in kept.keys(prefix)
            if key >= start and (end is None or key < end) and not key.startswith(OWN)
        ]
        ordered = keys[::-1] if reverse else keys
        return {key: kept.get(key) for key in ordered[:limit]}

    async def put(self, key: str, value: Any) -> None:
        """Store *value* under *key*."""
        async with self.transaction() as changes:
            changes.put(key, value)

    async def put_all(self, values: Mapping[str, Any]) -> None:
        """Store all of *values*, or none."""
        async with self.transaction() as changes:
            for key, value in values.items():
                changes.put(key, value)

    async def delete(self, *keys: str) -> int:
        """Remove *keys*; return how many were there."""
        async with self.transaction() as changes:
            return sum(changes.delete(key) for key in keys)

    async def delete_all(self) -> None:
        """Remove all key-values; alarms, schedules and SQL tables stay."""
        keys = await self.list()
        await self.delete(*keys)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Changes]:
        """
        Store everything the block writes when it ends well, as one entry.

        If it raises, or if the disk refuses, nothing of it is stored. Two blocks
        that overlap do not see each other's writes; the later one to end wins.

        Raises:
            UsageError: If the room would keep over 16 MiB.
            NotStoredError: If the disk refuses.
        """
        changes = Changes(await self._opened())
        yield changes
        if any(key.startswith(OWN) for key in (*changes.put_raw, *changes.deleted)):
            raise UsageError(f"keys that begin with {OWN} are the server's own")
        if changes.put_raw or changes.deleted:
            await self.write(changes.as_entry())

    async def write(self, change: Stored) -> None:
        """Store one entry; for the server's own use."""
        kept = await self._opened()
        if kept.size_after(change) > max(MAX_STORAGE_BYTES, kept.size_bytes):
            raise UsageError(
                f"this room keeps {kept.size_bytes} bytes and may keep "
                f"{MAX_STORAGE_BYTES}: delete some, or use storage.sql"
            )
        await self._write(change)

    @property
    def sql(self) -> "RoomSql":
        """The SQLite file of this room; made with its first use."""
        if self._sql is None:
            self._sql = self._open_sql()
        return self._sql

    async def close(self) -> None:
        """Let go of the SQLite file."""
        if self._sql is not None:
            await asyncio.to_thread(self._sql.close)
            self._sql = None
