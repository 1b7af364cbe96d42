"""A real sshd for tests, on a port of its own, with a home for its client."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_SECONDS = 20.0
SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

SSHD_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PrintMotd no
SetEnv HOME={folder}/home
"""

CLIENT_CONFIG = """
Host web-1 db
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/user_key

Host stranger
  HostName 127.0.0.1
  Port {port}
  IdentityFile {folder}/stranger_key

Host behind
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/user_key
  ProxyJump web-1

Host careless
  HostName 127.0.0.1
  Port {port}
  IdentityFile {folder}/user_key
  StrictHostKeyChecking no
  UserKnownHostsFile none

Host closed
  HostName 127.0.0.1
  Port 1
"""


class Sshd:
    """A server and, in ``home``, the settings of a client that may log in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        (self.home / ".ssh").mkdir(parents=True)
        for name in ("host_key", "user_key", "stranger_key", "other_key"):
            _make_key(folder / name)
        words = {"folder": folder, "port": self.port, "user": getpass.getuser()}
        self.config = folder / "sshd_config"
        self.config.write_text(SSHD_CONFIG.format(**words))
        public = (folder / "user_key.pub").read_text()
        (folder / "authorized_keys").write_text(public)
        (self.home / ".ssh" / "config").write_text(CLIENT_CONFIG.format(**words))
        self.know("host_key")

    def know(self, key: str | None) -> None:
        """Make *key* the one that the client knows of the server; None is none."""
        text = ""
        if key is not None:
            kind, public, *_ = (self.folder / f"{key}.pub").read_text().split()
            text = f"[127.0.0.1]:{self.port} {kind} {public}\n"
        (self.home / ".ssh" / "known_hosts").write_text(text)

    def is_listening(self) -> bool:
        """Tell whether the server answers."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _make_key(path: Path) -> None:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(words, check=True)


@contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    """A server that is gone at the end, with all that it has started."""
    server = Sshd(folder)
    program = shutil.which("sshd", path=SYSTEM_PATH)
    assert program is not None
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself in
    with (folder / "sshd.log").open("w") as log:
        process = subprocess.Popen(
            [program, "-D", "-e", "-f", str(server.config)], stderr=log
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not server.is_listening():
            told = (folder / "sshd.log").read_text()
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.02)
        yield server
    finally:
        process.terminate()
        process.wait(START_SECONDS)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server, one for all tests of a run."""
    if shutil.which("sshd", path=SYSTEM_PATH) is None:
        pytest.skip("needs a package: openssh-server")
    if shutil.which("ssh-keygen") is None:
        pytest.skip("needs a package: openssh-client")
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server
