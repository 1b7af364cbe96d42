"""
For tests of runbooks: a throw-away server with a worker, and people who answer.

    with ThrowAwayServer() as server:
        server.answer_with(["bob:restart *"])
        hq = vibehq_nb.connect()      # with server.environment() in os.environ

Everything is real: a server process, a worker process, shells, sockets. Nothing
outlives the block. ``python -m vibehq_nb.testing approve`` is the answering person.
"""

import argparse
import asyncio
import contextlib
import fnmatch
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from vibehq_nb.client.discovery import find_server
from vibehq_nb.client.errors import ApiError, RefusedError
from vibehq_nb.client.event_room import EventRoom
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.core.codec import encode_canonical
from vibehq_nb.core.errors import UsageError, VibeError
from vibehq_nb.core.messages import HilRequest, Message, StateSnapshot

START_SECONDS = 30.0
STOP_SECONDS = 5.0
GRANT_SECONDS = 6 * 3600
PROMPT = "PS1='$ '\n"
"""What shells show: a prompt with a host's name would differ from run to run."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One person who approves what matches one pattern, as in ``bob:restart *``."""

    user: str
    pattern: str

    def __str__(self) -> str:
        """Return the rule as it is written."""
        return f"{self.user}:{self.pattern}"

    def matches(self, action: Mapping[str, Any]) -> bool:
        """Tell whether *action* is one this rule approves."""
        return fnmatch.fnmatchcase(action_text(action), self.pattern)


def decode_rule(text: str) -> Rule:
    """
    Return the rule in *text*.

    Raises:
        UsageError: If it is not ``user:pattern``.
    """
    user, colon, pattern = text.partition(":")
    if not (user.strip() and colon and pattern.strip()):
        raise UsageError(f"{text!r} is no rule. It looks like 'bob:restart *'.")
    return Rule(user.strip(), pattern.strip())


def action_text(action: Mapping[str, Any]) -> str:
    """Return what rules are matched against: the command, else the name, else JSON."""
    for key in ("command", "name"):
        if isinstance(action.get(key), str):
            return str(action[key])
    return encode_canonical(dict(action)).decode()


class ThrowAwayServer:
    """
    A standalone server and one worker, in a folder of their own, for one block.

    Attributes:
        url: The server's base address.
        token: A grant of this process's user: viewer and operator.
    """

    def __init__(self, worker_id: str = "demo") -> None:
        """Prepare; nothing runs before the block begins."""
        self.url = self.token = ""
        self._worker_id = worker_id
        self._folder = Path()
        self._admin = HttpApi(Server("http://127.0.0.1:0"))
        self._processes: list[subprocess.Popen[bytes]] = []

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
        serve = [sys.executable, "-m", "vibehq_server.cli", "serve", "--port", "0"]
        server = self._spawn("server", [*serve, "--data", str(data)])
        endpoint = data / "endpoint.json"
        self._wait("the server", server, endpoint.is_file)
        found = json.loads(endpoint.read_text())
        self.url = found["url"]
        self._admin = HttpApi(Server(self.url, found["admin_key"]))
        worker = [sys.executable, "-m", "vibehq_nb.worker", "--data", str(data)]
        held = self._spawn("worker", [*worker, "--id", self._worker_id])
        self._wait("the worker", held, self._has_worker)
        self.token = self.grant(getpass.getuser(), ["viewer", "operator"])

    def _spawn(self, name: str, command: list[str]) -> "subprocess.Popen[bytes]":
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("VIBEHQ_", "JPY_", "XDG_"))
        }
        home = self._folder / "home"
        env = {**kept, "HOME": str(home), "SHELL": "/bin/bash", "LANG": "C.UTF-8"}
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                env=env,
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
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
        return {"VIBEHQ_URL": self.url, "VIBEHQ_TOKEN": self.token}

    def answer_with(self, rules: Iterable[str]) -> None:
        """
        Start one process per person in *rules*, who answers all requests from now on.

        What no rule matches is rejected, with a reason that names the missing rule.

        Raises:
            UsageError: If a rule is none.
        """
        decoded = [decode_rule(text) for text in rules]
        for user in dict.fromkeys(rule.user for rule in decoded):
            token = self.grant(user, ["viewer", "approver"])
            command = [sys.executable, "-m", "vibehq_nb.testing", "approve"]
            arguments = [f"--rule={rule}" for rule in decoded]
            env = {**os.environ, "VIBEHQ_URL": self.url, "VIBEHQ_TOKEN": token}
            with (self._folder / f"approver-{user}.log").open("wb") as log:
                process = subprocess.Popen(
                    [*command, "--user", user, *arguments],
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._processes.append(process)

    def stop(self) -> None:
        """End everything that was started, and remove its folder. Safe to repeat."""
        self._close_terminals()
        processes, self._processes = self._processes, []
        for process in reversed(processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder != Path():
            shutil.rmtree(self._folder, ignore_errors=True)

    def _close_terminals(self) -> None:
        # A worker lets a running job live on: here nothing may.
        if not self._processes:
            return
        with contextlib.suppress(ApiError):
            for terminal in self._admin.request("GET", "/api/terminals")["terminals"]:
                self._admin.request("DELETE", f"/api/terminals/{terminal['id']}")


async def approve(server: Server, user: str, rules: Sequence[Rule]) -> None:
    """
    Answer every request as *user*, until the server refuses.

    A request that only another person's rule matches is left to that person; one
    that no rule matches is rejected by the first person of the rules.
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
    elif not matching and rules[0].user == user:
        text = action_text(request["action"])
        reason = f"no rule approves {text!r}: add --vibehq-approve '{user}:{text}'"
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
    command.add_argument("--rule", action="append", required=True, metavar="USER:GLOB")
    options = parser.parse_args(arguments)
    try:
        rules = [decode_rule(text) for text in options.rule]
        asyncio.run(approve(find_server(), options.user or rules[0].user, rules))
    except (UsageError, RefusedError, ApiError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
