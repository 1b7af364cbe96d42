"""``vibehq terminal record | recordings | replay | export | verify``."""

import argparse
import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vibehq_nb.core.errors import UsageError, VibeError
from vibehq_server.cli.output import complain, say, say_json, say_table
from vibehq_server.cli.remote import api_of
from vibehq_server.settings import nearest

_COLUMNS = (
    "id",
    "terminal",
    "started_at",
    "seconds",
    "bytes",
    "by",
    "state",
    "commands",
    "gaps",
    "is_pinned",
)
_TIME = re.compile(r"(?:(?:([0-9]{1,5}):)?([0-9]{1,5}):)?([0-9]{1,9}(?:\.[0-9]{1,6})?)")


def record(arguments: argparse.Namespace) -> int:
    """Record a terminal from now on, or end its recording."""
    path = f"/api/terminals/{quote(arguments.id, safe=':@')}/recordings"
    api = api_of(arguments)
    found = api.request("POST", f"{path}/stop" if arguments.stop else path)
    if arguments.json:
        say_json(found)
    elif arguments.stop:
        say(f"{found['id']} is complete.")
    else:
        say(found["id"])
    return 0


def recordings(arguments: argparse.Namespace) -> int:
    """List recordings, of one terminal or all."""
    from vibehq_nb.client.recordings import walk_recordings

    found = list(walk_recordings(api_of(arguments), arguments.id))
    if arguments.json:
        say_json(found)
    else:
        say_table(found, _COLUMNS)
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Hash a recording's files again; code 1 where one is not what it was."""
    api = api_of(arguments)
    name = find_recording(api, arguments.recording)
    found = api.request("GET", f"/api/recordings/{name}/verify")
    if arguments.json:
        say_json(found)
    elif found["is_whole"]:
        say(f"{name} is whole: {len(found['segments'])} segments.")
    else:
        broken = [str(s["number"]) for s in found["segments"] if not s["is_whole"]]
        complain(f"{name} was changed: segment {', '.join(broken)}")
    return 0 if found["is_whole"] else 1


def export(arguments: argparse.Namespace) -> int:
    """Write a recording to a file, or with ``-`` to standard output."""
    from vibehq_nb.client.recordings import cast_path, cast_text, write_file

    api = api_of(arguments)
    name = find_recording(api, arguments.recording)
    version = 2 if arguments.format == "asciicast-v2" else 3
    pieces: Iterator[bytes] = api.lines(cast_path(name, version))
    if arguments.format == "text":
        pieces = iter([cast_text(pieces).encode()])
    if arguments.output == "-":
        sys.stdout.flush()
        sys.stdout.buffer.writelines(pieces)
        sys.stdout.flush()
        return 0
    # The first piece comes before the file: a refusal leaves none behind.
    first = next(pieces, b"")
    path = write_file(Path(arguments.output), chain([first], pieces))
    complain(f"wrote {path}")
    return 0


def replay(arguments: argparse.Namespace) -> int:
    """Play a recording, or a file of one, in this terminal."""
    from vibehq_server.cli.replay import Tempo, replay_here
    from vibehq_server.cli.replay_sources import FileSource, ServerSource

    tempo = Tempo(arguments.speed, arguments.idle_limit)
    start = decode_time(arguments.start)
    name = arguments.recording
    is_file = Path(name).is_file() or name.endswith(".cast") or "/" in name
    source: Any
    if is_file:
        source = FileSource(Path(name))
    else:
        api = api_of(arguments)
        source = ServerSource(api, find_recording(api, name))
    if arguments.command is not None:
        start = _start_of(source.marks, arguments.command)
    return replay_here(source, tempo, start)


def _start_of(marks: list[float], number: int) -> float:
    if 1 <= number <= len(marks):
        return marks[number - 1]
    there = f"There are {len(marks)}." if marks else "It knows no commands."
    raise UsageError(f"This recording has no command {number}. {there}")


def decode_time(text: str) -> float:
    """
    Return the seconds that ``90``, ``1:30`` or ``1:02:03.5`` mean.

    Raises:
        UsageError: If it is none of these.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise UsageError("--from is a time such as 90, 1:30 or 1:02:03")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def find_recording(api: Any, name: str) -> str:
    """
    Return the id of a recording: *name*, or the only one that begins with it.

    Raises:
        VibeError: If there is none, or more than one.
    """
    from vibehq_nb.client.recordings import walk_recordings

    known = [one["id"] for one in walk_recordings(api)]
    if name in known:
        return name
    found = [one for one in known if name and one.startswith(name)]
    if len(found) == 1:
        return str(found[0])
    if found:
        raise VibeError(f"Several recordings begin with that: {', '.join(found[:5])}.")
    hint = nearest(name, frozenset(known))
    raise VibeError(f"There is no such recording.{hint} vibehq terminal recordings")
