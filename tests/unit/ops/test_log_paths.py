import os
import socket
from pathlib import Path

import pytest

from vibehq_nb.ops import log_paths
from vibehq_nb.ops.log_paths import Candidate, SkippedError, open_log, select


def names(*patterns: str | Path) -> list[str]:
    return [it.path.name for it in select(map(str, patterns)).files]


def why_skipped(path: Path, root: Path | None = None) -> str:
    with pytest.raises(SkippedError) as refusal:
        open_log(Candidate(path, root or path.parent))
    return str(refusal.value)


def test_a_path_a_pattern_and_a_tree_name_files_once(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    for name in ("a.log", "b.txt", ".hidden.log", "sub/c.log", "sub/deep/d.log"):
        (tmp_path / name).touch()

    assert names(tmp_path / "b.txt") == ["b.txt"]
    assert names(tmp_path / "*.log") == ["a.log"]
    assert names(tmp_path / "*" / "*.log") == ["c.log"]
    assert names(tmp_path / "**" / "*.log") == ["a.log", "c.log", "d.log"]
    assert names(tmp_path / "sub" / "**") == ["c.log", "d.log"]
    assert names(tmp_path / "a.log", tmp_path / "?.log") == ["a.log"]


def test_a_pattern_without_a_file_is_told(tmp_path: Path) -> None:
    pattern = str(tmp_path / "*.log")

    assert select([pattern, ""]).skipped == [
        (pattern, "no file matches"),
        ("", "no file matches"),
    ]


def test_a_loop_of_links_is_not_walked(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    (tmp_path / "loop").symlink_to(tmp_path)

    selection = select([str(tmp_path / "**" / "*.log")])

    assert [it.path.name for it in selection.files] == ["a.log"]
    assert selection.skipped == [
        (str(tmp_path / "loop"), "a symbolic link to a directory")
    ]


def test_a_link_to_itself_is_skipped(tmp_path: Path) -> None:
    loop = tmp_path / "loop.log"
    loop.symlink_to(loop)

    assert why_skipped(loop) == "too many levels of symbolic links"


def test_a_link_may_lead_inside_and_not_outside(tmp_path: Path) -> None:
    inside = tmp_path / "logs"
    inside.mkdir()
    (inside / "real.log").write_text("x")
    (tmp_path / "secret").write_text("x")
    (inside / "near.log").symlink_to("real.log")
    (inside / "far.log").symlink_to(tmp_path / "secret")

    with open_log(Candidate(inside / "near.log", inside)) as file:
        assert file.read() == b"x"
    assert why_skipped(inside / "far.log") == "a symbolic link that leads outside"


def test_a_fifo_is_skipped_without_opening_it(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.log"
    os.mkfifo(fifo)

    assert why_skipped(fifo) == "a FIFO"


def test_a_socket_and_a_directory_are_skipped(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))

        assert why_skipped(tmp_path / "s") == "a socket"
    assert why_skipped(tmp_path).startswith("a directory")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_the_kernels_files_are_skipped() -> None:
    reason = "in a file system of the kernel"

    assert why_skipped(Path("/proc/self/maps"), Path("/proc")) == reason
    assert why_skipped(Path("/dev/null")) == reason


def test_a_missing_file_is_skipped(tmp_path: Path) -> None:
    assert why_skipped(tmp_path / "none") == "no such file or directory"


@pytest.mark.skipif(
    os.geteuid() == 0, reason="needs a user other than root: root may read everything"
)
def test_an_unreadable_file_is_skipped(tmp_path: Path) -> None:
    locked = tmp_path / "a.log"
    locked.touch(mode=0)

    assert why_skipped(locked) == "permission denied"


def test_the_number_of_files_and_entries_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        (tmp_path / f"{number}.log").touch()
    monkeypatch.setattr(log_paths, "MAX_FILES", 5)

    selection = select([str(tmp_path / "*.log")])

    assert len(selection.files) == 5
    assert "more than 5 files" in selection.skipped[0][1]
    monkeypatch.setattr(log_paths, "MAX_ENTRIES", 3)
    selection = select([str(tmp_path / "*.log")])
    assert len(selection.files) == 3
    assert "more than 3 entries" in selection.skipped[0][1]
