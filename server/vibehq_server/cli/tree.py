"""The tree of commands. Nouns are singular; ``ls`` is ``list``."""

from vibehq_nb import __version__
from vibehq_server.cli.parser import Parser, Tree, add_remote
from vibehq_server.cli.recording_tree import add_recordings
from vibehq_server.cli.tree_worker import add_worker
from vibehq_server.settings import DEFAULT_PORT, LOG_FORMATS, RECORD

ROLES = ("viewer", "operator", "approver", "worker")
_APPROVAL_ID = "the request's id, or its first characters (6 or more)"
SEVERITIES = ("info", "low", "medium", "high", "critical")


def build_parser() -> Parser:
    """Return the whole tree."""
    parser = Parser(
        prog="vibehq",
        description="Live terminals, scans and approvals you can trust at 3 a.m.",
    )
    parser.add_argument("--version", action="version", version=f"vibehq {__version__}")
    tree = Tree(parser)
    _add_programs(tree)
    _add_scan(tree)
    terminal = tree.group("terminal", "Live terminals on workers.")
    _add_terminal(terminal)
    add_recordings(terminal)
    _add_approval(tree.group("approval", "Requests for a human decision."))
    _add_room(tree.group("room", "Live rooms of the server."))
    _add_grant(tree.group("grant", "Who may do what, for how long."))
    return parser


def _add_programs(tree: Tree) -> None:
    lab = tree.add(
        "lab",
        "Open JupyterLab on a copy of the tour; nothing of yours is overwritten.",
        "vibehq lab ~/runbooks -- --ip=127.0.0.1",
        ("lab", "lab"),
    )
    lab.set_defaults(hands_on=True)  # what follows -- goes to JupyterLab
    lab.add_argument("dir", nargs="?", default=".", help="where vibehq-tour/ is put")
    lab.add_argument("--port", type=int, help="the port JupyterLab listens on")
    lab.add_argument(
        "--no-browser", action="store_true", help="print the address, open nothing"
    )
    _add_serve(tree)
    add_worker(tree)
    doctor = tree.add(
        "doctor",
        "Check this installation and say what to do about what is wrong.",
        "vibehq doctor",
        ("programs", "doctor"),
    )
    add_remote(doctor)
    login = tree.add(
        "login",
        "Keep a grant's token for a server; it is asked for, never an argument.",
        "vibehq login https://hq.example.com",
        ("login", "login"),
    )
    login.add_argument("url", help="the server's address")
    link = tree.add(
        "login-link",
        "Print a fresh one-time sign-in link of the server on this host.",
        "vibehq login-link",
        ("login", "login_link"),
    )
    add_remote(link)
    completion = tree.add(
        "completion",
        "Print a completion script for a shell.",
        "vibehq completion bash > ~/.local/share/bash-completion/completions/vibehq",
        ("completion", "completion"),
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))


def _add_serve(tree: Tree) -> None:
    serve = tree.add(
        "serve",
        "Run the room server; prints a one-time sign-in link.",
        "vibehq serve --port 8900 --with-worker",
        ("serve", "serve"),
    )
    add = serve.add_argument
    add("--port", type=int, help=f"where to listen (default {DEFAULT_PORT})")
    add("--host", help="the address to listen on (default 127.0.0.1)")
    add("--data", help="the data folder")
    add("--allowed-host", action="append", metavar="NAME", help="a further own name")
    add("--origin", action="append", metavar="URL", help="a further page to listen to")
    add("--behind-proxy", action="store_true", default=None, help="a proxy ends TLS")
    add("--tls-cert", metavar="FILE", help="certificate chain, PEM")
    add("--tls-key", metavar="FILE", help="its private key, PEM, mode 0600")
    add("--rooms", metavar="MODULE:NAME", help="further room classes")
    add("--log-format", choices=LOG_FORMATS, help="text (default), or JSON lines")
    add("--with-worker", action="store_true", default=None, help="and a local worker")
    add("--keep-days", metavar="N", help="how old entries get (default 180)")
    add("--keep-bytes", metavar="SIZE", help="how much a room keeps (default 2GiB)")
    add("--keep-entries", metavar="N", help="how many entries a room keeps")
    add("--record", choices=RECORD, help="record every terminal (default never)")
    add("--keep-recordings", metavar="DAYS", help="how old they get (default 30)")
    add("--recordings-bytes", metavar="SIZE", help="of all of them (default 10GiB)")


def _add_scan(tree: Tree) -> None:
    scan = tree.add(
        "scan",
        "Scan hosts for what is wrong and wait for the findings.",
        "vibehq scan --on web-1 --scope full --fail-on high",
        ("scan", "scan"),
    )
    scan.add_argument("--on", action="append", metavar="WORKER", help="default: all")
    scan.add_argument("--scope", choices=("incremental", "full"), default="incremental")
    scan.add_argument("--kinds", action="append", help="only these rules' kinds")
    scan.add_argument("--log", action="append", metavar="FILE", help="a log to read")
    scan.add_argument("--fail-on", choices=SEVERITIES, help="code 1 from this severity")
    scan.add_argument("--timeout", type=float, default=300.0, help="seconds to wait")
    add_remote(scan)


def _add_terminal(tree: Tree) -> None:
    run = "terminal"
    listing = tree.add(
        "list", "List terminals.", "vibehq terminal ls", (run, "list_"), ["ls"]
    )
    add_remote(listing)
    opening = tree.add(
        "open",
        "Open a terminal, or find the one that runs.",
        "vibehq terminal open docker:web-1 --name logs",
        (run, "open_"),
    )
    opening.add_argument("target", nargs="?", default="local")
    opening.add_argument("--name", help="its name on the worker")
    opening.add_argument("--worker", help="which worker, where there are several")
    opening.add_argument("--attach", action="store_true", help="and type into it here")
    _add_attaching(opening)
    add_remote(opening)
    attaching = tree.add(
        "attach",
        "Type into a terminal from here; Ctrl-] leaves it running.",
        "vibehq terminal attach web-1",
        (run, "attach"),
    )
    attaching.add_argument("id")
    _add_attaching(attaching)
    add_remote(attaching, has_json=False)
    closing = tree.add(
        "close",
        "End a terminal and what runs in it.",
        "vibehq terminal close web-1:logs",
        (run, "close"),
    )
    closing.add_argument("id")
    add_remote(closing)


def _add_attaching(parser: Parser) -> None:
    parser.add_argument("--read-only", action="store_true", help="watch, type nothing")
    parser.add_argument(
        "--detach-key",
        default="ctrl-]",
        metavar="KEY",
        help="what leaves it, such as ctrl-p (default ctrl-])",
    )


def _add_approval(tree: Tree) -> None:
    run = "approval"
    listing = tree.add(
        "list",
        "List requests for a decision, those that wait first.",
        "vibehq approval ls --status pending",
        (run, "list_"),
        ["ls"],
    )
    listing.add_argument("--status", help="only these, such as pending")
    listing.add_argument("--limit", type=int, default=50)
    add_remote(listing)
    showing = tree.add(
        "show",
        "Show one request in full.",
        "vibehq approval show 3f9c2a71",
        (run, "show"),
    )
    showing.add_argument("id", help=_APPROVAL_ID)
    add_remote(showing)
    for verb in ("approve", "reject"):
        deciding = tree.add(
            verb,
            f"{verb.capitalize()} one request, after showing exactly what it is.",
            f'vibehq approval {verb} 3f9c2a71 --reason "checked with ana"',
            (run, verb),
        )
        deciding.add_argument("id", help=_APPROVAL_ID)
        deciding.add_argument("--reason", default="", help="kept with the decision")
        deciding.add_argument("--yes", action="store_true", help="do not ask again")
        add_remote(deciding)


def _add_room(tree: Tree) -> None:
    listing = tree.add(
        "list", "List live rooms.", "vibehq room ls", ("room", "list_"), ["ls"]
    )
    add_remote(listing)

    inspecting = tree.add(
        "inspect",
        "Show one live room: its log, who is in it, how far each was served.",
        "vibehq room inspect ops/main",
        ("room", "inspect"),
    )
    inspecting.add_argument("room", metavar="PARTY/ROOM")
    add_remote(inspecting)
    tailing = tree.add(
        "tail",
        "Print the entries of a room's log: offset, time, type, text.",
        "vibehq room tail ops/main --follow",
        ("room", "tail"),
    )
    tailing.add_argument("room", metavar="PARTY/ROOM")
    first = tailing.add_mutually_exclusive_group()
    first.add_argument(
        "--from", type=int, dest="first", metavar="OFFSET", help="begin at this entry"
    )
    first.add_argument(
        "-n", type=int, dest="count", default=10, metavar="COUNT", help="default 10"
    )
    tailing.add_argument(
        "-f", "--follow", action="store_true", help="go on with what comes, to Ctrl-C"
    )
    add_remote(tailing)


def _add_grant(tree: Tree) -> None:
    creating = tree.add(
        "create",
        "Give a user roles for a time; prints the token this once.",
        "vibehq grant create --user bob --role approver --room 'hil/*' --ttl 8h",
        ("grant", "create"),
    )
    creating.add_argument("name", nargs="?", metavar="NAME", help="the same as --user")
    creating.add_argument(
        "--user", metavar="NAME", help="whom it is for; a worker's id for a worker"
    )
    creating.add_argument("--role", action="append", choices=ROLES, required=True)
    creating.add_argument(
        "--room", action="append", metavar="PATTERN", help="default *"
    )
    creating.add_argument("--ttl", default="1h", help="such as 30m, 8h, 7d")
    add_remote(creating)
    listing = tree.add(
        "list", "List live grants.", "vibehq grant ls", ("grant", "list_"), ["ls"]
    )
    listing.add_argument(
        "--all", action="store_true", help="those revoked and run out, too"
    )
    add_remote(listing)
    revoking = tree.add(
        "revoke",
        "Take a grant back and close its sockets.",
        "vibehq grant revoke g-1a2b3c4d",
        ("grant", "revoke"),
    )
    revoking.add_argument("id")
    add_remote(revoking)
