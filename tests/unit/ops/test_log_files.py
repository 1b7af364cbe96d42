import gzip
import os
import random
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vibehq_nb.ops import log_state
from vibehq_nb.ops.log_counts import Log, merge
from vibehq_nb.ops.log_files import Cursor, LogFile, LogReader, family_of
from vibehq_nb.ops.log_paths import Candidate, SkippedError
from vibehq_nb.ops.rule import Deadline

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
AT = "2026-11-22 10:00:00"


def make_reader(
    before: dict[str, Cursor] | None = None,
    seconds: float = 60,
    max_file_bytes: int = 2**20,
    budget_bytes: int = 2**20,
) -> LogReader:
    return LogReader(
        now=NOW,
        zone=UTC,
        deadline=Deadline(seconds),
        before=before or {},
        after={},
        max_file_bytes=max_file_bytes,
        budget_bytes=budget_bytes,
    )


def read(path: Path, reader: LogReader | None = None) -> LogFile:
    return (reader or make_reader()).read(Candidate(path, path.parent))


def facts_of(
    folder: Path, before: dict[str, Cursor]
) -> tuple[list[Log], dict[str, Cursor]]:
    """Facts of all logs, and the cursors left."""
    reader = make_reader(before)
    files = [read(path, reader) for path in sorted(folder.iterdir())]
    logs = merge(files)
    return logs, reader.after


LINES = (
    f"{AT} INFO fine",
    f"{AT} ERROR bad",
    "2026-11-22 10:01:00 WARN hm",
    "  indented",
    "Traceback (most recent call last):",
    '  File "a.py", line 3, in f',
    "ValueError: x",
    "Caused by: com.acme.WorseException: y",
    "\tat com.acme.C.d(C.java:2)",
    '{"level":50,"time":1795341605123,"msg":"x"}',
    "",
    "no time, no level",
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(st.sampled_from(LINES), max_size=12)),
        st.tuples(st.just("write part"), st.lists(st.sampled_from(LINES), max_size=2)),
        st.tuples(st.just("rotate"), st.just([])),
        st.tuples(st.just("truncate"), st.just([])),
        st.tuples(st.just("compress"), st.just([])),
        st.tuples(st.just("scan"), st.just([])),
    ),
    max_size=14,
)


def perform(folder: Path, step: str, lines: list[str]) -> None:
    log, old, packed = (folder / f"app.log{end}" for end in ("", ".1", ".2.gz"))
    match step:
        case "write":
            with log.open("a") as file:
                file.writelines(f"{line}\n" for line in lines)
        case "write part":
            with log.open("a") as file:
                file.write("\n".join(lines))
        case "rotate" if log.exists():
            log.rename(old)
        case "truncate" if log.exists():
            os.truncate(log, 0)
        case "compress" if old.exists():
            packed.write_bytes(gzip.compress(old.read_bytes()))
            old.unlink()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps)
def test_incremental_scans_know_what_one_full_scan_knows(
    tmp_path: Path, history: list[tuple[str, list[str]]]
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    cursors: dict[str, Cursor] = {}
    for step, lines in [*history, ("scan", [])]:
        perform(folder, step, lines)
        if step == "scan":
            _, cursors = facts_of(folder, cursors)

    assert facts_of(folder, cursors)[0] == facts_of(folder, {})[0]


def test_a_trace_that_was_rotated_is_told_where_it_is_now(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(f"Traceback (most recent call last):\nValueError: x\n{AT} INFO y\n")
    first = make_reader()
    read(log, first)
    rotated = log.rename(tmp_path / "app.log.1")

    again = read(rotated, make_reader(first.after))

    assert [group.path for group in again.facts.groups.values()] == [str(rotated)]


def test_an_incremental_scan_reads_only_what_was_added(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(f"{AT} INFO x\n" * 100)
    first = make_reader()
    assert read(log, first).lines_read == 100
    with log.open("a") as file:
        file.write(f"{AT} ERROR y\n" * 3)

    again = read(log, make_reader(first.after))

    assert again.lines_read == 4  # the last record is read again: it may have grown
    assert list(again.facts.minutes.values()) == [(103, 3)]


def test_a_copytruncated_log_is_read_afresh_even_if_it_has_grown_past(
    tmp_path: Path,
) -> None:
    log = tmp_path / "app.log"
    log.write_text(f"{AT} INFO old\n" * 10)
    first = make_reader()
    read(log, first)
    log.write_text(f"{AT} INFO new\n" * 20)

    again = read(log, make_reader(first.after))

    assert again.lines_read == 20
    assert list(again.facts.minutes.values()) == [(20, 0)]


def test_a_file_over_the_cap_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(f"{AT} ERROR x\n" * 10 + f"{AT} INFO x\n" * 10)

    file = read(log, make_reader(max_file_bytes=100))

    assert file.lines_read == 3
    assert list(file.facts.minutes.values()) == [(3, 0)]
    assert file.facts.skipped_bytes == log.stat().st_size - 100


def test_a_sparse_file_of_10_gb_costs_only_the_cap(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    with log.open("wb") as file:
        file.truncate(10 * 2**30)

    with pytest.raises(SkippedError, match="binary"):
        read(log, make_reader(max_file_bytes=2**22))


def test_a_bomb_is_unpacked_to_the_cap_only(tmp_path: Path) -> None:
    log = tmp_path / "app.log.1.gz"
    log.write_bytes(gzip.compress(b"x" * 10_000_000))

    file = read(log, make_reader(max_file_bytes=1000))

    assert file.facts.skipped_bytes > 0
    assert file.lines_read == 1


def test_binary_and_damaged_files_are_skipped(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"\x7fELF\0\0")
    with pytest.raises(SkippedError, match="binary"):
        read(log)
    log.write_bytes(gzip.compress(random.randbytes(9000).hex().encode())[:-20])
    with pytest.raises(SkippedError, match="damaged"):
        read(log)


def test_reading_stops_at_the_deadline_and_goes_on_from_there(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(f"{AT} INFO x\n" * 5000)
    reader = make_reader()
    reader.advance = lambda count: setattr(reader, "deadline", Deadline(0))

    stopped = read(log, reader)
    rest = read(log, make_reader(reader.after))

    assert (stopped.lines_read, stopped.incomplete) == (1000, "the scan's time was up")
    assert list(rest.facts.minutes.values()) == [(5000, 0)]


def test_a_scan_reads_no_more_than_its_budget(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("x\n" * 100)
    reader = make_reader(budget_bytes=100)

    read(tmp_path / "a", reader)

    with pytest.raises(SkippedError, match="as many bytes as it may"):
        read(tmp_path / "b", reader)


@pytest.mark.parametrize(
    "name",
    [
        "app.log",
        "app.log.1",
        "app.log.12.gz",
        "app.log-20261122",
        "app.log-20261122.gz",
        "app.log.2026-11-22",
        "app.log.gz",
    ],
)
def test_rotated_files_are_one_log(name: str) -> None:
    assert family_of(f"/var/log/{name}") == "/var/log/app.log"


def test_cursors_survive_their_file(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text(f"{AT} ERROR x\nTraceback (most recent")
    reader = make_reader()
    read(tmp_path / "app.log", reader)

    log_state.save(tmp_path / "state", reader.after)

    assert log_state.load(tmp_path / "state") == (reader.after, "")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.log", "state"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"{", "cannot be read"), (b'{"version":99}', "another version")],
)
def test_a_state_that_cannot_be_used_is_told(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "state").write_bytes(content)

    cursors, trouble = log_state.load(tmp_path / "state")

    assert cursors == {}
    assert reason in trouble
    assert log_state.load(tmp_path / "none") == ({}, "")
