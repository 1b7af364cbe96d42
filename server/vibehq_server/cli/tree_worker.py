"""The commands below ``vibehq worker``, which is one itself."""

from vibehq_server.cli.parser import Tree, add_remote


def add_worker(tree: Tree) -> None:
    """Add ``vibehq worker`` and its verbs to *tree*."""
    run = "worker"
    worker = tree.add(
        "worker",
        "Run the worker of this host: it holds terminals and runs scans.",
        "vibehq worker --id web-1",
        (run, "run"),
    )
    add = worker.add_argument
    add("--data", help="its data folder: the server's, or one for each --url")
    add("--id", help="this worker's name; else the host's")
    add("--url", help="the server, where it is on another host; see worker invite")
    add("--max-terminals", metavar="N", help="how many it opens at most (default 64)")
    add(
        "--cull-idle",
        metavar="TIME",
        help="close terminals idle for so long, such as 12h; one that runs a job, is "
        "watched or frozen is not idle (default: never)",
    )
    below = Tree(worker, "verb")
    inviting = below.add(
        "invite",
        "Print one line that starts a worker on another host; it works once.",
        "vibehq worker invite web-1",
        (run, "invite"),
    )
    inviting.add_argument("name", help="the worker's name")
    add_remote(inviting)
    listing = below.add(
        "list", "List workers.", "vibehq worker ls", (run, "list_"), ["ls"]
    )
    add_remote(listing)
    stopping = below.add(
        "stop",
        "End a worker and its terminals; it is refused while a job runs in one.",
        "vibehq worker stop web-1",
        (run, "stop"),
    )
    stopping.add_argument("name", nargs="?", help="default: the one on this host")
    stopping.add_argument("--force", action="store_true", help="also while jobs run")
    add_remote(stopping)
