"""The scan child against faults that really happen: before, during, after the fix."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vibehq_nb.core.findings import ScanResult, TrackedFinding, diff

CHILD = (sys.executable, "-m", "vibehq_nb.ops")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_proc = pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
Row = tuple[str, str]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CHILD, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the lines; nothing was logged."""
    out, err = child.communicate(timeout=20)
    assert err == ""
    return child.returncode, [json.loads(line) for line in out.splitlines()]


def scan(*arguments: str, kinds: str = "disk") -> dict[str, Any]:
    code, lines = finish(start("--host", "h", "--kinds", kinds, *arguments))
    assert (code, lines[-1]["type"]) == (0, "scan-result"), lines
    assert {line["type"] for line in lines[:-1]} <= {"scan-progress"}
    result: dict[str, Any] = lines[-1]
    return result


def found(result: dict[str, Any], name: str) -> list[Row]:
    """Rule and severity of the findings about what is called *name*."""
    return [
        (finding["rule"], finding["severity"])
        for finding in result["findings"]
        if name in finding["resource"]["name"] and not finding["hold"]
    ]


def states_of(*results: dict[str, Any], name: str) -> list[list[str]]:
    """What a room makes of the scans, one after another."""
    known: dict[str, TrackedFinding] = {}
    states = []
    for raw in results:
        result = msgspec.convert(raw, ScanResult)
        known = diff(
            known, result.findings, result.coverage, result.completed_at
        ).tracked
        about = [it for it in known.values() if it.finding.resource.name == name]
        states.append([str(it.state) for it in about])
    return states


def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was never met"
        time.sleep(0.01)


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


# Disks


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "vibehq-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@needs_root
def test_a_full_disk_is_found_and_gone_when_it_is_cleaned(tmp_path: Path) -> None:
    with mounted(tmp_path / "full", "size=4m") as folder:
        before = scan()
        (folder / "big.log").write_bytes(bytes(int(4 * 2**20 * 0.97)))
        during = scan()
        (folder / "big.log").unlink()
        after = scan()

    assert found(before, str(folder)) == []
    assert found(during, str(folder)) == [("DSK-001", "high")]
    assert found(after, str(folder)) == []
    assert states_of(before, during, after, name=str(folder)) == [
        [],
        ["new"],
        ["resolved"],
    ]


@needs_root
def test_used_up_inodes_are_found_and_gone_when_files_are_removed(
    tmp_path: Path,
) -> None:
    with mounted(tmp_path / "inodes", "size=4m,nr_inodes=100") as folder:
        before = scan()
        files = [folder / str(number) for number in range(99)]
        for file in files:
            file.touch()
        during = scan()
        for file in files:
            file.unlink()
        after = scan()

    assert found(before, str(folder)) == []
    assert found(during, str(folder)) == [("DSK-002", "critical")]
    assert found(after, str(folder)) == []


@needs_root
def test_a_bind_mount_is_not_found_twice(tmp_path: Path) -> None:
    with mounted(tmp_path / "a", "size=1m") as folder:
        bind = tmp_path / "a-bind"
        bind.mkdir()
        subprocess.run(["mount", "--bind", str(folder), str(bind)], check=True)
        try:
            (folder / "big").write_bytes(bytes(1000 * 2**10))
            during = scan()
        finally:
            subprocess.run(["umount", str(bind)], check=True)

    assert found(during, str(folder)) == [("DSK-001", "high")]


# Processes


@contextmanager
def program(tmp_path: Path, name: str, code: str) -> Iterator[subprocess.Popen[str]]:
    """A program that says ``ready`` and then obeys its stdin."""
    script = tmp_path / name
    script.write_text(code)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def tell(child: subprocess.Popen[str], word: str) -> None:
    """Have the program take a step and wait until it has."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{word}\n")
    child.stdin.flush()
    assert child.stdout.readline() == "ok\n"


LEAK = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
for line in sys.stdin:
    if line == "leak\\n":
        while len(os.listdir("/proc/self/fd")) < 62:
            held.append(os.open("/dev/null", os.O_RDONLY))
    else:
        [os.close(fd) for fd in held]
    print("ok", flush=True)
"""

ZOMBIE = """
import os, sys
for line in sys.stdin:
    if line == "fork\\n":
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    else:
        os.wait()
    print("ok", flush=True)
"""


@needs_proc
def test_a_descriptor_leak_is_found_and_gone_when_it_is_closed(tmp_path: Path) -> None:
    with program(tmp_path, "leaky_app.py", LEAK) as child:
        before = scan(kinds="processes")
        tell(child, "leak")
        during = scan(kinds="processes")
        tell(child, "close")
        after = scan(kinds="processes")

    assert found(before, "leaky_app.py") == []
    assert found(during, "leaky_app.py") == [("PRC-002", "high")]
    assert found(after, "leaky_app.py") == []


@needs_proc
def test_a_zombie_is_found_by_its_parent_and_gone_when_it_is_reaped(
    tmp_path: Path,
) -> None:
    with program(tmp_path, "careless_app.py", ZOMBIE) as child:
        before = scan(kinds="processes")
        tell(child, "fork")
        during = scan(kinds="processes")
        child.send_signal(signal.SIGSTOP)
        until(lambda: status_of(child.pid) == "T")
        paused = scan(kinds="processes")
        child.send_signal(signal.SIGCONT)
        tell(child, "wait")
        after = scan(kinds="processes")

    assert found(before, "careless_app.py") == []
    assert found(during, "careless_app.py") == [("PRC-001", "low")]
    assert found(paused, "careless_app.py") == []
    assert found(after, "careless_app.py") == []


STUCK = """
import os, sys
fifo = sys.argv[0] + ".fifo"
for line in sys.stdin:
    # The child of a vfork opens a FIFO before its exec: until somebody writes to it,
    # the parent waits and cannot be interrupted.
    action = (os.POSIX_SPAWN_OPEN, 9, fifo, os.O_RDONLY, 0)
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}, file_actions=[action]), 0)
    print("ok", flush=True)
"""


@needs_proc
def test_an_uninterruptible_wait_is_found_and_gone_when_it_ends(tmp_path: Path) -> None:
    fifo = tmp_path / "stuck_app.py.fifo"
    os.mkfifo(fifo)
    with program(tmp_path, "stuck_app.py", STUCK) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        before = scan(kinds="processes")
        child.stdin.write("go\n")
        child.stdin.flush()
        until(lambda: status_of(child.pid) == "D")
        during = scan(kinds="processes")
        os.close(os.open(fifo, os.O_WRONLY))
        assert child.stdout.readline() == "ok\n"
        after = scan(kinds="processes")

    assert found(before, "stuck_app.py") == []
    assert found(during, "stuck_app.py") == [("PRC-003", "medium")]
    assert found(after, "stuck_app.py") == []


FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.mark.skipif(
    not os.access(FREEZER / "cgroup.procs", os.W_OK), reason="needs a cgroup v1 freezer"
)
def test_what_a_freezer_holds_is_not_stuck(tmp_path: Path) -> None:
    cgroup = FREEZER / f"vibehq-test-{os.getpid()}"
    cgroup.mkdir()
    try:
        with program(tmp_path, "frozen_app.py", LEAK) as child:
            (cgroup / "cgroup.procs").write_text(str(child.pid))
            (cgroup / "freezer.state").write_text("FROZEN")
            until(lambda: status_of(child.pid) == "D")
            frozen = scan(kinds="processes")
            (cgroup / "freezer.state").write_text("THAWED")
            tell(child, "close")
            (FREEZER / "cgroup.procs").write_text(str(child.pid))
    finally:
        cgroup.rmdir()

    assert found(frozen, "frozen_app.py") == []


# Logs

SECRET = "hunter2hunter2"
TRACE = f"""Traceback (most recent call last):
  File "/srv/app/web.py", line 10, in handler
    charge(card)
ValueError: password={SECRET} is wrong
"""


def test_an_error_burst_is_found_and_gone_when_the_log_is_rotated(
    tmp_path: Path,
) -> None:
    log, state = tmp_path / "app.log", str(tmp_path / "state")
    now = datetime.now(UTC).isoformat()
    arguments = ("--logs", str(log), "--state", state)
    log.write_text(f"{now} INFO served\n" * 200)
    before = scan(*arguments, kinds="logs")
    with log.open("a") as file:
        file.write(f"{now} ERROR it failed\n{TRACE}" * 60)
    during = scan(*arguments, kinds="logs")
    full = scan("--scope", "full", *arguments, kinds="logs")
    log.rename(tmp_path / "app.log.1")
    log.write_text(f"{now} INFO served\n" * 10)
    after = scan(*arguments, kinds="logs")

    assert found(before, str(log)) == []
    assert before["processed_logs"] == 200
    assert found(during, str(log)) == [("LOG-001", "high"), ("LOG-002", "medium")]
    assert during["processed_logs"] == 60 * 5 + 1
    assert during["findings"] == full["findings"]
    assert full["processed_logs"] == 200 + 60 * 5
    assert "ValueError: password=[redacted]" in json.dumps(during)
    assert SECRET not in json.dumps(during) + Path(state).read_text()
    assert found(after, str(log)) == []
    assert {entry["status"] for entry in after["coverage"][-2:]} == {"scanned"}


def test_hostile_files_are_skipped_and_hold_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.log")
    (tmp_path / "loop.log").symlink_to("loop.log")
    (tmp_path / "shadow.log").symlink_to("/etc/passwd")
    (tmp_path / "here").symlink_to(tmp_path)
    (tmp_path / "good.log").write_text("INFO x\n")
    with (tmp_path / "huge.log").open("wb") as file:
        file.truncate(10 * 2**30)

    result = scan("--logs", str(tmp_path / "**" / "*.log"), kinds="logs")

    reasons = {
        Path(entry["resource_scope"]).name: entry["reason"]
        for entry in result["coverage"]
        if entry["detector"] == "LOG-001"
    }
    assert reasons["fifo.log"] == "a FIFO"
    assert reasons["loop.log"] == "too many levels of symbolic links"
    assert reasons["shadow.log"] == "a symbolic link that leads outside"
    assert reasons["here"] == "a symbolic link to a directory"
    assert reasons["huge.log"] == "binary"
    assert reasons["good.log"] == ""
    assert result["processed_logs"] == 1


# The child itself


@pytest.fixture
def long_log(tmp_path: Path) -> Path:
    """Too long to be read within the moments of a test."""
    log = tmp_path / "long.log"
    with log.open("w") as file:
        for _ in range(60):
            file.write("2026-11-22T10:00:00Z INFO something ordinary\n" * 20_000)
    return log


def test_sigterm_cancels_a_scan(long_log: Path) -> None:
    child = start("--kinds", "logs", "--logs", str(long_log), "--scan-id", "s1")
    assert child.stdout is not None
    first = json.loads(child.stdout.readline())
    child.terminate()

    code, lines = finish(child)

    assert (first["type"], first["scan_id"]) == ("scan-progress", "s1")
    assert code == 1
    assert (lines[-1]["type"], lines[-1]["code"]) == ("scan-failed", "cancelled")
    assert [line["type"] for line in lines].count("scan-failed") == 1


def test_a_scan_ends_at_its_deadline(long_log: Path) -> None:
    child = start("--kinds", "logs", "--logs", str(long_log), "--deadline", "0.5")

    code, lines = finish(child)

    assert code == 1
    assert (lines[-1]["type"], lines[-1]["code"]) == ("scan-failed", "deadline")
    done = [line["processed"] for line in lines[:-1]]
    assert done == sorted(done)


def test_a_scan_steps_back_behind_other_work(long_log: Path) -> None:
    child = start("--kinds", "logs", "--logs", str(long_log))
    assert child.stdout is not None
    child.stdout.readline()

    niceness = os.getpriority(os.PRIO_PROCESS, child.pid)
    child.terminate()
    finish(child)

    assert niceness >= os.getpriority(os.PRIO_PROCESS, 0) + 10


def test_a_scan_ends_when_nobody_reads_it_any_more(long_log: Path) -> None:
    child = start("--kinds", "logs", "--logs", str(long_log))
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()

    assert child.wait(timeout=20) == 1
    assert child.stderr is not None
    child.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--kinds", "disc"), "did you mean disk?"),
        (("--scope", "partial"), "Known: incremental, full"),
        (("--filters", "{"), "not a JSON object"),
        (("--deadline", "0"), "between 0 and 86400"),
        (("--bogus",), "nrecognized arguments"),
    ],
)
def test_what_cannot_be_run_exits_2_with_one_clear_line(
    arguments: tuple[str, ...], hint: str
) -> None:
    code, [line] = finish(start(*arguments))

    assert code == 2
    assert (line["type"], line["code"]) == ("scan-failed", "bad-request")
    assert hint in line["message"]


def test_the_rule_table_is_printed_for_people_and_for_programs() -> None:
    out = subprocess.run(
        [*CHILD, "--rules"], capture_output=True, text=True, check=True
    )
    as_json = subprocess.run(
        [*CHILD, "--rules", "--json"], capture_output=True, text=True, check=True
    )

    rules = [rule["code"] for rule in json.loads(as_json.stdout)]
    assert [line.split()[0] for line in out.stdout.splitlines()] == rules
    assert rules == sorted(rules, key=lambda code: ("DPL".index(code[0]), code))


def test_the_child_imports_nothing_heavy() -> None:
    code = "import sys, vibehq_nb.ops.__main__; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    heavy = {"pandas", "numpy", "tornado", "asyncio", "websockets", "IPython"}
    assert heavy.isdisjoint(out.stdout.split())
