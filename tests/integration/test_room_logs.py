"""One contract for every keeper of room logs, and what SQLite promises beyond it."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from tests.integration.programs import python
from vibehq_nb.core.errors import GapError, NotStoredError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import FIRST_HASH, Entry, EventLog, chain
from vibehq_nb.core.saved import Saved
from vibehq_server.room_logs import sqlite_writer
from vibehq_server.room_logs.memory import MemoryRoomLog
from vibehq_server.room_logs.port import FencedError, RoomLog, Term
from vibehq_server.room_logs.sqlite import (
    BrokenLogError,
    FolderInUseError,
    QueueBounds,
    Retention,
    SchemaError,
    SqliteRoomLog,
    lock_folder,
)

OPS = RoomKey("ops", "main")
HIL = RoomKey("hil", "main")
AT = 1_790_000_000_000

Reopen = Callable[[], SqliteRoomLog]


class Producer:
    """Makes entries that follow one another, as a room does."""

    def __init__(self, room: RoomKey = OPS) -> None:
        self._log = EventLog(str(room), "")

    def make(self, count: int = 1, size_bytes: int = 40, at: int = AT) -> list[Entry]:
        return [
            self._log.append(b'{"type":"event","n":%*d}' % (size_bytes, n), at)
            for n in range(count)
        ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rooms.sqlite3"


@pytest.fixture(params=["memory", "sqlite"])
async def log(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[RoomLog]:
    kept: RoomLog = (
        MemoryRoomLog() if request.param == "memory" else SqliteRoomLog(path)
    )
    yield kept
    await kept.close()


@pytest.fixture
async def sqlite_log(path: Path) -> AsyncIterator[SqliteRoomLog]:
    kept = SqliteRoomLog(path)
    yield kept
    await kept.close()


async def test_new_room_starts_at_nothing(log: RoomLog) -> None:
    opened = await log.open(OPS)

    assert (opened.head, opened.head_hash, opened.oldest) == (0, FIRST_HASH, 0)
    assert (opened.saved_offset, opened.saved_state) == (0, None)
    assert opened.epoch


async def test_rooms_have_epochs_of_their_own_that_stay(log: RoomLog) -> None:
    first, other, again = [await log.open(room) for room in (OPS, HIL, OPS)]

    assert first.epoch == again.epoch != other.epoch


async def test_append_returns_the_head_and_read_returns_entries_in_order(
    log: RoomLog,
) -> None:
    term = await log.claim(OPS)
    entries = Producer().make(7)

    assert await log.append(OPS, term, entries[:3]) == 3
    assert await log.append(OPS, term, entries[3:]) == 7

    assert await log.read(OPS, 0, 100) == entries
    assert await log.read(OPS, 2, 3) == entries[2:5]
    assert await log.read(OPS, 7, 100) == []
    opened = await log.open(OPS)
    assert (opened.head, opened.head_hash) == (7, entries[-1].hash)


async def test_rooms_do_not_mix(log: RoomLog) -> None:
    ops, hil = Producer(OPS).make(2), Producer(HIL).make(3)
    await log.append(OPS, await log.claim(OPS), ops)
    await log.append(HIL, await log.claim(HIL), hil)

    assert await log.read(OPS, 0, 10) == ops
    assert await log.read(HIL, 0, 10) == hil


async def test_append_of_nothing_changes_nothing(log: RoomLog) -> None:
    assert await log.append(OPS, await log.claim(OPS), []) == 0


async def test_a_later_claim_fences_the_earlier_one(log: RoomLog) -> None:
    early = await log.claim(OPS)
    late = await log.claim(OPS)
    entries = Producer().make(1)

    with pytest.raises(FencedError):
        await log.append(OPS, early, entries)

    assert late > early
    assert await log.append(OPS, late, entries) == 1


async def test_append_without_a_claim_is_fenced(log: RoomLog) -> None:
    with pytest.raises(FencedError):
        await log.append(OPS, Term(7), Producer().make(1))


@pytest.mark.parametrize("stranger", ["ahead", "again", "hole", "unchained", "changed"])
async def test_entries_that_do_not_follow_are_refused_whole(
    log: RoomLog, stranger: str
) -> None:
    producer = Producer()
    term = await log.claim(OPS)
    kept = producer.make(2)
    await log.append(OPS, term, kept)
    good = producer.make(4)
    bad = {
        "ahead": good[1:],
        "again": kept,
        "hole": [good[0], *good[2:]],
        "unchained": [Entry(3, AT, b"{}", chain(FIRST_HASH, "x", 3, AT, b"{}"))],
        "changed": [*good[:3], Entry(6, AT, b"{}", good[3].hash)],
    }[stranger]

    with pytest.raises(NotStoredError):
        await log.append(OPS, term, bad)

    assert await log.read(OPS, 0, 10) == kept
    assert await log.append(OPS, term, good) == 6


async def test_follow_tells_only_stored_entries_in_order(log: RoomLog) -> None:
    told: list[Entry] = []

    def note(entries: Sequence[Entry]) -> None:
        told.extend(entries)

    end = log.follow(OPS, note)
    producer = Producer()
    term = await log.claim(OPS)
    entries = producer.make(6)
    await log.append(OPS, term, entries[:2])
    with pytest.raises(NotStoredError):
        await log.append(OPS, term, entries[4:])
    await asyncio.gather(
        log.append(OPS, term, entries[2:4]), log.append(OPS, term, entries[4:5])
    )
    end()
    end()
    await log.append(OPS, term, entries[5:])

    assert told == entries[:5]


async def test_a_follower_that_raises_hurts_nobody(
    log: RoomLog, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[int] = []

    def fail(entries: Sequence[Entry]) -> None:
        raise ValueError("mine")

    log.follow(OPS, fail)
    log.follow(OPS, lambda entries: told.append(len(entries)))

    assert await log.append(OPS, await log.claim(OPS), Producer().make(2)) == 2
    assert told == [2]
    assert "a follower failed" in caplog.text


async def test_saved_state_comes_back_and_never_goes_backwards(log: RoomLog) -> None:
    term = await log.claim(OPS)
    await log.append(OPS, term, Producer().make(5))

    await log.save(OPS, 4, b'{"a":4}')
    await log.save(OPS, 2, b'{"a":2}')
    opened = await log.open(OPS)
    with pytest.raises(NotStoredError):
        await log.save(OPS, 6, b"{}")

    assert (opened.saved_offset, opened.saved_state) == (4, b'{"a":4}')


async def test_64_producers_append_side_by_side(log: RoomLog) -> None:
    rooms = [RoomKey("ops", f"r{n}") for n in range(64)]

    async def produce(room: RoomKey) -> list[Entry]:
        producer, term, made = Producer(room), await log.claim(room), []
        for _ in range(20):
            entries = producer.make(1)
            await log.append(room, term, entries)
            made += entries
        return made

    made = await asyncio.gather(*[produce(room) for room in rooms])

    for room, entries in zip(rooms, made, strict=True):
        assert await log.read(room, 0, 100) == entries
    if isinstance(log, SqliteRoomLog):
        assert log.commits < 64 * 20 / 8, "the commits are not grouped"


async def test_appends_of_one_room_keep_the_order_of_their_calls(log: RoomLog) -> None:
    term = await log.claim(OPS)
    entries = Producer().make(200)

    heads = await asyncio.gather(*[log.append(OPS, term, [e]) for e in entries])

    assert heads == list(range(1, 201))


async def test_a_room_is_known_again_without_being_written(log: RoomLog) -> None:
    term = await log.claim(OPS)
    await log.append(OPS, term, Producer().make(3))

    first = await log.open(OPS)
    if isinstance(log, SqliteRoomLog):
        commits = log.commits
        assert await log.open(OPS) == first
        assert log.commits == commits
    assert await log.open(OPS) == first


async def test_closed_log_stores_nothing(log: RoomLog) -> None:
    term = await log.claim(OPS)
    await log.close()
    await log.close()

    with pytest.raises(NotStoredError):
        await log.append(OPS, term, Producer().make(1))


# Retention


@pytest.fixture
async def trimming_log(path: Path) -> AsyncIterator[SqliteRoomLog]:
    kept = SqliteRoomLog(
        path,
        retention=Retention(max_age_seconds=100, max_bytes=10_000, max_entries=50),
        clock=lambda: AT / 1000 + 1000,
    )
    yield kept
    await kept.close()


async def test_read_tells_of_a_gap_in_memory() -> None:
    log = MemoryRoomLog()
    await log.append(OPS, await log.claim(OPS), Producer().make(5))
    await log.trim(OPS, 3)

    with pytest.raises(GapError) as caught:
        await log.read(OPS, 2, 10)

    assert caught.value.oldest == 3
    assert [entry.offset for entry in await log.read(OPS, 3, 10)] == [4, 5]


@pytest.mark.parametrize(
    ("made", "oldest"),
    [
        ({"count": 30, "at": AT}, 30),
        ({"count": 80, "at": AT + 950_000, "size_bytes": 4}, 30),
        ({"count": 40, "at": AT + 950_000, "size_bytes": 974}, 30),
    ],
    ids=["age", "entries", "bytes"],
)
async def test_retention_lets_go_of_what_is_beyond_a_bound(
    trimming_log: SqliteRoomLog, made: dict[str, int], oldest: int
) -> None:
    entries = Producer().make(**made)
    await trimming_log.append(OPS, await trimming_log.claim(OPS), entries)
    await trimming_log.save(OPS, len(entries), b"{}")

    assert await trimming_log.trim() == oldest

    assert (await trimming_log.open(OPS)).oldest == oldest
    assert await trimming_log.read(OPS, oldest, 1000) == entries[oldest:]
    with pytest.raises(GapError):
        await trimming_log.read(OPS, oldest - 1, 1)
    assert await trimming_log.verify(OPS) is None


async def test_retention_keeps_what_no_saved_state_covers(
    trimming_log: SqliteRoomLog,
) -> None:
    await trimming_log.append(OPS, await trimming_log.claim(OPS), Producer().make(90))
    await trimming_log.save(OPS, 10, b"{}")

    assert await trimming_log.trim() == 10


async def test_retention_never_touches_an_audited_room(
    trimming_log: SqliteRoomLog,
) -> None:
    entries = Producer(HIL).make(90)
    await trimming_log.append(HIL, await trimming_log.claim(HIL), entries)
    await trimming_log.save(HIL, 90, b"{}")

    assert await trimming_log.trim() == 0
    assert await trimming_log.read(HIL, 0, 100) == entries


async def test_the_writer_trims_under_a_load_that_never_ends(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "TRIM_EVERY_SECONDS", 0.01)
    log = SqliteRoomLog(path, retention=Retention(max_entries=5))
    term, producer = await log.claim(OPS), Producer()

    async with asyncio.timeout(10):
        while (await log.open(OPS)).oldest < 100:
            calls = [log.append(OPS, term, producer.make(1, at=2**50)) for _ in "1234"]
            await log.save(OPS, (await asyncio.gather(*calls))[-1], b"{}")

    await log.close()


async def test_the_writer_trims_by_itself_while_it_is_idle(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(sqlite_writer, "TRIM_EVERY_SECONDS", 0.01)
    log = SqliteRoomLog(path, retention=Retention(max_entries=5))
    await log.append(OPS, await log.claim(OPS), Producer().make(20, at=2**50))
    await log.save(OPS, 20, b"{}")

    async with asyncio.timeout(10):
        while (await log.open(OPS)).oldest < 15:
            await asyncio.sleep(0.01)

    assert len(await log.read(OPS, 15, 100)) == 5
    await log.close()


async def test_a_file_that_is_opened_with_a_tighter_bound_is_trimmed_at_once(
    path: Path,
) -> None:
    log = SqliteRoomLog(path)
    await log.append(OPS, await log.claim(OPS), Producer().make(20, at=2**50))
    await log.save(OPS, 20, b"{}")
    await log.close()

    log = SqliteRoomLog(path, retention=Retention(max_entries=5))

    async with asyncio.timeout(10):
        while (await log.open(OPS)).oldest < 15:
            await asyncio.sleep(0.01)
    await log.close()


# The file


async def test_everything_survives_closing_the_file(path: Path) -> None:
    log = SqliteRoomLog(path)
    before = await log.open(OPS)
    entries = Producer().make(5)
    early = await log.claim(OPS)
    await log.append(OPS, early, entries)
    await log.save(OPS, 3, b"[3]")
    await log.close()

    log = SqliteRoomLog(path)
    after = await log.open(OPS)
    late = await log.claim(OPS)

    assert (after.epoch, after.head, after.saved_offset) == (before.epoch, 5, 3)
    assert await log.read(OPS, 0, 9) == entries
    assert late > early
    await log.close()


async def test_a_full_queue_makes_appends_wait_and_loses_none(path: Path) -> None:
    log = SqliteRoomLog(path, bounds=QueueBounds(entries=4, size_bytes=500))
    term = await log.claim(OPS)
    entries = Producer().make(100, size_bytes=300)

    heads = await asyncio.gather(*[log.append(OPS, term, [e]) for e in entries])

    assert heads[-1] == 100
    assert await log.read(OPS, 0, 1000) == entries
    await log.close()


async def test_a_cancelled_append_that_waited_stores_nothing(path: Path) -> None:
    log = SqliteRoomLog(path, bounds=QueueBounds(entries=1))
    term = await log.claim(OPS)
    entries = Producer().make(3)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    calls = [asyncio.ensure_future(log.append(OPS, term, [e])) for e in entries]
    # The first is with the thread, the second fills the queue, the third waits.
    for _ in range(100):
        await asyncio.sleep(0)
    calls[2].cancel()
    blocker.execute("ROLLBACK")
    blocker.close()

    assert await asyncio.gather(*calls[:2]) == [1, 2]
    assert await log.append(OPS, term, entries[2:]) == 3
    await log.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = 'x' WHERE offset = 2",
        "DELETE FROM entries WHERE offset = 2",
        "INSERT OR REPLACE INTO entries SELECT room, offset, 1, body, hash"
        " FROM entries WHERE offset = 2",
        "DELETE FROM rooms",
        "UPDATE rooms SET audited = 0",
        "UPDATE rooms SET oldest = 3",
    ],
)
async def test_audited_entries_refuse_every_change(
    sqlite_log: SqliteRoomLog, path: Path, statement: str
) -> None:
    entries = Producer(HIL).make(3)
    await sqlite_log.append(HIL, await sqlite_log.claim(HIL), entries)
    outside = sqlite3.connect(path, isolation_level=None)

    with pytest.raises(sqlite3.IntegrityError):
        outside.execute(statement)

    outside.close()
    assert await sqlite_log.read(HIL, 0, 10) == entries


@pytest.mark.parametrize(
    ("statements", "broken"),
    [
        (["UPDATE entries SET body = 'x' WHERE offset = 7"], 7),
        (["UPDATE entries SET at = at + 1 WHERE offset = 1"], 1),
        (["DELETE FROM entries WHERE offset = 5"], 5),
        (["DELETE FROM entries WHERE offset = 10"], 10),
        (["DELETE FROM entries WHERE offset = 1"], 1),
        (
            [
                "CREATE TEMP TABLE t AS SELECT * FROM entries WHERE offset IN (3, 4)",
                "DELETE FROM entries WHERE offset IN (3, 4)",
                "INSERT INTO entries SELECT room, 7 - offset, at, body, hash FROM t",
            ],
            3,
        ),
    ],
    ids=["edited", "redated", "hole", "tail", "first", "swapped"],
)
async def test_verify_names_the_first_broken_entry_and_open_refuses(
    path: Path, statements: list[str], broken: int
) -> None:
    log = SqliteRoomLog(path)
    await log.append(HIL, await log.claim(HIL), Producer(HIL).make(10))
    assert await log.verify(HIL) is None
    outside = sqlite3.connect(path, isolation_level=None)
    for trigger in ("entries_follow", "entries_never_change", "audited_entries_stay"):
        outside.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        outside.execute(statement)
    outside.close()

    with pytest.raises(BrokenLogError) as caught:
        await log.open(HIL)

    assert caught.value.offset == broken
    assert await log.verify(HIL) == broken
    await log.close()


STATE = b'{"state":{}}'


async def saved_log(path: Path, room: RoomKey = HIL) -> SqliteRoomLog:
    """Return a log whose room has a saved state at 5, vouched for by entry 6."""
    log = SqliteRoomLog(path)
    tail = EventLog(str(room), "")
    entries = [tail.append(b"{}", AT) for _ in range(5)]
    voucher = msgspec.json.encode(Saved.of(5, STATE))
    entries += [tail.append(voucher, AT), tail.append(b"{}", AT)]
    await log.append(room, await log.claim(room), entries)
    await log.save(room, 5, STATE)
    return log


async def test_a_saved_state_whose_hash_is_in_the_log_opens(path: Path) -> None:
    log = await saved_log(path)

    assert (await log.open(HIL)).saved_state == STATE
    assert await log.verify(HIL) is None
    await log.close()


@pytest.mark.parametrize(
    "tampering",
    [
        """UPDATE states SET state = '{"state":{"x":1}}'""",
        "UPDATE states SET offset = 4",
        "UPDATE states SET offset = 6",
        "UPDATE states SET state = 7",
    ],
)
async def test_a_saved_state_that_was_changed_from_outside_is_refused(
    path: Path, tampering: str
) -> None:
    log = await saved_log(path)
    outside = sqlite3.connect(path, isolation_level=None)
    outside.execute(tampering)
    [offset] = outside.execute("SELECT offset FROM states").fetchone()
    outside.close()

    with pytest.raises(BrokenLogError) as caught:
        await log.open(HIL)

    assert caught.value.offset == offset
    await log.close()


async def test_a_saved_state_that_was_removed_costs_a_replay_and_no_more(
    path: Path,
) -> None:
    log = await saved_log(path)
    outside = sqlite3.connect(path, isolation_level=None)
    outside.execute("DELETE FROM states")
    outside.close()

    opened = await log.open(HIL)

    assert (opened.saved_offset, opened.saved_state) == (0, None)
    assert len(await log.read(HIL, 0, 10)) == 7
    await log.close()


async def test_an_entry_put_after_the_head_from_outside_is_refused(
    path: Path,
) -> None:
    log = SqliteRoomLog(path)
    producer = Producer(HIL)
    await log.append(HIL, await log.claim(HIL), producer.make(3))
    [forged] = producer.make(1)
    outside = sqlite3.connect(path, isolation_level=None)
    outside.execute(
        "INSERT INTO entries SELECT id, ?, ?, ?, ? FROM rooms",
        (forged.offset, forged.at, forged.body, forged.hash),
    )
    outside.close()

    with pytest.raises(BrokenLogError) as caught:
        await log.open(HIL)

    assert caught.value.offset == 4
    await log.close()


async def test_a_room_that_cannot_be_stored_costs_no_other_its_append(
    path: Path,
) -> None:
    log = SqliteRoomLog(path)
    bad = RoomKey("ops", "bad")
    terms = [await log.claim(room) for room in (OPS, bad, HIL)]
    outside = sqlite3.connect(path, isolation_level=None)
    outside.execute(
        "INSERT INTO entries SELECT id, 9, 1, '', '' FROM rooms WHERE name = 'bad'"
    )
    blocked = sqlite3.connect(path, isolation_level=None)
    blocked.execute("BEGIN IMMEDIATE")  # so that the three are one group
    calls = [
        asyncio.ensure_future(log.append(room, term, Producer(room).make(2)))
        for room, term in zip((OPS, bad, HIL), terms, strict=True)
    ]
    for _ in range(100):
        await asyncio.sleep(0)
    blocked.execute("ROLLBACK")
    blocked.close()
    outside.close()

    ours, refused, audited = await asyncio.gather(*calls, return_exceptions=True)

    assert (ours, audited) == (2, 2)
    assert isinstance(refused, NotStoredError)
    await log.close()


async def test_verify_is_not_misled_by_what_is_appended_and_trimmed_meanwhile(
    path: Path,
) -> None:
    log = SqliteRoomLog(path, retention=Retention(max_entries=20))
    term, producer = await log.claim(OPS), Producer()
    findings: list[int | None] = []

    async def watch() -> None:
        while True:
            findings.append(await log.verify(OPS))

    watching = asyncio.create_task(watch())
    for _ in range(100):
        entries = producer.make(10)
        await log.append(OPS, term, entries)
        await log.save(OPS, entries[-1].offset, b"{}")
        await log.trim()
    watching.cancel()
    await asyncio.wait([watching])

    assert len(findings) > 10
    assert set(findings) == {None}
    await log.close()


def test_a_newer_schema_is_refused_and_left_as_it_is(path: Path) -> None:
    newer = sqlite3.connect(path)
    newer.executescript(
        "CREATE TABLE rooms (x); PRAGMA application_id = 0x56484C47;"
        "PRAGMA user_version = 2;"
    )
    newer.close()
    before = path.read_bytes()

    with pytest.raises(SchemaError, match=r"newer vibehq-nb \(schema 2.*upgrade"):
        SqliteRoomLog(path)

    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ["text", "foreign"])
def test_a_file_of_another_program_is_refused(path: Path, kind: str) -> None:
    if kind == "text":
        path.write_text("a diary, not a database\n" * 100)
    else:
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE diary (day)")
        other.close()
    before = path.read_bytes()

    with pytest.raises(SchemaError):
        SqliteRoomLog(path)

    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotStoredError, match="cannot open"):
        SqliteRoomLog(tmp_path / "nowhere" / "rooms.sqlite3")


async def test_a_disk_that_cannot_be_read_is_not_a_bare_sqlite_error(
    path: Path,
) -> None:
    log = SqliteRoomLog(path)
    await log.append(OPS, await log.claim(OPS), Producer().make(3))
    outside = sqlite3.connect(path)
    outside.executescript("PRAGMA writable_schema = 1; DROP TABLE entries;")
    outside.close()

    with pytest.raises(NotStoredError, match="cannot read"):
        await log.read(OPS, 0, 10)
    await log.close()
    with pytest.raises(NotStoredError, match="closed"):
        await log.read(OPS, 0, 10)


def test_the_folder_is_locked_for_one_process(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "server"

    with lock_folder(folder), pytest.raises(FolderInUseError) as caught:
        lock_folder(folder)

    assert caught.value.holder == str(os.getpid())
    assert folder.stat().st_mode & 0o777 == 0o700
    lock_folder(folder).release()


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from vibehq_server.room_logs.sqlite import lock_folder
        held = lock_folder(Path(sys.argv[1]))
        print("held", flush=True)
        sys.stdin.read()
    """
    with python(code, str(tmp_path)) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(FolderInUseError):
            lock_folder(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()

        lock_folder(tmp_path).release()


KILLED = """
    import asyncio, os, sys
    from pathlib import Path
    from vibehq_nb.core.ids import RoomKey
    from vibehq_nb.core.log import EventLog
    from vibehq_server.room_logs.sqlite import SqliteRoomLog

    async def produce(log, room):
        opened, term = await log.open(room), await log.claim(room)
        tail = EventLog(str(room), opened.epoch, opened.head, opened.head_hash)
        while True:
            head = await log.append(room, term, [tail.append(b"{}" * 50, 1)])
            os.write(1, f"{room.name} {head}\\n".encode())

    async def main():
        log = SqliteRoomLog(Path(sys.argv[1]))
        rooms = [RoomKey("hil", f"r{n}") for n in range(4)]
        await asyncio.gather(*[produce(log, room) for room in rooms])

    asyncio.run(main())
"""


@pytest.mark.timeout(120)
async def test_kill_9_loses_no_acknowledged_append(path: Path) -> None:
    acked: dict[str, int] = {}
    for round_ in range(20):
        with python(KILLED, str(path)) as process:
            for _ in range(10 + round_ * 7):
                name, head = process.stdout.readline().split()
                acked[name.decode()] = int(head)
            process.kill()
            for line in process.stdout:
                if line.endswith(b"\n"):
                    acked[line.split()[0].decode()] = int(line.split()[1])

        log = SqliteRoomLog(path)
        for name, head in acked.items():
            room = RoomKey("hil", name)
            opened = await log.open(room)  # verifies the chain as well
            assert opened.head >= head
            assert len(await log.read(room, 0, 1_000_000)) == opened.head
        await log.close()
