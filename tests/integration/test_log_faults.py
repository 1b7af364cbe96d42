"""A room log whose disk is full or fails, and the rooms that live on it."""

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.integration.house import House, Peer, running
from tests.integration.programs import python
from vibehq_nb.core.errors import NotStoredError
from vibehq_nb.core.ids import RoomKey
from vibehq_nb.core.log import EventLog
from vibehq_nb.core.messages import Emit, Event
from vibehq_server.replicated import ReplicatedRoom
from vibehq_server.room_logs.sqlite import SqliteRoomLog

HIL = RoomKey("hil", "main")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Make a disk of some MiB and return its folder."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(size_mib: int) -> Path:
        options = ["-t", "tmpfs", "-o", f"size={size_mib}m"]
        command = ["mount", *options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs root that may mount")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Leave no byte free in *folder* within the block."""
    filler = folder / "filler"
    with filler.open("wb", 0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


def tail_of(room: RoomKey) -> EventLog:
    return EventLog(str(room), "")


async def test_a_full_disk_refuses_appends_and_nothing_else_then_recovers(
    small_disk: Callable[[int], Path],
) -> None:
    folder = small_disk(1)
    log = SqliteRoomLog(folder / "rooms.sqlite3")
    term, tail = await log.claim(HIL), tail_of(HIL)
    stored = [tail.append(b"{}", n) for n in range(20)]
    await log.append(HIL, term, stored)
    refused = [tail.append(b'"%4000d"' % n, n) for n in range(40)]

    with full(folder):
        for _ in range(3):
            with pytest.raises(NotStoredError, match="full"):
                await log.append(HIL, term, refused)
            with pytest.raises(NotStoredError, match="full"):
                await log.save(HIL, 20, bytes(100_000))
            assert await log.read(HIL, 0, 100) == stored
            assert (await log.open(HIL)).head == 20

    assert await log.append(HIL, term, refused) == 60
    assert await log.read(HIL, 0, 100) == stored + refused
    assert await log.verify(HIL) is None
    await log.close()


async def test_a_checkpoint_that_finds_no_space_loses_nothing(
    small_disk: Callable[[int], Path],
) -> None:
    folder = small_disk(12)
    path = folder / "rooms.sqlite3"
    log = SqliteRoomLog(path)
    term, tail, kept = await log.claim(HIL), tail_of(HIL), 0
    (folder / "reserve").write_bytes(bytes(3 << 20))

    # The file grows by checkpoints of 4 MiB of WAL, until one of them fails.
    with contextlib.suppress(NotStoredError):
        while kept < 100_000:
            kept = await log.append(HIL, term, [tail.append(b'"%3000d"' % kept, 1)])
    assert path.stat().st_size > 4_000_000, "no checkpoint was due yet"
    at_failure = await log.read(HIL, 0, 10_000)
    (folder / "reserve").unlink()
    tail = EventLog(str(HIL), "", kept, at_failure[-1].hash)
    more = [tail.append(b'"%3000d"' % n, 1) for n in range(500)]
    await log.append(HIL, term, more)
    await log.close()

    assert len(at_failure) == kept
    log = SqliteRoomLog(path)
    assert (await log.open(HIL)).head == kept + 500
    await log.close()


# Rooms


class NotesRoom(ReplicatedRoom):
    entries: ClassVar[Any] = (Event,)

    def load(self, state: dict[str, Any]) -> None:
        self.names = list(state.get("names", []))

    def state(self) -> dict[str, Any]:
        return {"names": self.names}

    def apply(self, message: Any, at_ms: int) -> None:
        self.names.append(message.name)

    async def receive(self, connection: Any, message: Emit) -> int:
        note = Event(name=message.name, data=message.data, by="x", at="", offset=0)
        return self.append(note)


async def emit(peer: Peer, name: str) -> dict[str, Any]:
    """Emit an event and return what it was answered."""
    data = {"filler": "x" * 2000}
    await peer.send({"type": "event", "id": name, "name": name, "data": data})
    while True:
        frame = await peer.next()
        if frame["type"] in ("accepted", "error"):
            return frame


async def joined(house: House, **query: Any) -> tuple[Peer, list[Any]]:
    peer = await house.connect("ops/main", **query)
    frames = [await peer.next()]
    while frames[-1]["type"] != "tick":
        frames.append(await peer.next())
    return peer, frames


@asynccontextmanager
async def house_on(folder: Path) -> AsyncIterator[House]:
    log = SqliteRoomLog(folder / "rooms.sqlite3")
    async with running({"ops": NotesRoom}, log) as house:
        yield house


async def test_a_room_on_a_full_disk_refuses_writers_answers_readers_and_recovers(
    small_disk: Callable[[int], Path],
) -> None:
    folder = small_disk(1)
    async with house_on(folder) as house:
        peer, frames = await joined(house, _pk="p")
        epoch = frames[0]["epoch"]
        assert (await emit(peer, "before"))["type"] == "accepted"

        with full(folder):
            refused = []
            for number in range(80):  # what is left in the files' last pages is used
                answer = await emit(peer, f"lost{number}")
                if answer["type"] == "error":
                    refused.append(answer)
            late, seen = await joined(house, _pk="late")
            _, resumed = await joined(house, _pk="q", epoch=epoch, offset=0)
            head = seen[0]["offset"]
            assert refused, "the disk was not full"
            assert {answer["code"] for answer in refused} == {"not-stored"}
            names = seen[1]["state"]["names"]
            assert [frame["type"] for frame in seen] == [
                "connected",
                "snapshot",
                "tick",
            ]
            assert names[0] == "before"
            assert len(names) == 81 - len(refused)
            assert resumed[0]["resume"] == "resumed"
            events = [f for f in resumed if f["type"] == "event"]
            assert [event["name"] for event in events] == names

        async with asyncio.timeout(10):
            while (await emit(peer, "after"))["type"] != "accepted":
                await asyncio.sleep(0.05)
        told = await late.until("event")

        assert told["name"] == "after"
        assert told["offset"] == head + 1


async def test_a_log_on_a_full_disk_does_not_open_and_says_why(
    small_disk: Callable[[int], Path],
) -> None:
    folder = small_disk(1)
    await SqliteRoomLog(folder / "rooms.sqlite3").close()

    with full(folder), pytest.raises(NotStoredError, match="the disk is full"):
        SqliteRoomLog(folder / "rooms.sqlite3")

    await SqliteRoomLog(folder / "rooms.sqlite3").close()


async def test_nobody_sees_what_a_full_disk_refused(
    small_disk: Callable[[int], Path],
) -> None:
    folder = small_disk(1)
    async with house_on(folder) as house:
        writer, _ = await joined(house, _pk="writer")
        reader, _ = await joined(house, _pk="reader")
        with full(folder):
            for number in range(80):
                await emit(writer, f"n{number}")
            fresh, frames = await joined(house, _pk="fresh")
            stored = frames[1]["state"]["names"]
        async with asyncio.timeout(10):
            while (await emit(writer, "last"))["type"] != "accepted":
                await asyncio.sleep(0.05)

        seen = [(await reader.until("event"))["name"] for _ in [*stored, "last"]]
        assert seen == [*stored, "last"]
        assert await fresh.until("event")


# A disk that fails


CHILD = """
    import asyncio, sys
    from pathlib import Path
    from vibehq_nb.core.errors import NotStoredError
    from vibehq_nb.core.ids import RoomKey
    from vibehq_nb.core.log import EventLog
    from vibehq_server.room_logs.sqlite import SqliteRoomLog

    async def main():
        room = RoomKey("ops", "main")
        log = SqliteRoomLog(Path(sys.argv[1]))
        term = await log.claim(room)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            word, count = line.split()
            try:
                opened = await log.open(room)
                if word == "save":
                    await log.save(room, opened.head, b"{}" * int(count))
                elif word == "append":
                    tail = EventLog(str(room), "", opened.head, opened.head_hash)
                    batch = [tail.append(b"[1]" * 1000, 1) for _ in range(int(count))]
                    await log.append(room, term, batch)
                if word == "read":
                    assert len(await log.read(room, 0, 100_000)) == opened.head
                print("done", (await log.open(room)).head, flush=True)
            except NotStoredError as error:
                print("refused", error, flush=True)
        await log.close()

    asyncio.run(main())
"""


@pytest.fixture
def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        pytest.skip("needs a package: strace")
    return found


class Child:
    """A process that holds a room log and does what it is told."""

    def __init__(self, path: Path) -> None:
        self.process = python(CHILD, str(path))

    def tell(self, word: str, count: int = 0) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word} {count}\n".encode())
        self.process.stdin.flush()
        return self.process.stdout.readline().decode().strip()

    @contextmanager
    def failing(self, strace: str, *options: str) -> Iterator[None]:
        """Let system calls of the process fail within the block."""
        command = [strace, "-f", "-p", str(self.process.pid), *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            first = tracer.stderr.readline()
            if "attached" not in first:
                pytest.skip("needs root that may trace")
            drained = subprocess.Popen(
                ["cat"], stdin=tracer.stderr, stdout=subprocess.DEVNULL
            )
            try:
                yield
            finally:
                tracer.send_signal(signal.SIGINT)
                tracer.wait(10)
                drained.wait(10)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    made = Child(tmp_path / "rooms.sqlite3")
    assert made.tell("append", 10) == "done 10"
    yield made
    made.end()


def test_a_sync_that_fails_is_refused_and_the_next_one_that_works_is_kept(
    child: Child, strace: str, tmp_path: Path
) -> None:
    with child.failing(strace, "-e", "inject=fdatasync:error=EIO"):
        for word in ("append", "save", "append"):
            assert child.tell(word, 5).startswith("refused the disk refuses")
        assert child.tell("read") == "done 10"

    assert child.tell("append", 5) == "done 15"
    assert child.tell("save", 5) == "done 15"
    child.process.kill()
    child.process.wait(10)
    with contextlib.closing(sqlite3.connect(tmp_path / "rooms.sqlite3")) as db:
        assert db.execute("SELECT count(*) FROM entries").fetchone() == (15,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_write_that_fails_is_refused_and_nothing_is_lost(
    child: Child, strace: str
) -> None:
    with child.failing(strace, "-e", "inject=pwrite64:error=ENOSPC"):
        assert child.tell("append", 5).startswith("refused the disk refuses")
        assert child.tell("read") == "done 10"

    assert child.tell("append", 5) == "done 15"


@pytest.mark.timeout(60)  # each try writes the whole WAL once more
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_a_checkpoint_that_fails_is_made_up_for(
    child: Child, strace: str, tmp_path: Path, call: str
) -> None:
    path = tmp_path / "rooms.sqlite3"
    before = path.stat().st_size
    # Only the file itself fails, not its WAL: commits work, checkpoints do not.
    options = ["-P", str(path), "-e", f"inject={call}:error=EIO"]

    with child.failing(strace, *options):
        for number in range(1, 19):
            assert child.tell("append", 100) == f"done {10 + number * 100}"
        wal_bytes = path.with_name(path.name + "-wal").stat().st_size

    assert wal_bytes > 5_000_000, "a checkpoint worked"
    assert child.tell("append", 100) == "done 1910"
    assert path.stat().st_size > before + 5_000_000
    child.end()
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM entries").fetchone() == (1910,)
