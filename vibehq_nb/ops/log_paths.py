"""
From patterns to files that may be read: never a FIFO, a device or a way outside.

A pattern's fixed part is its root. Symbolic links are followed only to files below
that root, directories behind links not at all, so there is no loop. Each thing that is
left out has a reason.
"""

import fnmatch
import glob
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

MAX_FILES = 1000
MAX_ENTRIES = 100_000
MAX_DEPTH = 32

_KERNEL = ("/proc", "/sys", "/dev")
_NOT_FILES = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISDIR, "a directory: name files, such as DIRECTORY/*.log"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class SkippedError(Exception):
    """This file is not read; the message says why."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that a pattern names, not opened yet."""

    path: Path
    root: Path


@dataclass(slots=True)
class Selection:
    """What the patterns name, and what was left out."""

    files: list[Candidate] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Path or pattern, and the reason."""
    entries: int = 0


def select(patterns: Iterable[str]) -> Selection:
    """Return the files that *patterns* name, each once, in order."""
    selection = Selection()
    seen: set[Path] = set()
    for pattern in patterns:
        found = False
        for candidate in _candidates(pattern, selection):
            found = True
            if candidate.path in seen:
                continue
            if len(selection.files) >= MAX_FILES:
                reason = (
                    f"more than {MAX_FILES} files are named; this is the first left"
                )
                selection.skipped.append((str(candidate.path), reason))
                return selection
            seen.add(candidate.path)
            selection.files.append(candidate)
        if not found:
            selection.skipped.append((pattern, "no file matches"))
    return selection


def _candidates(pattern: str, selection: Selection) -> Iterator[Candidate]:
    if "\0" in pattern or not pattern:
        return
    path = Path(os.path.normpath(Path.cwd() / pattern))
    fixed = path.parts
    first = next((i for i, part in enumerate(fixed) if glob.has_magic(part)), None)
    # A file whose own name looks like a pattern is that file.
    if first is None or os.path.lexists(path):
        if os.path.lexists(path):
            yield Candidate(path, path.parent)
        return
    root = Path(*fixed[:first])
    for found in _walk(root, fixed[first:], selection):
        yield Candidate(found, root)


def _walk(
    folder: Path, parts: tuple[str, ...], selection: Selection, depth: int = 0
) -> Iterator[Path]:
    part, rest = parts[0], parts[1:]
    below = parts if part == "**" else rest
    if part == "**" and rest:
        yield from _walk(folder, rest, selection, depth)
    for entry in _entries(folder, selection):
        if not _matches(entry.name, part):
            continue
        path = folder / entry.name
        if not below and not entry.is_dir(follow_symlinks=False):
            yield path
        elif below and _may_descend(entry, path, depth, selection):
            yield from _walk(path, below, selection, depth + 1)
        elif part == "**" and not rest and not os.path.isdir(path):  # noqa: PTH112
            yield path


def _may_descend(
    entry: os.DirEntry[str], path: Path, depth: int, selection: Selection
) -> bool:
    # os.path.isdir never raises, Path.is_dir does.
    if not os.path.isdir(path):  # noqa: PTH112
        return False
    if entry.is_symlink():
        selection.skipped.append((str(path), "a symbolic link to a directory"))
        return False
    if depth >= MAX_DEPTH:
        selection.skipped.append((str(path), "too deep"))
        return False
    return True


def _matches(name: str, part: str) -> bool:
    if name.startswith(".") and not part.startswith("."):
        return False
    return part == "**" or fnmatch.fnmatchcase(name, part)


def _entries(folder: Path, selection: Selection) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except NotADirectoryError:
        return []
    except OSError as error:
        selection.skipped.append((str(folder), _words(error)))
        return []
    room = max(0, MAX_ENTRIES - selection.entries)
    if len(entries) > room:
        reason = f"the patterns lead over more than {MAX_ENTRIES} entries"
        selection.skipped.append((str(folder), reason))
    selection.entries += len(entries)
    return entries[:room]


def open_log(candidate: Candidate) -> BinaryIO:
    """
    Open a regular file below its pattern's root for reading.

    Raises:
        SkippedError: If it is anything else, or may not be read.
    """
    try:
        real = Path(os.path.realpath(candidate.path, strict=True))
        root = Path(os.path.realpath(candidate.root, strict=True))
        if not real.is_relative_to(root):
            raise SkippedError("a symbolic link that leads outside")
        if str(real).startswith(tuple(f"{kernel}/" for kernel in _KERNEL)):
            raise SkippedError("in a file system of the kernel")
        # Before opening: to open a FIFO already wakes its writer.
        _require_file(real.stat(follow_symlinks=False))
        return _open_exactly(real)
    except OSError as error:
        raise SkippedError(_words(error)) from error


def _open_exactly(real: Path) -> BinaryIO:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(real, flags)
    try:
        _require_file(os.fstat(descriptor))
        # A folder on the way may have become a link since its path was resolved.
        link = Path(f"/proc/self/fd/{descriptor}")
        if link.is_symlink() and link.readlink() != real:
            raise SkippedError("changed while it was opened")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _require_file(status: os.stat_result) -> None:
    for is_kind, words in _NOT_FILES:
        if is_kind(status.st_mode):
            raise SkippedError(words)


def _words(error: OSError) -> str:
    words = error.strerror or "cannot be read"
    return words[0].lower() + words[1:]
