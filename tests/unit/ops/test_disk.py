from datetime import UTC, datetime

import pytest

from vibehq_nb.core.findings import diff, is_covered
from vibehq_nb.core.severity import Severity
from vibehq_nb.ops.rules.disk import (
    DiskFacts,
    Mount,
    Part,
    can_fill,
    coverage_of,
    detect,
    may_hang,
    unique,
)


def make_mount(
    path: str = "/data",
    used: float = 50.0,
    inodes: float = 10.0,
    device: str = "/dev/a",
) -> Mount:
    return Mount(
        path=path,
        device=device,
        kind="ext4",
        total_bytes=1000,
        used_bytes=round(used * 10),
        free_bytes=1000 - round(used * 10),
        total_inodes=1000,
        free_inodes=1000 - round(inodes * 10),
    )


@pytest.mark.parametrize(
    ("used", "severity"),
    [(90, Severity.MEDIUM), (95, Severity.HIGH), (99, Severity.CRITICAL)],
)
def test_bytes_are_graded_by_percent_used(used: float, severity: Severity) -> None:
    [finding] = detect(DiskFacts((make_mount(used=used),)), "web-1")

    assert (finding.rule, finding.severity, finding.hold) == (
        "DSK-001",
        severity,
        False,
    )
    assert (finding.measured, finding.unit) == (used, "%")
    assert finding.resource.uid == "disk:web-1:/data"


def test_a_file_system_with_room_is_no_finding() -> None:
    assert detect(DiskFacts((make_mount(used=84.9),)), "web-1") == []


def test_inodes_are_judged_beside_bytes() -> None:
    [finding] = detect(DiskFacts((make_mount(inodes=96),)), "web-1")

    assert (finding.rule, finding.severity) == ("DSK-002", Severity.HIGH)


def test_a_file_system_that_makes_inodes_on_demand_has_no_inode_finding() -> None:
    mount = Mount(path="/btrfs", device="/dev/b", kind="btrfs", free_bytes=10)

    assert detect(DiskFacts((mount,)), "web-1") == []


def test_reserved_blocks_count_as_used_as_in_df() -> None:
    mount = Mount("/", "/dev/a", "ext4", total_bytes=100, used_bytes=90, free_bytes=4)

    assert round(mount.bytes_percent, 1) == 95.7


def test_between_clear_and_raise_an_open_finding_is_kept_and_none_is_raised() -> None:
    full, eased, free = (DiskFacts((make_mount(used=used),)) for used in (91, 87, 84))
    now = datetime(2026, 11, 22, tzinfo=UTC)
    coverage = coverage_of(full, "web-1")

    assert diff({}, detect(eased, "web-1"), coverage, now).tracked == {}
    opened = diff({}, detect(full, "web-1"), coverage, now).tracked
    kept = diff(opened, detect(eased, "web-1"), coverage, now)
    assert all(tracked.is_open for tracked in kept.tracked.values())
    cleared = diff(kept.tracked, detect(free, "web-1"), coverage, now)
    assert len(cleared.resolved) == 1


def test_bind_mounts_of_a_device_are_one_file_system() -> None:
    mounts = [(make_mount("/srv/bind"), 7), (make_mount("/srv"), 7)]

    assert [mount.path for mount in unique(mounts)] == ["/srv"]


def test_two_tmpfs_are_two_file_systems() -> None:
    mounts = [
        (make_mount("/run", device="tmpfs"), 1),
        (make_mount("/tmp", device="tmpfs"), 2),
        (make_mount("/bind", device="tmpfs"), 1),
    ]

    assert [mount.path for mount in unique(mounts)] == ["/run", "/tmp"]


@pytest.mark.parametrize(
    "part",
    [
        Part("proc", "/proc", "proc", "rw"),
        Part("cgroup", "/sys/fs/cgroup", "cgroup2", "rw"),
        Part("/dev/loop1", "/snap/x/1", "squashfs", "ro,nodev"),
        Part("/dev/sr0", "/media", "iso9660", "rw"),
        Part("/dev/sda1", "/boot", "ext4", "ro,relatime"),
        Part("overlay", "/var/lib/docker/overlay2/x/merged", "overlay", "rw"),
    ],
    ids=lambda part: part.fstype,
)
def test_what_cannot_fill_up_is_left_alone(part: Part) -> None:
    assert not can_fill(part)


@pytest.mark.parametrize(
    "part",
    [
        Part("/dev/sda1", "/", "ext4", "rw,errors=remount-ro"),
        Part("tmpfs", "/tmp", "tmpfs", "rw"),
        Part("overlay", "/", "overlay", "rw"),
        Part("host:/x", "/mnt", "nfs4", "rw"),
    ],
    ids=lambda part: part.fstype,
)
def test_what_can_fill_up_is_looked_at(part: Part) -> None:
    assert can_fill(part)


def test_network_and_fuse_mounts_may_hang() -> None:
    kinds = {"nfs4": True, "fuse.sshfs": True, "ext4": False, "tmpfs": False}

    assert {k: may_hang(Part("d", "/m", k, "rw")) for k in kinds} == kinds


def test_a_mount_that_does_not_answer_is_failed_coverage_of_itself_alone() -> None:
    facts = DiskFacts((make_mount("/"),), (("/mnt", "did not answer in time"),))
    [root] = detect(DiskFacts((make_mount("/", used=95),)), "web-1")
    [mnt] = detect(DiskFacts((make_mount("/mnt", used=95),)), "web-1")

    coverage = coverage_of(facts, "web-1")

    assert is_covered(root, coverage)
    assert not is_covered(mnt, coverage)
