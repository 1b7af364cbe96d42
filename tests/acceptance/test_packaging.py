"""
The wheel as a user gets it: what is in it, and that it runs where nothing else is.

Nothing here may use an index. Our own wheel is really installed, into a new
environment; third-party packages are lent from the environment that runs the tests,
all of them or the base dependencies alone.
"""

import asyncio
import json
import socket
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import psutil
import pytest
from packaging.requirements import Requirement
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

ROOT = Path(__file__).resolve().parents[2]
OURS = "vibehq-nb"
LAB_ONLY = ("anywidget", "IPython", "ipywidgets", "jupyter_server", "pandas")
EXTENSION = "etc/jupyter/jupyter_server_config.d/vibehq.json"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


class Environment:
    """A new virtual environment with our wheel and lent third-party packages."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        self.vibehq = folder / "bin" / "vibehq"
        self.site = Path(
            sysconfig.get_path("purelib", "venv", {"base": str(folder)}),
        )
        install = ["install", "--no-index", "--no-deps", "--quiet", str(wheel)]
        run([sys.executable, "-m", "pip", f"--python={self.python}", *install])

    def lend_everything(self) -> None:
        """Make every installed package importable, except our own source tree."""
        lent = sysconfig.get_path("purelib")
        # A line with a path adds it without reading its .pth files, and one of those
        # is our editable install.
        (self.site / "lent.pth").write_text(f"{lent}\n")

    def lend_base_dependencies(self) -> None:
        """Make importable what the wheel itself requires, and nothing more."""
        for name in closure(OURS):
            for top in top_level(name):
                (self.site / top.name).symlink_to(top)

    def run(self, *arguments: str, **options: Any) -> str:
        """Run this environment's Python outside the source tree; return its output."""
        return run(
            [str(self.python), *arguments],
            cwd=self.folder,
            env=self.variables(),
            **options,
        )

    def variables(self) -> dict[str, str]:
        """An own home, and a PATH on which there is no npm and no Node."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            "HOME": str(home),
            "PATH": f"{self.folder / 'bin'}:{self.tools()}",
            "LANG": "C.UTF-8",
            "VIBEHQ_DATA": str(home / "vibehq"),
            "JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter"),
        }

    def tools(self) -> Path:
        """A folder with the few programs a shell needs."""
        folder = self.folder / "tools"
        if not folder.exists():
            folder.mkdir()
            for name in ("bash", "sh", "cat", "ls"):
                (folder / name).symlink_to(f"/bin/{name}")
        return folder


def run(command: list[str], **options: Any) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=90, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def closure(name: str, seen: set[str] | None = None) -> set[str]:
    """The distributions that `name` requires without extras, and theirs."""
    seen = set() if seen is None else seen
    for text in distribution(name).requires or ():
        requirement = Requirement(text)
        if requirement.name in seen:
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        seen.add(requirement.name)
        closure(requirement.name, seen)
    return seen


def top_level(name: str) -> set[Path]:
    """The files and folders of a distribution that lie in site-packages."""
    found = distribution(name)
    parts = {file.parts[0] for file in found.files or () if file.parts[0] != ".."}
    return {Path(str(found.locate_file(part))) for part in parts - {"__pycache__"}}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tree as it is, without an index."""
    folder = tmp_path_factory.mktemp("dist")
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    run([sys.executable, *build, str(ROOT)])
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    """What is in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """`pip install vibehq-nb`."""
    environment = Environment(tmp_path_factory.mktemp("base") / "venv", wheel)
    environment.lend_base_dependencies()
    return environment


@pytest.fixture(scope="module")
def lab(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """`pip install vibehq-nb[lab]`."""
    environment = Environment(tmp_path_factory.mktemp("lab") / "venv", wheel)
    environment.lend_everything()
    return environment


@pytest.mark.parametrize(
    "name",
    [
        "vibehq_nb/static/vibehq.js",
        "vibehq_nb/static/labextension/package.json",
        "vibehq_nb/notebooks/quickstart.ipynb",
        "vibehq_nb/notebooks/sanitize.cfg",
        "vibehq_nb/notebooks/tour/write_a_room.ipynb",
        "vibehq_nb/notebooks/troubleshooting/rooms.ipynb",
        "vibehq_nb/py.typed",
        "vibehq_server/extension.py",
        "vibehq_server/py.typed",
    ],
)
def test_the_wheel_has(name: str, names: list[str]) -> None:
    assert name in names


def test_the_wheel_enables_the_extension(wheel: Path, names: list[str]) -> None:
    (name,) = [name for name in names if name.endswith(f"data/{EXTENSION}")]

    with zipfile.ZipFile(wheel) as archive:
        settings = json.loads(archive.read(name))

    assert settings == {"ServerApp": {"jpserver_extensions": {"vibehq_server": True}}}


def test_the_wheel_has_two_top_level_packages_and_no_more(names: list[str]) -> None:
    tops = {name.split("/")[0] for name in names}

    assert {top for top in tops if not top.startswith("vibehq_nb-")} == {
        "vibehq_nb",
        "vibehq_server",
    }


def test_the_wheel_has_no_front_end_sources(names: list[str]) -> None:
    assert [name for name in names if name.startswith("vibehq_nb/js")] == []


def test_the_base_install_runs_where_the_lab_is_absent(base: Environment) -> None:
    absent = "; ".join(f"assert not find_spec({name!r})" for name in LAB_ONLY)

    base.run("-c", f"from importlib.util import find_spec; {absent}")
    base.run("-c", "import vibehq_nb, vibehq_nb.worker, vibehq_nb.ops")

    assert "usage" in run([str(base.vibehq), "--help"]).lower()


def test_the_base_install_serves_rooms(base: Environment) -> None:
    port = free_port()
    command = [str(base.vibehq), "serve", f"--port={port}"]

    with running(command, base):
        assert asyncio.run(status_of(f"http://127.0.0.1:{port}/healthz")) == 200


def test_jupyter_lab_has_the_rooms_without_npm_or_a_command(lab: Environment) -> None:
    port = free_port()
    command = [
        *(str(lab.python), "-c", "from jupyterlab.labapp import main; main()"),
        *(f"--app-dir={sys.prefix}/share/jupyter/lab", "--no-browser", "--allow-root"),
        *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
        *("--IdentityProvider.token=tok", "--ServerApp.base_url=/user/ana/"),
    ]
    rooms = f"http://127.0.0.1:{port}/user/ana/vibehq"

    with running(command, lab):
        assert asyncio.run(status_of(f"{rooms}/healthz")) == 200
        assert asyncio.run(status_of(f"{rooms}/static/vibehq.js")) == 200


def test_the_installed_package_is_the_wheels_not_the_clones(lab: Environment) -> None:
    code = "import vibehq_nb, vibehq_server; print(vibehq_nb.__file__)"

    assert str(lab.site) in lab.run("-c", code)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class running:  # noqa: N801  # reads as a word: with running(command, environment)
    """Run a server for the length of a block; stop it and what it started."""

    def __init__(self, command: list[str], environment: Environment) -> None:
        self._command = command
        self._environment = environment

    def __enter__(self) -> subprocess.Popen[bytes]:
        self._log = (self._environment.folder / "server.log").open("wb")
        self._process = subprocess.Popen(
            self._command,
            cwd=self._environment.folder,
            env=self._environment.variables(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self._process

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        self._end_the_worker()

    def _end_the_worker(self) -> None:
        """The local worker outlives its server on purpose; a test's must not."""
        mine = str(self._environment.folder)
        for process in psutil.process_iter(["cmdline"]):
            if any(mine in word for word in process.info["cmdline"] or ()):
                process.terminate()


async def status_of(url: str, within_seconds: float = 40) -> int:
    """The status of a URL once something answers there."""
    client = AsyncHTTPClient()
    async with asyncio.timeout(within_seconds):
        while True:
            try:
                return (await client.fetch(url)).code
            except HTTPClientError as error:
                return error.code
            except OSError:
                await asyncio.sleep(0.1)
