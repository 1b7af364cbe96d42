"""The API of a Kubernetes cluster: its settings, its pods, a socket for an exec."""

import asyncio
import os
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus

from vibehq_nb.core.errors import DeniedError
from vibehq_nb.worker.providers.names import told
from vibehq_nb.worker.providers.runtime import NEEDS_LIBRARY

T = TypeVar("T")

CALL_SECONDS = 10.0
THREADS = 4
FRAME_BYTES = 1024 * 1024
QUEUED_FRAMES = 4
"""So many frames wait to be read; with more the cluster waits."""
PROTOCOL = "v4.channel.k8s.io"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


class Pod(NamedTuple):
    """A container of a running pod."""

    namespace: str
    name: str
    container: str


class Cluster:
    """The cluster of the user's current context, or the one this worker runs in."""

    def __init__(self) -> None:
        """Ask nobody yet."""
        self._threads = ThreadPoolExecutor(THREADS, "k8s")

    def is_usable(self) -> bool:
        """Tell whether the library is installed and settings are there."""
        has_settings = _settings().exists() or "KUBERNETES_SERVICE_HOST" in os.environ
        return has_settings and find_spec("kubernetes") is not None

    async def find(self, wanted: Pod, worker: str) -> Pod:
        """
        Return *wanted* with its container, if it runs.

        Raises:
            DeniedError: ``no-pod``, ``no-container`` or ``not-running`` with what is
                there instead; or why the cluster cannot be asked.
        """
        return await self._perform(lambda api: _find(api, wanted, worker))

    async def exec(self, pod: Pod, command: list[str], tty: bool) -> ClientConnection:
        """
        Start *command* in *pod* and return the socket to it.

        Raises:
            DeniedError: ``refused`` or ``no-cluster``.
        """
        settings = await self._perform(lambda api: api.api_client.configuration)
        words = [("command", word) for word in command]
        words += [("container", pod.container), ("stdout", "true")]
        words += [("stdin", "true"), ("tty", "true")] if tty else [("stderr", "true")]
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/exec"
        url = f"{settings.host}{path}?{urlencode(words)}"
        secure = url.startswith("https:")
        try:
            return await connect(
                url.replace("http", "ws", 1),
                subprotocols=[PROTOCOL],  # type: ignore[list-item]
                additional_headers=_headers(settings),
                ssl=_context(settings) if secure else None,
                server_hostname=settings.tls_server_name if secure else None,
                open_timeout=CALL_SECONDS,
                ping_timeout=None,  # while we do not read, no pong is seen either
                compression=None,
                max_size=FRAME_BYTES,
                max_queue=QUEUED_FRAMES,
            )
        except InvalidStatus as error:
            raise _refused(error.response.status_code) from None
        except (OSError, TimeoutError, InvalidHandshake):
            raise _away() from None

    async def _perform(self, work: Callable[[Any], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _guarded, work)

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False)


def _settings() -> Path:
    """Return the file that ``kubectl`` would read."""
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(named or "~/.kube/config").expanduser()


def _guarded(work: Callable[[Any], T]) -> T:
    try:
        import urllib3.exceptions
        from kubernetes import client
        from kubernetes.config import ConfigException
    except ImportError:
        raise DeniedError("no-library", NEEDS_LIBRARY) from None
    try:
        with client.ApiClient(_configuration()) as api:
            try:
                return work(client.CoreV1Api(api))
            finally:
                api.rest_client.pool_manager.clear()
    except (ConfigException, FileNotFoundError):
        sentence = "There is no usable ~/.kube/config here. Set KUBECONFIG."
        raise DeniedError("no-cluster", sentence) from None
    except client.ApiException as error:
        raise _refused(error.status) from None
    except (urllib3.exceptions.HTTPError, OSError):
        raise _away() from None


def _configuration() -> Any:
    from kubernetes import client, config

    load: Any = config  # untyped
    configuration = client.Configuration()
    if _settings().exists() or "KUBERNETES_SERVICE_HOST" not in os.environ:
        path = os.environ.get("KUBECONFIG") or str(_settings())
        load.load_kube_config(path, client_configuration=configuration)
    else:
        load.load_incluster_config(client_configuration=configuration)
    configuration.retries = 0
    return configuration


def _find(api: Any, wanted: Pod, worker: str) -> Pod:
    limits = {"_request_timeout": CALL_SECONDS}
    pods = api.list_namespaced_pod(wanted.namespace, **limits).items
    pod = next((one for one in pods if one.metadata.name == wanted.name), None)
    if pod is None:
        running = [one.metadata.name for one in pods if one.status.phase == "Running"]
        raise DeniedError(
            "no-pod",
            f'No pod "{wanted.name}" in namespace {wanted.namespace} for worker '
            f"{worker}. Running: {told(wanted.name, running)}.",
        )
    if pod.status.phase != "Running":
        phase = str(pod.status.phase).lower()
        raise DeniedError("not-running", f"Pod {wanted.name} is {phase}, not running.")
    names = [one.name for one in pod.spec.containers]
    usual = (pod.metadata.annotations or {}).get(DEFAULT_CONTAINER, names[0])
    container = wanted.container or usual
    if container not in names:
        raise DeniedError(
            "no-container",
            f'No container "{container}" in pod {wanted.name}. '
            f"There: {told(container, names)}.",
        )
    return wanted._replace(container=container)


def _headers(settings: Any) -> dict[str, str]:
    return {
        str(one["key"]): str(one["value"])
        for one in settings.auth_settings().values()
        if one["in"] == "header" and one["value"]
    }


def _context(settings: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    if not settings.verify_ssl:  # the user's settings say so in as many words
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return context


def _refused(status: int | None) -> DeniedError:
    if status == 401:
        sentence = "The cluster does not know our login. Log in to it again."
    elif status == 403:
        sentence = "The cluster does not let us do that: ask for the right pods/exec."
    else:
        sentence = f"The cluster refuses (status {status})."
    return DeniedError("refused", sentence)


def _away() -> DeniedError:
    return DeniedError("no-cluster", "The cluster does not answer.")
