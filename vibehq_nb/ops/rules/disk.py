"""
File systems that run out of bytes or of inodes.

What cannot fill up is left alone: pseudo file systems, read-only mounts and images.
A bind mount is the file system it shows, and an overlay below ``/`` is the one that
holds its layers, so each file system is judged once. Network and FUSE mounts may hang
for ever: each is asked in a thread of its own, and one that does not answer is failed
coverage of that mount alone.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from vibehq_nb.core.findings import Coverage, Evidence, Finding
from vibehq_nb.core.resources import resource, scope_of
from vibehq_nb.core.severity import Severity
from vibehq_nb.ops.rule import Deadline, Report, Rule, Target, cover, level_of
from vibehq_nb.ops.within import start_all

RULES = (
    Rule(
        code="DSK-001",
        title="File system almost full",
        kind="disk",
        type="stability",
        cost="low",
        deadline_seconds=10.0,
        remediation="Find the largest files and deleted files that are still open; "
        "remove, truncate or move them, or make the file system larger.",
    ),
    Rule(
        code="DSK-002",
        title="File system almost out of inodes",
        kind="disk",
        type="stability",
        cost="low",
        deadline_seconds=10.0,
        remediation="Find the directory with the most files and remove what is not "
        "needed; more bytes do not help.",
    ),
)
BYTES, INODES = RULES

LEVELS = ((90.0, Severity.MEDIUM), (95.0, Severity.HIGH), (99.0, Severity.CRITICAL))
"""Percent used from which a severity holds."""
CLEAR_BELOW = 85.0
"""Percent used below which an open finding is resolved."""
SLOW_MOUNT_SECONDS = 3.0

# fmt: off
PSEUDO = frozenset({
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devfs",
    "devpts", "devtmpfs", "efivarfs", "fdescfs", "fuse.gvfsd-fuse", "fuse.lxcfs",
    "fuse.portal", "fusectl", "hugetlbfs", "linprocfs", "mqueue", "none", "nsfs",
    "nullfs", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs",
    "sysfs", "tracefs",
})
IMAGES = frozenset({
    "cd9660", "cramfs", "erofs", "fuse.snapfuse", "fuse.squashfuse", "iso9660",
    "squashfs", "udf",
})
REMOTE = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "lustre", "nfs", "nfs4", "smb3",
    "smbfs", "virtiofs",
})
# fmt: on


class Part(NamedTuple):
    """One line of the mount table, in psutil's order."""

    device: str
    mountpoint: str
    fstype: str
    opts: str


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system; bytes and inodes, totals 0 where there is no limit."""

    path: str
    device: str
    kind: str
    total_bytes: int = 0
    used_bytes: int = 0
    free_bytes: int = 0
    """What an ordinary user may still write."""
    total_inodes: int = 0
    free_inodes: int = 0

    @property
    def bytes_percent(self) -> float:
        """Percent used of what an ordinary user may use, as ``df`` counts."""
        usable = self.used_bytes + self.free_bytes
        return 100.0 * self.used_bytes / usable if usable else 0.0

    @property
    def inodes_percent(self) -> float:
        """Percent of the inodes in use, 0 where they are made on demand."""
        if not self.total_inodes:
            return 0.0
        return 100.0 * (self.total_inodes - self.free_inodes) / self.total_inodes


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """What the probe saw, and which mounts it could not see."""

    mounts: tuple[Mount, ...] = ()
    unseen: tuple[tuple[str, str], ...] = ()
    """Mount point and reason."""


def examine(target: Target) -> Report:
    """Look at every file system of this host and judge it."""
    target.announce(1)
    facts = probe(target.deadline)
    target.advance(1)
    return Report(detect(facts, target.host), coverage_of(facts, target.host))


def probe(deadline: Deadline) -> DiskFacts:
    """Measure each file system once; needs no privileges."""
    mounts: list[tuple[Mount, int]] = []
    unseen: list[tuple[str, str]] = []
    parts = [Part(*part[:4]) for part in psutil.disk_partitions(all=True)]
    worth = {part.mountpoint: part for part in parts if can_fill(part)}
    slow = {path: part for path, part in worth.items() if may_hang(part)}
    calls = start_all({path: partial(measure, part) for path, part in slow.items()})
    patience = Deadline(min(SLOW_MOUNT_SECONDS, deadline.remaining))
    for path, part in worth.items():
        try:
            call = calls.get(path)
            measured = call.result(patience) if call else measure(part)
        except TimeoutError:
            unseen.append((path, "did not answer in time"))
        except OSError as error:
            unseen.append((path, error.strerror or "unreadable"))
        else:
            mounts.extend([measured] if measured else [])
    return DiskFacts(tuple(unique(mounts)), tuple(unseen))


def can_fill(part: Part) -> bool:
    """Tell whether the file system can be filled, and is not shown elsewhere."""
    if part.fstype in PSEUDO or part.fstype in IMAGES:
        return False
    if "ro" in part.opts.split(","):
        return False
    return part.fstype != "overlay" or part.mountpoint == "/"


def may_hang(part: Part) -> bool:
    """Tell whether asking for its size may take for ever."""
    return part.fstype in REMOTE or part.fstype.startswith("fuse")


def measure(part: Part) -> tuple[Mount, int] | None:
    """
    Return the file system and its device number, None for a single mounted file.

    Raises:
        OSError: If the mount point cannot be asked.
    """
    status = Path(part.mountpoint).stat()
    if not stat.S_ISDIR(status.st_mode):
        return None
    size = os.statvfs(part.mountpoint)
    mount = Mount(
        path=part.mountpoint,
        device=part.device,
        kind=part.fstype,
        total_bytes=size.f_blocks * size.f_frsize,
        used_bytes=(size.f_blocks - size.f_bfree) * size.f_frsize,
        free_bytes=size.f_bavail * size.f_frsize,
        total_inodes=size.f_files,
        free_inodes=size.f_ffree,
    )
    return mount, status.st_dev


def unique(mounts: Iterable[tuple[Mount, int]]) -> list[Mount]:
    """
    Return each file system once, under its shortest mount point.

    A block device's name tells bind mounts and subvolumes; ``tmpfs`` names every
    tmpfs, so there the device number does.
    """
    kept: dict[str, Mount] = {}
    for mount, number in mounts:
        is_block = mount.device.startswith("/")
        key = mount.device if is_block else f"number {number}"
        known = kept.get(key)
        if known is None or _order(mount) < _order(known):
            kept[key] = mount
    return sorted(kept.values(), key=lambda mount: mount.path)


def _order(mount: Mount) -> tuple[int, str]:
    return len(mount.path), mount.path


def detect(facts: DiskFacts, host: str) -> list[Finding]:
    """Return what is almost full, in bytes and in inodes."""
    findings = []
    for mount in facts.mounts:
        findings += _judge(BYTES, mount, mount.bytes_percent, host)
        findings += _judge(INODES, mount, mount.inodes_percent, host)
    return findings


def _judge(rule: Rule, mount: Mount, percent: float, host: str) -> list[Finding]:
    if percent < CLEAR_BELOW:
        return []
    level = level_of(percent, LEVELS)
    threshold, severity = level or LEVELS[0]
    finding = Finding(
        rule=rule.code,
        title=rule.title,
        severity=severity,
        resource=resource("disk", mount.path, host),
        host=host,
        measured=round(percent, 1),
        threshold=threshold,
        unit="%",
        evidence=(Evidence(kind="mount", path=mount.path, sample=_sample(mount)),),
        remediation=rule.remediation,
        runbook=rule.runbook,
        hold=level is None,
    )
    return [finding]


def _sample(mount: Mount) -> str:
    mebibyte = 2**20
    return (
        f"{mount.device} ({mount.kind}): {mount.used_bytes / mebibyte:.1f} of "
        f"{mount.total_bytes / mebibyte:.1f} MiB used, {mount.free_inodes} of "
        f"{mount.total_inodes} inodes free"
    )


def coverage_of(facts: DiskFacts, host: str) -> list[Coverage]:
    """Return how far this host's file systems were seen."""
    coverage = cover(RULES, scope_of("disk", host), "scanned")
    for path, reason in facts.unseen:
        uid = resource("disk", path, host).uid
        coverage += cover(RULES, uid, "failed", reason)
    return coverage
