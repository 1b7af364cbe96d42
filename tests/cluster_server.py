"""The part of Kubernetes' API that a terminal needs: pods as JSON, an exec as frames.

What is started runs on this host: every pod here is this host.
"""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from vibehq_nb.worker.providers.port import Exit
from vibehq_nb.worker.pty import Pty

TOKEN = "a-token-of-the-cluster"

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
clusters: [{{name: test, cluster: {{server: "{url}"}}}}]
users: [{{name: test, user: {{token: {token}}}}}]
"""


class ClusterServer:
    """Pods by namespace, each with the phase it is in and its containers."""

    def __init__(self) -> None:
        self.pods = {
            "web-1": ("Running", ["nginx", "sidecar"]),
            "db": ("Running", ["postgres"]),
            "job": ("Pending", ["job"]),
        }
        self.token = TOKEN
        self.sizes: list[dict[str, int]] = []
        self.asked: list[dict[str, list[str]]] = []
        self.hangs_up = True  # at the end of a connection; a kubelet does not
        self.sessions: list[int] = []
        self.server: Server

    @property
    def url(self) -> str:
        port = self.server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    async def answer(
        self, _connection: ServerConnection, request: Request
    ) -> Response | None:
        """Answer what is no exec."""
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _json(401, {"kind": "Status", "code": 401})
        if urlsplit(request.path).path.endswith("/exec"):
            return None
        items = [_pod(name, *about) for name, about in self.pods.items()]
        if "/namespaces/prod/" not in request.path:
            items = []
        return _json(200, {"kind": "PodList", "apiVersion": "v1", "items": items})

    async def exec(self, connection: ServerConnection) -> None:
        """Run what the query names."""
        assert connection.request is not None
        query = parse_qs(
            urlsplit(connection.request.path).query, keep_blank_values=True
        )
        self.asked.append(query)
        command = query["command"]
        if shutil.which(command[0]) is None:
            status: Any = {"status": "Failure", "reason": "InternalError"}
        elif "tty" in query:
            status = _status(await self._run_pty(connection, command))
        else:
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(*command, stdout=pipe)
            output, _ = await process.communicate()
            await connection.send(b"\x01" + output)
            status = _status(Exit(process.returncode, None))
        await connection.send(b"\x03" + json.dumps(status).encode())

    async def _run_pty(self, connection: ServerConnection, command: list[str]) -> Exit:
        pty = Pty(command, os.environ, "/", 80, 24, is_shell=False)
        self.sessions.append(pty.pid)
        output: asyncio.Queue[bytes | Exit] = asyncio.Queue()
        pty.start(output.put_nowait, output.put_nowait)
        reading = asyncio.create_task(self._read(connection, pty))
        gone = asyncio.create_task(connection.wait_closed())
        gone.add_done_callback(lambda _: output.put_nowait(Exit(None, "HUP")))
        try:
            while isinstance(fresh := await output.get(), bytes):
                pty.pause()
                await connection.send(b"\x01" + fresh)
                pty.resume()
            return fresh
        finally:
            gone.cancel()
            reading.cancel()
            if self.hangs_up:
                await pty.close()

    async def _read(self, connection: ServerConnection, pty: Pty) -> None:
        async for frame in connection:
            assert isinstance(frame, bytes)
            if frame[0] == 4:
                size = json.loads(frame[1:])
                self.sizes.append(size)
                pty.resize(size["Width"], size["Height"])
            else:
                while not pty.write(frame[1:]):
                    await asyncio.sleep(0.01)


def _status(ended: Exit) -> dict[str, Any]:
    if ended.code == 0:
        return {"status": "Success"}
    code = ended.code if ended.code is not None else 137
    cause = {"reason": "ExitCode", "message": str(code)}
    reason = "NonZeroExitCode"
    return {"status": "Failure", "reason": reason, "details": {"causes": [cause]}}


def _pod(name: str, phase: str, containers: list[str]) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "prod"},
        "spec": {"containers": [{"name": one} for one in containers]},
        "status": {"phase": phase},
    }


def _json(status: int, content: Any) -> Response:
    body = json.dumps(content).encode()
    headers = Headers({"Content-Type": "application/json", "Connection": "close"})
    headers["Content-Length"] = str(len(body))
    return Response(status, "OK", headers, body)


@asynccontextmanager
async def running_cluster(folder: Path) -> AsyncIterator[ClusterServer]:
    """A cluster, and ``kubeconfig`` in *folder* that leads to it."""
    cluster = ClusterServer()
    cluster.server = await serve(
        cluster.exec,
        "127.0.0.1",
        0,
        process_request=cluster.answer,
        subprotocols=["v4.channel.k8s.io"],  # type: ignore[list-item]
        compression=None,
    )
    text = KUBECONFIG.format(url=cluster.url, token=TOKEN)
    (folder / "kubeconfig").write_text(text)
    yield cluster
    cluster.server.close()
    await cluster.server.wait_closed()
