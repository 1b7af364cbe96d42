"""A container runtime's API, called in threads with a deadline, and its errors."""

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.providers.names import told

T = TypeVar("T")

CALL_SECONDS = 15.0
THREADS = 8
"""So many calls go on at once; others wait for their turn."""

NEEDS_LIBRARY = 'Containers need a library. Run: pip install "vibehq-nb[containers]".'


class Container(NamedTuple):
    """A container that runs: its id, which never changes, and its name."""

    id: str
    name: str


class Kind(NamedTuple):
    """What is special about a runtime: its names, and where its socket may be."""

    name: str
    label: str
    variable: str
    sockets: tuple[str, ...]


DOCKER = Kind(
    "docker", "Docker", "DOCKER_HOST", ("/var/run/docker.sock", "{run}/docker.sock")
)
PODMAN = Kind(
    "podman",
    "Podman",
    "CONTAINER_HOST",
    ("{run}/podman/podman.sock", "/run/podman/podman.sock"),
)


class Runtime:
    """Docker or Podman on this host, as docker-py speaks to them."""

    def __init__(self, kind: Kind, environ: Mapping[str, str] | None = None) -> None:
        """Find the socket as *kind* and *environ* say; nothing is opened yet."""
        self.kind = kind
        self._environ = os.environ if environ is None else environ
        self._api: Any = None
        self._threads = ThreadPoolExecutor(THREADS, kind.name)

    def address(self) -> str | None:
        """Return where the runtime listens; None when no socket is there."""
        named = self._environ.get(self.kind.variable)
        if named:
            path = named.removeprefix("unix://")
            return named if path == named or Path(path).is_socket() else None
        run = self._environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
        paths = [Path(path.format(run=run)) for path in self.kind.sockets]
        return next((f"unix://{path}" for path in paths if path.is_socket()), None)

    def is_usable(self) -> bool:
        """Tell whether the library is installed and a socket is there."""
        return find_spec("docker") is not None and self.address() is not None

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """
        Call a method of docker-py's ``APIClient``.

        Raises:
            DeniedError: ``no-library``, ``no-runtime``, ``not-found`` or ``refused``.
        """

        def work(api: Any) -> Any:
            return getattr(api, method)(*arguments, **options)

        return await self.perform(work)

    async def perform(self, work: Callable[[Any], T]) -> T:
        """
        Do *work*, which gets an ``APIClient``, in a thread.

        Raises:
            DeniedError: As ``call`` does.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._guarded, work)

    def _guarded(self, work: Callable[[Any], T]) -> T:
        try:
            import docker.errors
            import requests.exceptions
        except ImportError:
            raise DeniedError("no-library", NEEDS_LIBRARY) from None
        try:
            return work(self._client())
        except docker.errors.NotFound:
            raise DeniedError(
                "not-found", f"{self._label()} does not know it."
            ) from None
        except docker.errors.APIError as error:
            text = " ".join(str(error.explanation or "it gives no reason").split())
            sentence = f"{self._label()} refuses: {text[:300].rstrip('.')}."
            raise DeniedError("refused", sentence) from None
        except (docker.errors.DockerException, requests.exceptions.RequestException):
            sentence = (
                f"{self._label()} does not answer at its socket. Start it, or set "
                f"{self.kind.variable}."
            )
            raise DeniedError("no-runtime", sentence) from None

    def _label(self) -> str:
        return self.kind.label

    def _client(self) -> Any:
        import docker

        address = self.address()
        if address is None:
            raise DeniedError(
                "no-runtime",
                f"There is no socket of {self.kind.label} here. Start it, or set "
                f"{self.kind.variable}.",
            )
        if not address.startswith(("unix://", "tcp://")):
            sentence = f"{self.kind.variable} has to begin with unix:// or tcp://."
            raise DeniedError("no-runtime", sentence)
        if self._api is None:
            self._api = docker.APIClient(address, version="auto", timeout=CALL_SECONDS)
        return self._api

    async def find(self, name: str, worker: str) -> Container:
        """
        Return the running container that *name*, or the start of its id, names.

        Raises:
            DeniedError: ``no-container`` with the names of those that run, or
                ``not-running`` with what to do.
        """
        try:
            seen = await self.call("inspect_container", name)
        except DeniedError as error:
            if error.code != "not-found":
                raise
            running = told(name, await self._running())
            raise DeniedError(
                "no-container",
                f'No container "{name}" on worker {worker}. Running: {running}.',
            ) from None
        state = seen["State"]
        container = Container(seen["Id"], seen["Name"].lstrip("/"))
        if state.get("Paused"):
            hint = f"paused. Let it go on: {self.kind.name} unpause {container.name}"
        elif not state.get("Running"):
            hint = f"not running. Start it: {self.kind.name} start {container.name}"
        else:
            return container
        raise DeniedError("not-running", f"Container {container.name} is {hint}.")

    async def _running(self) -> list[str]:
        seen = await self.call("containers")
        return [names[0].lstrip("/") for one in seen if (names := one.get("Names"))]

    async def run(self, container: str, command: list[str]) -> str:
        """
        Run *command* in *container* as root, without a terminal; return its output.

        Raises:
            DeniedError: As ``call`` does.
        """

        def work(api: Any) -> bytes:
            made = api.exec_create(container, command, user="0")
            return bytes(api.exec_start(made["Id"]))

        return (await self.perform(work)).decode(errors="replace")

    async def close(self) -> None:
        """Let go of the threads and of idle connections."""
        self._threads.shutdown(wait=False)
        if self._api is not None:
            with suppress(Exception):
                self._api.close()
