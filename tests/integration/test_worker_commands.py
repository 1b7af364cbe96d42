"""``vibehq worker invite | list | stop`` and idle terminals, with real processes."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.attached import VIBEHQ, Place, place
from tests.integration.worker_rooms import until
from vibehq_nb.client.errors import ApiError
from vibehq_server.local_worker import LocalWorker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Place]:
    async with place(tmp_path) as running:
        yield running


async def vibehq(
    here: Place, *words: str, **env: str
) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(
        subprocess.run,
        [*VIBEHQ, *words],
        env=here.environment(**env),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def pasted(here: Place, line: str, *more: str) -> "subprocess.Popen[bytes]":
    """Run the printed line in a shell, as on another host."""
    program = f"{sys.executable} -m vibehq_server.cli worker "
    line = line.replace("vibehq worker ", f"exec {program}") + " " + " ".join(more)
    process = subprocess.Popen(
        ["bash", "-c", line],
        env=here.environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    here.workers.append(process)
    return process


async def workers(here: Place) -> dict[str, Any]:
    found = (await here.call("GET", "/api/workers"))["workers"]
    return {one["id"]: one for one in found}


async def online(here: Place, name: str, wanted: bool = True) -> None:
    async with asyncio.timeout(20):
        while True:
            known = await workers(here)
            if name in known and known[name]["online"] is wanted:
                return
            await asyncio.sleep(0.02)


async def test_a_worker_joins_by_one_pasted_line_and_comes_back_without_it(
    here: Place,
) -> None:
    at = ("--data", str(here.data))
    invited = await vibehq(here, "worker", "invite", "web-1", *at)
    line = invited.stdout.strip()
    token = line.split()[0].removeprefix("VIBEHQ_JOIN=")
    first = pasted(here, line)
    await online(here, "web-1")
    opened = await here.call("POST", "/api/terminals", {"worker": "web-1"})
    first.terminate()
    await asyncio.to_thread(first.wait)
    await online(here, "web-1", wanted=False)

    url = here.api.server.url
    pasted(here, f"vibehq worker --url {url}")
    await online(here, "web-1")

    kept = next((here.home / ".local/share/vibehq/workers").glob("*/endpoint.json"))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert token.startswith("vhq_j_")
    assert token not in kept.read_text()
    assert token not in here.server.log()
    assert token not in invited.stderr
    assert opened["id"] == "web-1"
    grants = (await here.call("GET", "/api/grants"))["grants"]
    assert [(one["user"], one["roles"]) for one in grants] == [("web-1", ["worker"])]
    log = await here.call("GET", "/api/rooms/grants/main/log")
    assert [one["name"] for one in entries(log)] == ["worker-invited", "grant-created"]


def entries(log: Any) -> list[Any]:
    found = []
    for one in log["entries"]:
        body = one.get("body", one)
        found.append(json.loads(body) if isinstance(body, str) else body)
    return found


async def test_a_used_token_starts_nothing_elsewhere_and_the_same_line_again_does(
    here: Place, tmp_path: Path
) -> None:
    at = ("--data", str(here.data))
    line = (await vibehq(here, "worker", "invite", "web-1", *at)).stdout.strip()
    first = pasted(here, line)
    await online(here, "web-1")
    thief = pasted(here, line, "--data", str(tmp_path / "elsewhere"))
    said = (await asyncio.to_thread(thief.communicate))[1].decode()
    first.terminate()
    await asyncio.to_thread(first.wait)
    await online(here, "web-1", wanted=False)
    pasted(here, line)
    await online(here, "web-1")

    assert thief.returncode == 2
    assert said == (
        "This join token was used already. Ask for another one: "
        "vibehq worker invite web-1\n"
    )


async def test_a_wrong_token_and_another_name_are_one_sentence(here: Place) -> None:
    at = ("--data", str(here.data))
    line = (await vibehq(here, "worker", "invite", "web-1", *at)).stdout.strip()
    url = here.api.server.url
    wrong = pasted(here, f"VIBEHQ_JOIN=vhq_j_x vibehq worker --id a --url {url}")
    other = pasted(here, line.replace("--id web-1", "--id web-2"))
    said = [
        (await asyncio.to_thread(one.communicate))[1].decode() for one in (wrong, other)
    ]

    assert said[0].startswith("This server knows no such join token. Ask for another")
    assert said[1].startswith("This join token is for a worker of another name")
    assert [text.count("\n") for text in said] == [1, 1]
    assert [one.returncode for one in (wrong, other)] == [2, 2]


async def test_only_an_admin_invites(here: Place) -> None:
    token = await here.grant("ana", "viewer", "operator")
    env = {"VIBEHQ_URL": here.api.server.url, "VIBEHQ_TOKEN": token}
    done = await vibehq(here, "worker", "invite", "web-1", **env)

    assert done.returncode == 1
    assert "needs the role admin" in done.stderr


async def test_a_revoked_worker_is_out(here: Place) -> None:
    at = ("--data", str(here.data))
    line = (await vibehq(here, "worker", "invite", "web-1", *at)).stdout.strip()
    pasted(here, line)
    await online(here, "web-1")
    grants = (await here.call("GET", "/api/grants"))["grants"]
    await here.call("DELETE", f"/api/grants/{grants[0]['id']}")

    await online(here, "web-1", wanted=False)


async def test_workers_are_listed(here: Place) -> None:
    await here.open()
    shown = await vibehq(here, "worker", "ls", "--data", str(here.data))
    listed = await vibehq(here, "worker", "list", "--json", "--data", str(here.data))

    head, row = shown.stdout.splitlines()
    assert head.split() == ["id", "host", "online", "version", "providers", "terminals"]
    assert row.split()[:3] == ["w", os.uname().nodename, "yes"]
    assert json.loads(listed.stdout)[0]["terminals"] == ["w"]


@pytest.mark.parametrize("name", [(), ("w",)], ids=["on this host", "by the server"])
async def test_a_stop_is_refused_while_a_job_runs_unless_it_is_forced(
    here: Place, name: tuple[str, ...]
) -> None:
    terminal = await here.open("job", command=["bash", "-c", "echo $$; exec sleep 99"])
    stop = ("worker", "stop", *name, "--data", str(here.data))
    refused = await vibehq(here, *stop)
    assert here.workers[0].poll() is None
    forced = await vibehq(here, *stop, "--force")
    code = await asyncio.to_thread(here.workers[0].wait)

    assert refused.returncode == 1
    assert refused.stderr == (
        "vibehq: Still running: sleep in w:job. --force ends that, too.\n"
    )
    assert forced.stdout == f"The worker stops; with it: {terminal}.\n"
    assert (forced.returncode, code) == (0, 0)
    await online(here, "w", wanted=False)


async def test_a_worker_at_its_prompts_stops_without_a_server_too(here: Place) -> None:
    await here.open()
    here.server.kill()
    done = await vibehq(here, "worker", "stop", "--json", "--data", str(here.data))

    assert json.loads(done.stdout) == {"terminals": ["w"]}
    assert await asyncio.to_thread(here.workers[0].wait) == 0
    none = await vibehq(here, "worker", "stop", "--data", str(here.data))
    assert none.returncode == 2
    assert none.stderr.startswith(f"vibehq: No worker of {here.data} answers.")


async def test_an_unknown_worker_is_told_with_the_nearest_name(here: Place) -> None:
    done = await vibehq(here, "worker", "stop", "ww", "--data", str(here.data))

    assert done.stderr == "vibehq: There is no worker 'ww'. Did you mean w?\n"


HELD = '[ "$VIBEHQ_TERMINAL" != w:seen ] || { set -m; echo held; cat ~/gate; }\n'
"""A job that keeps the terminal until somebody writes to the gate."""


async def test_an_idle_terminal_is_closed_and_a_job_or_a_viewer_keeps_one(
    here: Place,
) -> None:
    gate = here.home / "gate"
    os.mkfifo(gate)
    with (here.home / ".bashrc").open("a") as bashrc:
        bashrc.write(HELD)
    here.workers[0].terminate()
    await asyncio.to_thread(here.workers[0].wait)
    here.start_worker("--cull-idle", "3s")
    await online(here, "w")
    await here.open("job", command=["sleep", "99"])
    async with here.cli("terminal", "open", "--name", "seen", "--attach") as watching:
        await watching.shows("held")  # from here on a viewer keeps it
        await asyncio.to_thread(gate.write_bytes, b"")
        await watching.prompts()
        await here.open("idle")
        async with asyncio.timeout(20):
            while await state(here, "w:idle") != "exited":
                await asyncio.sleep(0.05)

        assert await state(here, "w:job") == "running"
        assert await state(here, "w:seen") == "running"
    async with asyncio.timeout(20):
        while await state(here, "w:seen") != "exited":
            await asyncio.sleep(0.05)
    assert await state(here, "w:job") == "running"
    events = entries(await here.call("GET", "/api/rooms/ops/main/log"))
    told = [
        one["data"]["terminal"] for one in events if one["name"] == "terminal-culled"
    ]
    assert told == ["w:idle", "w:seen"]


async def state(here: Place, terminal: str) -> str:
    try:
        return str((await here.call("GET", f"/api/terminals/{terminal}"))["state"])
    except ApiError:
        return "gone"


async def test_a_worker_told_to_stop_is_not_started_again_by_its_server(
    here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    looked = LocalWorker._was_stopped

    def look(keeper: LocalWorker) -> bool:
        looks.append(looked(keeper))
        return looks[-1]

    monkeypatch.setattr(LocalWorker, "_was_stopped", look)
    monkeypatch.setattr("vibehq_server.local_worker.CHECK_SECONDS", 0.05)
    data = tmp_path / "kept"
    data.mkdir()
    (data / "endpoint.json").write_text((here.data / "endpoint.json").read_text())
    keeping = asyncio.create_task(LocalWorker(data).keep())
    try:
        pid = await pid_in(data)
        name = os.uname().nodename.partition(".")[0]
        await online(here, name)
        stopped = await vibehq(here, "worker", "stop", "--data", str(data))
        assert stopped.returncode == 0, stopped.stderr
        await until(lambda: looks[-3:] == [True] * 3, 15)
    finally:
        keeping.cancel()
    again = asyncio.create_task(LocalWorker(data).keep())
    try:
        assert await pid_in(data) != pid
    finally:
        again.cancel()
        os.kill(await pid_in(data), signal.SIGTERM)


async def pid_in(data: Path) -> int:
    def found() -> int:
        text = (data / "worker.lock").read_text() if data.exists() else ""
        return int(text) if text.strip().isdigit() else 0

    await until(lambda: (data / "worker.lock").exists() and found(), 20)
    return found()
