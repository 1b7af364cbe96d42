"""The verbs of ``vibehq terminal`` that make, play and keep recordings."""

from vibehq_server.cli.parser import Parser, Tree, add_remote

_RECORDING = "the recording's id, or its first characters"


def add_recordings(tree: Tree) -> None:
    """Add them."""
    run = "recording"
    recording = tree.add(
        "record",
        "Record what a terminal prints, for all who watch to see; keys never are.",
        "vibehq terminal record web-1",
        (run, "record"),
    )
    recording.add_argument("id")
    recording.add_argument("--stop", action="store_true", help="end its recording")
    add_remote(recording)
    listing = tree.add(
        "recordings",
        "List recordings, the newest first.",
        "vibehq terminal recordings web-1",
        (run, "recordings"),
    )
    listing.add_argument("id", nargs="?", help="only this terminal's")
    add_remote(listing)
    _add_replay(tree)
    exporting = tree.add(
        "export",
        "Write a recording to a file that asciinema plays, or as plain text.",
        "vibehq terminal export 20261125-0315 -o incident.cast",
        (run, "export"),
    )
    exporting.add_argument("recording", help=_RECORDING)
    exporting.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="- for standard output"
    )
    exporting.add_argument(
        "--format",
        choices=("asciicast-v3", "asciicast-v2", "text"),
        default="asciicast-v3",
        help="asciicast-v2 also for asciinema 2 (default asciicast-v3)",
    )
    add_remote(exporting, has_json=False)
    verifying = tree.add(
        "verify",
        "Hash a recording's files again and compare; code 1 where one was changed.",
        "vibehq terminal verify 20261125-0315",
        (run, "verify"),
    )
    verifying.add_argument("recording", help=_RECORDING)
    add_remote(verifying)


def _add_replay(tree: Tree) -> None:
    replaying: Parser = tree.add(
        "replay",
        "Play a recording here: space pauses, arrow keys seek, [ ] jump, q leaves.",
        "vibehq terminal replay incident.cast --from 1:30 --speed 2 --idle-limit 2",
        ("recording", "replay"),
    )
    add = replaying.add_argument
    add("recording", metavar="RECORDING|FILE.cast", help=f"{_RECORDING}; or a file")
    add("--speed", type=float, default=1.0, metavar="N", help="2 is twice as fast")
    first = replaying.add_mutually_exclusive_group()
    first.add_argument(
        "--from", dest="start", default="0", metavar="TIME", help="such as 90 or 1:30"
    )
    first.add_argument(
        "--command", type=int, metavar="N", help="begin at the N-th command"
    )
    add("--idle-limit", type=float, metavar="SECONDS", help="no longer pauses")
    add_remote(replaying, has_json=False)
