"""A real JupyterLab with the rooms inside, in a home of its own, that can be killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nbformat
import psutil

TOKEN = "lab-test-token"
READY_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Lab:
    """What ``vibehq lab`` starts, on one port, killed and started again at will."""

    def __init__(self, root: Path, *options: str) -> None:
        self.root = root
        self.token = TOKEN
        self.port = free_port()
        self.base_path = "/user/ana/"
        self.url = f"http://127.0.0.1:{self.port}{self.base_path}"
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("home", "config", "runtime", "settings"):
            (root / name).mkdir(parents=True, exist_ok=True)
        folder = root / "settings" / "@jupyterlab" / "apputils-extension"
        folder.mkdir(parents=True, exist_ok=True)
        quiet = {"fetchNews": "false", "checkForUpdates": False}
        (folder / "notification.jupyterlab-settings").write_text(json.dumps(quiet))

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("JUPYTER", "VIBEHQ", "XDG", "JPY_"))
        }
        return kept | {
            "HOME": str(self.root / "home"),
            "JUPYTER_CONFIG_DIR": str(self.root / "config"),
            "JUPYTER_RUNTIME_DIR": str(self.root / "runtime"),
            "SHELL": "/bin/bash",
        }

    def start(self) -> None:
        """Start the server and wait until the rooms answer."""
        with (self.root / "lab.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "vibehq_server.cli", "lab"),
                    *(str(self.root), f"--port={self.port}", "--no-browser", "--"),
                    "--ip=127.0.0.1",
                    f"--ServerApp.base_url={self.base_path}",
                    f"--IdentityProvider.token={self.token}",
                    "--LabApp.expose_app_in_browser=True",
                    f"--LabApp.user_settings_dir={self.root / 'settings'}",
                    *self.options,
                ],
                env=self.environment,
                stdout=log,
                stderr=log,
                cwd=self.root,
            )
        self._await_ready()

    def _await_ready(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            try:
                self.get("healthz")
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"not ready in {READY_SECONDS} s\n{self.log()}")

    def get(self, path: str, *, token: bool = False) -> Any:
        """Return the JSON at *path* below the rooms."""
        headers = {"Authorization": f"token {self.token}"} if token else {}
        request = urllib.request.Request(f"{self.url}vibehq/{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)

    def write_notebook(self, name: str, *cells: str) -> None:
        """Put a notebook of code cells beside the tour."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={
                "kernelspec": {
                    "name": "python3",
                    "display_name": "Python 3",
                    "language": "python",
                }
            },
        )
        nbformat.write(notebook, self.root / "vibehq-tour" / name)

    def log(self) -> str:
        return (self.root / "lab.log").read_text(errors="replace")[-4000:]

    def kill(self) -> None:
        """Kill the server at once; what it started lives on as it would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def worker_pid(self) -> int | None:
        """Return the worker that runs out of this home, if there is one."""
        for process in psutil.process_iter(["cmdline", "environ"]):
            command = process.info["cmdline"] or []
            home = (process.info["environ"] or {}).get("HOME")
            if "vibehq_nb.worker" in command and home == str(self.root / "home"):
                return int(process.pid)
        return None

    def stop(self) -> None:
        """Stop the server and its worker."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
        worker = self.worker_pid()
        if worker is not None:
            process = psutil.Process(worker)
            process.terminate()
            psutil.wait_procs([process], timeout=10)
