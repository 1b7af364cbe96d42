"""Real containers for tests: Podman over runc, with an image made of busybox."""

import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

PROGRAMS = ("podman", "runc", "conmon", "busybox")
IMAGE = "busybox:test"
START_SECONDS = 30.0

CONTAINERS_CONF = """
[containers]
netns = "host"
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{folder}/libpod"
"""
POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'


class Podman:
    """A runtime with its own home, storage and socket, all in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "podman.sock"
        self.url = f"unix://{self.socket}"
        conf = CONTAINERS_CONF.format(folder=folder)
        self.env = {
            **os.environ,
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "CONTAINERS_CONF": str(self._write("containers.conf", conf)),
            "CONTAINERS_STORAGE_CONF": str(
                self._write("storage.conf", self._storage())
            ),
        }
        self._write(".config/containers/policy.json", POLICY)
        (folder / "run").mkdir()

    def _storage(self) -> str:
        roots = (
            f'graphroot = "{self.folder}/storage"\nrunroot = "{self.folder}/runroot"'
        )
        return f'[storage]\ndriver = "vfs"\n{roots}\n'

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def command(self, *words: str) -> str:
        """Run ``podman``; returns what it prints."""
        done = subprocess.run(
            ["podman", *words],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start(self, name: str, *command: str) -> str:
        """Start a container that runs *command*, else sleeps on; returns its id."""
        words = command or ("sleep", "1000000")
        return self.command("run", "--detach", "--name", name, IMAGE, *words)

    def remove(self, *names: str) -> None:
        """Take containers away, whatever they do."""
        for name in names:
            with suppress(AssertionError):
                self.command("unpause", name)
        if names:
            self.command("rm", "--force", "--ignore", "--time", "0", *names)

    def processes(self, name: str) -> list[str]:
        """What runs in a container, by command line; no zombie does."""
        seen = self.command("exec", name, "ps", "-o", "args").splitlines()[1:]
        return [line for line in seen if not line.startswith(("ps -o", "["))]


def image(folder: Path) -> Path:
    """Make a root file system of busybox alone, as a tar file."""
    busybox = shutil.which("busybox") or "busybox"
    applets = subprocess.check_output([busybox, "--list"], text=True).split()
    path = folder / "busybox.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(busybox, "bin/busybox")
        for applet in set(applets) - {"busybox"}:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("tmp", "root"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(entry)
    return path


@contextmanager
def running_podman() -> Iterator[Podman]:
    """A runtime that serves its socket; all of it is gone at the end."""
    # A socket's path is short, pytest's folders may not be.
    folder = Path(tempfile.mkdtemp(prefix="podman-"))
    podman = Podman(folder)
    podman.command("import", str(image(folder)), IMAGE)
    service = subprocess.Popen(
        ["podman", "system", "service", "--time", "0", podman.url], env=podman.env
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not podman.socket.is_socket():
            assert service.poll() is None, "the service of Podman has ended"
            assert time.monotonic() < deadline, "the service of Podman does not start"
            time.sleep(0.02)
        yield podman
    finally:
        service.terminate()
        service.wait(START_SECONDS)
        names = podman.command("ps", "--all", "--format", "{{.Names}}").split()
        podman.remove(*names)
        _end_monitors(folder)
        _unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _end_monitors(folder: Path) -> None:
    # They wait for minutes before they clean up after an exec.
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.info["name"] == "conmon" and any(str(folder) in w for w in words):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _unmount(folder: Path) -> None:
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        if (mounted := line.split()[1]).startswith(str(folder)):
            subprocess.run(["umount", mounted], check=False)


def what_is_missing() -> str:
    """Return why there can be no containers here, as a skip says it; empty: nothing."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"needs a package: {absent[0]}"
    return "needs root: containers of its own" if os.geteuid() != 0 else ""


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """Podman's runtime, one for all tests of a run."""
    if missing := what_is_missing():
        pytest.skip(missing)
    with running_podman() as runtime:
        yield runtime
