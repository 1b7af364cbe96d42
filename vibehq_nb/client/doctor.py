"""``vibehq doctor``: what is in order here, and for what is not, the fix."""

import asyncio
import json as json_module
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import util
from pathlib import Path

from vibehq_nb import __version__
from vibehq_nb.client.discovery import find_server, install_command
from vibehq_nb.client.errors import ApiError, NoServerError, RefusedError
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.client.room_link import RoomLink
from vibehq_nb.core.errors import UsageError, VibeError
from vibehq_nb.core.messages import PROTOCOL

LEAST_PYTHON = (3, 11)
LEAST_TORNADO = (6, 6, 1)
MOST_SKEW_SECONDS = 5.0
SOCKET_SECONDS = 10.0
SHELLS = ("bash", "zsh", "fish", "sh")


@dataclass(frozen=True, slots=True)
class Check:
    """
    One thing that was looked at.

    Attributes:
        name: What.
        ok: Whether it is in order.
        text: What was found, or what to do.
    """

    name: str
    ok: bool
    text: str

    def __str__(self) -> str:
        """Return the line that is printed."""
        return f"{'ok' if self.ok else 'FIX'}: {self.name}: {self.text}"


def run(
    json: bool = False,
    write: Callable[[str], object] | None = None,
    find: Callable[[], Server] = find_server,
    data: Path | None = None,
) -> int:
    """
    Look at everything, say one line each, and return 0 if all is in order, else 1.

    Args:
        json: Write one JSON list instead of lines.
        write: Takes each line; standard output if not given.
        find: How the server is found.
        data: The data folder in use; the default one if not given.
    """
    say = write or (lambda line: sys.stdout.write(f"{line}\n"))
    checks = []
    for check in examine(find, data):
        checks.append(check)
        if not json:
            say(str(check))
    if json:
        say(json_module.dumps([asdict(check) for check in checks], indent=2))
    return 0 if all(check.ok for check in checks) else 1


def examine(
    find: Callable[[], Server] = find_server, data: Path | None = None
) -> Iterator[Check]:
    """Yield every check as it is made."""
    yield Check("vibehq-nb", True, __version__)
    yield check_python()
    yield check_tornado()
    yield check_extension()
    yield check_bundle()
    yield check_shell()
    yield check_data_folder(data)
    yield from check_server(find)


def check_python() -> Check:
    """Python is new enough."""
    have, least = _dotted(sys.version_info[:3]), _dotted(LEAST_PYTHON)
    fine = sys.version_info[:2] >= LEAST_PYTHON
    return Check("python", fine, have if fine else f"{have} is too old, use {least}")


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in numbers)


def check_tornado() -> Check:
    """Tornado is new enough."""
    import tornado

    have, least = tornado.version, _dotted(LEAST_TORNADO)
    if tornado.version_info[:3] >= LEAST_TORNADO:
        return Check("tornado", True, have)
    fix = f"{have} is too old: pip install 'tornado>={least}'"
    return Check("tornado", False, fix)


def check_extension() -> Check:
    """The Jupyter extension is enabled, where there is a Jupyter."""
    name = "jupyter extension"
    if util.find_spec("jupyter_server") is None:
        text = "no Jupyter in this environment (fine for a server or a worker)"
        return Check(name, True, text)
    from jupyter_core.paths import jupyter_config_path

    for folder in jupyter_config_path():
        for path in sorted(Path(folder, "jupyter_server_config.d").glob("*.json")):
            if _enables(path):
                return Check(name, True, "enabled")
    return Check(name, False, "jupyter server extension enable vibehq_server")


def _enables(path: Path) -> bool:
    try:
        found = json_module.loads(path.read_text(encoding="utf-8"))
        extensions = found["ServerApp"]["jpserver_extensions"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return any(
        value is True and name.startswith("vibehq_server")
        for name, value in extensions.items()
    )


def check_bundle() -> Check:
    """The front end was built."""
    bundle = Path(__file__).parent.parent / "static" / "vibehq.js"
    if bundle.is_file():
        return Check("front end", True, f"{bundle.stat().st_size // 1024} kB")
    fix = f"not built: make build in a clone, else {install_command()}"
    return Check("front end", False, fix)


def check_shell() -> Check:
    """A terminal has a shell to run."""
    if os.name != "posix":
        text = "no terminals here: open the server in a browser, or use WSL"
        return Check("shell", False, text)
    chosen = os.environ.get("SHELL", "")
    if chosen and not os.access(chosen, os.X_OK):
        text = f"{chosen} is no program: set SHELL to one that is"
        return Check("shell", False, text)
    used = terminal_shell()
    why = f"; SHELL is {chosen}, which is none of {', '.join(SHELLS)}"
    return Check("shell", True, used if used == chosen or not chosen else used + why)


def terminal_shell() -> str:
    """Return the shell that a worker started here opens, by the worker's own rule."""
    shell = os.environ.get("SHELL", "")
    if Path(shell).name in SHELLS and os.access(shell, os.X_OK):
        return shell
    return "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"


def check_data_folder(data: Path | None = None) -> Check:
    """What the server keeps can be written."""
    chosen = os.environ.get("VIBEHQ_DATA")
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    folder = data or (Path(chosen) if chosen else Path(base) / "vibehq")
    there = folder
    while not there.exists():
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        fix = f"{there} cannot be written ({error.strerror}): set VIBEHQ_DATA"
        return Check("data folder", False, fix)
    return Check("data folder", True, str(folder))


def check_server(find: Callable[[], Server] = find_server) -> Iterator[Check]:
    """A server answers, speaks our protocol, has our time, a worker and sockets."""
    try:
        server = find()
    except NoServerError:
        text = "none found: start jupyter lab, or vibehq serve, or set VIBEHQ_URL"
        yield Check("server", False, text)
        return
    except VibeError as error:
        yield Check("server", False, str(error))
        return
    api = HttpApi(server)
    try:
        me, headers = api.exchange("GET", "/api/me")
    except ApiError as error:
        sign_in = f" vibehq login {server.url}, or set VIBEHQ_TOKEN"
        yield Check("server", False, f"{error}{sign_in if error.status == 401 else ''}")
        return
    if not isinstance(me, dict) or "protocol" not in me:
        yield Check("server", False, f"{server.url} is no VibeHQ server")
        return
    text = f"{server.url} ({me.get('version', '?')}) as {me.get('user')}"
    yield Check("server", True, text)
    yield _check_protocol(int(me["protocol"]))
    yield _check_clock(headers.get("date", ""))
    yield _check_worker(api)
    yield asyncio.run(check_socket(server))


def _check_worker(api: HttpApi) -> Check:
    try:
        workers = api.request("GET", "/api/workers")["workers"]
    except ApiError as error:
        return Check("worker", False, str(error))
    online = [str(worker["id"]) for worker in workers if worker["online"]]
    if online:
        return Check("worker", True, f"{', '.join(online)} online")
    fix = f"none online: vibehq worker --url {api.server.url}"
    return Check("worker", False, fix)


def _check_protocol(theirs: int) -> Check:
    if theirs in (PROTOCOL, PROTOCOL + 1):
        return Check("protocol", True, str(theirs))
    older = "here" if theirs > PROTOCOL else "on the server"
    text = f"the server speaks {theirs}, we {PROTOCOL}: upgrade vibehq-nb {older}"
    return Check("protocol", False, text)


def _check_clock(date: str) -> Check:
    try:
        theirs = parsedate_to_datetime(date)
    except ValueError:
        return Check("clock", True, "the server tells no time")
    # The header counts whole seconds.
    skew = (datetime.now(UTC) - theirs).total_seconds()
    if -MOST_SKEW_SECONDS <= skew <= MOST_SKEW_SECONDS + 1:
        return Check("clock", True, f"within {MOST_SKEW_SECONDS:.0f} s of the server")
    ahead = "ahead of" if skew > 0 else "behind"
    text = f"{abs(skew):.0f} s {ahead} the server: switch on time synchronisation"
    return Check("clock", False, text)


class _Probe:
    """Waits for the first frame of a room."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def opened(self, away_seconds: float) -> None:
        """Wait on: only a frame proves the way back."""

    def received(self, frame: str | bytes) -> None:
        if not self.answer.done():
            self.answer.set_result("")

    def lost(self) -> None:
        """Wait on: it tries again."""

    def refused(self, error: RefusedError) -> None:
        if not self.answer.done():
            self.answer.set_result(str(error))


async def check_socket(server: Server) -> Check:
    """A WebSocket opens and speaks."""
    probe = _Probe()
    try:
        async with (
            RoomLink(server, "lobby", "main", probe, min_delay=0.5),
            asyncio.timeout(SOCKET_SECONDS),
        ):
            refusal = await probe.answer
    except (TimeoutError, UsageError):
        text = "no WebSocket opens: a proxy in between must pass Upgrade headers"
        return Check("socket", False, text)
    return Check("socket", not refusal, refusal or "open")
