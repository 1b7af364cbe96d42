"""What every provider says and knows before it asks anybody."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import Spawn
from vibehq_nb.worker.freezer import V1, V2, _places
from vibehq_nb.worker.providers.names import nearest_first, told
from vibehq_nb.worker.providers.places import Places
from vibehq_nb.worker.providers.port import Foreground
from vibehq_nb.worker.providers.remote import Leader, RemoteSession, await_mark
from vibehq_nb.worker.providers.runtime import DOCKER, PODMAN, Runtime


def test_the_nearest_name_comes_first() -> None:
    assert nearest_first("web1", ["db", "web-1", "api", "db"]) == ["web-1", "db", "api"]


def test_of_many_names_ten_are_told_and_of_none_that_there_are_none() -> None:
    names = [f"job-{number:02}" for number in range(14)]

    assert told("job-07", names).startswith("job-07, ")
    assert told("job-07", names).count(",") == 9
    assert told("job-07", names).endswith(" and 4 more")
    assert told("x", []) == "none"


@pytest.mark.parametrize(
    ("target", "library", "hint"),
    [
        ("docker:web-1", "docker", 'pip install "vibehq-nb[containers]"'),
        ("podman:web-1", "docker", 'pip install "vibehq-nb[containers]"'),
        ("k8s:prod/web-1", "kubernetes", 'pip install "vibehq-nb[containers]"'),
        ("ssh:web-1", "asyncssh", 'pip install "vibehq-nb[ssh]"'),
    ],
)
async def test_without_its_library_a_provider_says_what_to_install(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    library: str,
    hint: str,
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    places = Places("laptop", tmp_path)

    usable = places.usable()
    with pytest.raises(DeniedError) as caught:
        await places.open(Spawn(id="r", terminal="w", target=target))
    await places.close()

    assert caught.value.code == "no-library"
    assert hint in caught.value.reason
    assert target.partition(":")[0] not in usable


def test_a_socket_is_where_the_variable_says_or_where_it_usually_is(
    tmp_path: Path, make_socket: Callable[[Path], None]
) -> None:
    usual = tmp_path / "podman" / "podman.sock"
    named = tmp_path / "named.sock"
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    before = Runtime(PODMAN, environ).address()
    make_socket(usual)
    make_socket(named)

    assert before != f"unix://{usual}"
    assert Runtime(PODMAN, environ).address() == f"unix://{usual}"
    environ["CONTAINER_HOST"] = f"unix://{named}"
    assert Runtime(PODMAN, environ).address() == f"unix://{named}"
    environ["CONTAINER_HOST"] = "unix:///no/socket"
    assert Runtime(PODMAN, environ).address() is None
    environ["DOCKER_HOST"] = "tcp://h:1"
    assert Runtime(DOCKER, environ).address() == "tcp://h:1"


@pytest.fixture
def make_socket() -> Callable[[Path], None]:
    import socket

    def make(path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))

    return make


@pytest.mark.parametrize(
    ("pieces", "before_mark", "after"),
    [
        ([b"\x1emark 7 99\x1e"], b"", b""),
        ([b"hello\x1ema", b"rk 7 99", b"\x1ethere"], b"hello", b"there"),
        ([b"\x1eother 1 1\x1e", b"\x1emark 7 99\x1e"], b"\x1eother 1 1\x1e", b""),
    ],
)
async def test_the_mark_is_taken_out_of_the_output(
    pieces: list[bytes], before_mark: bytes, after: bytes
) -> None:
    async def read() -> bytes:
        return pieces.pop(0)

    began = await await_mark(read, "mark")

    assert began is not None
    assert began.leader == Leader(7, "99")
    assert began.output == before_mark + after


async def test_an_end_before_the_mark_is_none_and_a_flood_is_refused() -> None:
    async def end() -> bytes:
        return b""

    async def flood() -> bytes:
        return b"x" * 65536

    assert await await_mark(end, "mark") is None
    with pytest.raises(DeniedError, match="does not begin"):
        await await_mark(flood, "mark")


STAT = "{up} 12 (my (odd) name) S 7 {group} 7 34816 {group} 0" + " 0" * 12 + " 990 1 1"


@pytest.mark.parametrize(
    ("answer", "job"),
    [
        (
            STAT.format(up="12.5", group=12),
            Foreground("my (odd) name", 12, 2.6, False),
        ),
        (STAT.format(up="9.0", group=7), Foreground("my (odd) name", 12, 0.0, True)),
        ("none\n", None),
    ],
)
async def test_a_foreground_job_is_read_from_what_the_kernel_writes(
    answer: str, job: Foreground | None
) -> None:
    async def run(*_words: str) -> str:
        return answer

    session = RemoteSession(run, Leader(7, "99"), is_shell=True)

    assert await session.foreground() == job


@pytest.mark.parametrize(
    ("answer", "started"),
    [("", "99"), ("sh: not found", "99"), ("none", "")],
    ids=["silence", "no shell", "no processes"],
)
async def test_a_foreground_job_that_nobody_tells_is_not_taken_for_none(
    answer: str, started: str
) -> None:
    async def run(*_words: str) -> str:
        return answer

    session = RemoteSession(run, Leader(7, started), is_shell=True)

    with pytest.raises(DeniedError) as caught:
        await session.foreground()
    assert caught.value.code == "not-known"


async def test_where_no_process_is_seen_a_signal_is_refused_and_the_end_is_quiet() -> (
    None
):
    async def run(*_words: str) -> str:
        raise AssertionError

    session = RemoteSession(run, Leader(7, ""), is_shell=True)

    with pytest.raises(DeniedError, match=r"Type \^C"):
        await session.signal("INT")
    await session.end()


def test_our_cgroups_are_found_where_the_hierarchies_are_mounted() -> None:
    mounts = [
        "30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro",
        "31 30 0:27 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer",
        "32 30 0:28 /docker/x /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
        "33 30 0:29 /docker/x /sys/fs/cgroup/unified rw shared:1 - cgroup2 cgroup2 rw",
    ]
    groups = ["4:cpu:/docker/x", "3:freezer:/user/a", "0::/docker/x/b"]

    found = dict((kind, folder) for folder, kind in _places(mounts, groups))

    assert found == {
        V1: Path("/sys/fs/cgroup/freezer/user/a"),
        V2: Path("/sys/fs/cgroup/unified/b"),
    }
