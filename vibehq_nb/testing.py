"""
For tests of runbooks: a throw-away server with a worker, and people who answer.

    with ThrowAwayServer() as server:
        server.answer_with(["bob:restart *"])
        hq = vibehq_nb.connect()      # with server.environment() in os.environ

Everything is real: a server process, a worker process, shells, sockets. Nothing
outlives the block, even where this process is killed. ``python -m vibehq_nb.testing
approve`` is the answering person.
"""

import argparse
import asyncio
import contextlib
import getpass
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from vibehq_nb.client.discovery import find_server
from vibehq_nb.client.errors import ApiError, RefusedError
from vibehq_nb.client.event_room import EventRoom
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.core.errors import UsageError, VibeError
from vibehq_nb.core.messages import HilRequest, Message, StateSnapshot
from vibehq_nb.testing_guard import close_terminals
from vibehq_nb.testing_rules import Rule, action_text, decode_rule

__all__ = ["Rule", "ThrowAwayServer", "action_text", "approve", "decode_rule"]

START_SECONDS = 30.0
STOP_SECONDS = 5.0
GRANT_SECONDS = 6 * 3600
PROMPT = "PS1='$ '\n"
"""What shells show: a prompt with a host's name would differ from run to run."""
EXAMPLE_USER = "bob"
STAND_IN = "pytest"
"""Who rejects every request where no rule names a person."""


class ThrowAwayServer:
    """
    A standalone server and one worker, in a folder of their own, for one block.

    Attributes:
        url: The server's base address.
        user: Whom the token is for.
        token: A grant of this user: viewer and operator.
    """

    def __init__(self, worker_id: str = "demo", user: str = "") -> None:
        """Prepare; nothing runs before the block. *user*: else this process's."""
        self.user = user or getpass.getuser()
        self.url = self.token = ""
        self._worker_id = worker_id
        self._folder = Path()
        self._admin = HttpApi(Server("http://127.0.0.1:0"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start both and wait until the worker is there."""
        self._folder = Path(tempfile.mkdtemp(prefix="vibehq-test-"))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        """Stop both and remove everything."""
        self.stop()

    def _start(self) -> None:
        home, data = self._folder / "home", self._folder / "data"
        for folder in (home, data):
            folder.mkdir(mode=0o700)
        (home / ".bashrc").write_text(PROMPT)
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "vibehq_nb.testing_guard", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        serve = ["vibehq_server.cli", "serve", "--port", "0", "--data", str(data)]
        server = self._spawn("server", serve, self._environment())
        endpoint = data / "endpoint.json"
        self._wait("the server", server, endpoint.is_file)
        found = json.loads(endpoint.read_text())
        self.url = found["url"]
        self._admin = HttpApi(Server(self.url, found["admin_key"]))
        worker = ["vibehq_nb.worker", "--data", str(data), "--id", self._worker_id]
        held = self._spawn("worker", worker, self._environment())
        self._wait("the worker", held, self._has_worker)
        self.token = self.grant(self.user, ["viewer", "operator"])

    def _environment(self) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("VIBEHQ_", "JPY_", "XDG_"))
        }
        home = str(self._folder / "home")
        return {**kept, "HOME": home, "SHELL": "/bin/bash", "LANG": "C.UTF-8"}

    def _spawn(
        self, name: str, module: Sequence[str], env: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                env=env,
                cwd=self._folder / "home",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.write(b"%d\n" % process.pid)
                self._guard.stdin.flush()
        return process

    def _wait(
        self,
        what: str,
        process: "subprocess.Popen[bytes]",
        is_ready: Callable[[], bool],
    ) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise VibeError(f"{what} did not start:\n{self.logs()}")
            time.sleep(0.05)

    def _has_worker(self) -> bool:
        try:
            workers = self._admin.request("GET", "/api/workers")["workers"]
        except ApiError:
            return False
        return any(worker["online"] for worker in workers)

    def logs(self) -> str:
        """Return the last lines of what the processes logged."""
        texts = []
        for path in sorted(self._folder.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()
            # A one-time sign-in link is nobody's business.
            kept = [line for line in lines if "/login#" not in line]
            texts.append("\n".join([f"[{path.name}]", *kept[-20:]]))
        return "\n".join(texts)

    def grant(self, user: str, roles: Sequence[str]) -> str:
        """Return a new token for *user* with *roles* in every room."""
        body = {
            "user": user,
            "roles": list(roles),
            "rooms": ["*"],
            "ttl_seconds": GRANT_SECONDS,
        }
        return str(self._admin.request("POST", "/api/grants", body)["token"])

    def environment(self) -> dict[str, str]:
        """Return what a process needs to find and use this server."""
        found = {"VIBEHQ_URL": self.url, "VIBEHQ_TOKEN": self.token}
        return found | {"VIBEHQ_DATA": str(self._folder / "data")}

    def answer_with(self, rules: Iterable[str]) -> None:
        """
        Start one process per person in *rules*, who answers all requests from now on.

        What no rule matches is rejected, with a reason that names the missing rule:
        without rules, every request.

        Raises:
            UsageError: If a rule is none.
        """
        decoded = [decode_rule(text) for text in rules]
        for user in dict.fromkeys(rule.user for rule in decoded) or [STAND_IN]:
            token = self.grant(user, ["viewer", "approver"])
            env = {**os.environ, "VIBEHQ_URL": self.url, "VIBEHQ_TOKEN": token}
            command = ["vibehq_nb.testing", "approve", "--user", user]
            arguments = [f"--rule={rule}" for rule in decoded]
            self._spawn(f"approver-{user}", [*command, *arguments], env)

    def stop(self) -> None:
        """End everything that was started, and remove its folder. Safe to repeat."""
        processes, self._processes = self._processes, []
        if processes:
            close_terminals(self._admin)
        for process in reversed(processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in processes:
            _end(process)
        if self._folder != Path():
            shutil.rmtree(self._folder, ignore_errors=True)
        held, self._guard = self._guard, None
        if held is not None and held.stdin is not None:
            held.stdin.close()
            _end(held)


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


async def approve(server: Server, user: str, rules: Sequence[Rule]) -> None:
    """
    Answer every request as *user*, until the server refuses.

    A request that only another person's rule matches is left to that person; one
    that no rule matches is rejected by the first person of the rules; all are, where
    there are no rules.
    """
    api = HttpApi(server)
    done: set[str] = set()
    async with EventRoom(server, "hil") as room:
        async for message in room:
            if not _may_bring_work(message):
                continue
            found = await asyncio.to_thread(
                api.request, "GET", "/api/hil/requests?status=pending&limit=200"
            )
            for request in found["requests"]:
                if request["approval_id"] not in done:
                    done.add(request["approval_id"])
                    await asyncio.to_thread(_answer, api, user, rules, request)


def _may_bring_work(message: Message) -> bool:
    return isinstance(message, StateSnapshot | HilRequest)


def _answer(
    api: HttpApi, user: str, rules: Sequence[Rule], request: Mapping[str, Any]
) -> None:
    matching = [rule for rule in rules if rule.matches(request["action"])]
    body = {
        "version": request["version"],
        "action_digest": request["action_digest"],
        "key": str(uuid.uuid4()),
    }
    mine = next((rule for rule in matching if rule.user == user), None)
    if mine is not None:
        body |= {"verdict": "approve", "reason": f"by the rule '{mine}'"}
    elif not matching and (not rules or rules[0].user == user):
        text = action_text(request["action"])
        person = user if rules else EXAMPLE_USER
        reason = f"no rule approves {text!r}: add --vibehq-approve '{person}:{text}'"
        body |= {"verdict": "reject", "reason": reason[:2000]}
    else:
        return
    path = f"/api/hil/requests/{request['approval_id']}/response"
    try:
        api.request("POST", path, body)
    except ApiError as error:
        if error.status not in (403, 409, 410, 412):
            raise
        sys.stderr.write(f"{request['approval_id']}: {error}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer requests on the server of ``VIBEHQ_URL`` until ended."""
    parser = argparse.ArgumentParser(prog="python -m vibehq_nb.testing")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("approve", help="answer every request by rules")
    command.add_argument("--user", help="answer as this person; the first rule's")
    command.add_argument("--rule", action="append", default=[], metavar="USER:GLOB")
    options = parser.parse_args(arguments)
    try:
        rules = [decode_rule(text) for text in options.rule]
        user = options.user or (rules[0].user if rules else STAND_IN)
        asyncio.run(approve(find_server(), user, rules))
    except (UsageError, RefusedError, ApiError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
