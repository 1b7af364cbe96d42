"""A container's terminal, from its opening to its recording: all of it real."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.containers import Podman, podman
from tests.integration.test_terminals_shared import Person, eventually, sees
from vibehq_nb.client.recordings import AsyncRecording
from vibehq_nb.client.replica import Output
from vibehq_nb.client.session import TerminalSession
from vibehq_nb.testing import ThrowAwayServer

__all__ = ["podman"]

pytestmark = pytest.mark.timeout(90)

STATE = "{{.State.Status}}"
COUNT = "i=0; while :; do i=$((i+1)); echo line-$i; echo $i > /tmp/count; done"


async def test_t1_a_containers_terminal_is_shared_frozen_thawed_and_recorded(
    podman: Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    podman.start("web-1")
    monkeypatch.setenv("DOCKER_HOST", podman.url)
    try:
        with ThrowAwayServer() as server:
            await tell_the_story(server, podman, tmp_path)
    finally:
        podman.remove("web-1")


async def tell_the_story(server: ThrowAwayServer, podman: Podman, folder: Path) -> None:
    ana = Person(server, "ana", ("viewer", "operator"))
    bob = Person(server, "bob", ("viewer",))
    body = {"target": "docker:web-1", "name": "web"}
    opened = ana.api.request("POST", "/api/terminals", body)
    for person in (ana, bob):
        await person.join(opened["id"])
    heard = Heard(bob.session)
    recording = await AsyncRecording.start(ana.api, opened["id"])

    await ana.term.send("cat /proc/1/cmdline; echo; echo in-$((1+1))\r")
    await sees(bob, "in-2")
    assert "sleep" in await bob.term.screen()  # the container's first process
    await ana.term.send(COUNT + "\r")
    await eventually_count(podman, 50)

    await ana.term.freeze()
    assert (
        podman.command("inspect", "--format", "{{.State.Status}}", "web-1") == "paused"
    )
    stood = await heard.at_rest()
    with pytest.raises(Exception, match="frozen"):
        await ana.term.send("x")
    assert await heard.at_rest() == stood
    await ana.term.thaw()
    await eventually_count(podman, 100)
    await ana.term.send("\x03")
    await ana.term.send("echo over-$((1+1))\r")
    await sees(bob, "over-2")
    await recording.stop()

    lines = [int(line) for line in heard.lines()]
    assert lines == list(range(1, len(lines) + 1))  # whole, over freeze and thaw
    cast = await recording.export(folder / "web.cast", version=2)
    header, *events = map(json.loads, cast.read_text().splitlines())
    assert (header["version"], header["width"], header["height"]) == (2, 80, 24)
    # The first is the screen it began with.
    printed = "".join(event[2] for event in events if event[1] == "o")
    printed = printed[len(events[0][2]) :]
    assert heard.holds(printed)
    assert await recording.verify()
    await bob.term.detach()
    await ana.term.close()
    assert podman.processes("web-1") == ["sleep 1000000"]


async def eventually_count(podman: Podman, least: int) -> None:
    async def counted() -> bool:
        text = podman.command("exec", "web-1", "cat", "/tmp/count")
        return text.isdecimal() and int(text) >= least

    await eventually(counted)


class Heard:
    """Every byte one viewer is sent after its first screen."""

    def __init__(self, session: TerminalSession) -> None:
        self.output = bytearray()
        session.listen(self._hear)

    def _hear(self, event: object) -> None:
        if isinstance(event, Output):
            self.output += event.content

    async def at_rest(self) -> int:
        """Return how many bytes came, once no more do: some were on their way."""
        async with asyncio.timeout(20):
            while True:
                before = len(self.output)
                await asyncio.sleep(0.5)
                if len(self.output) == before:
                    return before

    def holds(self, printed: str) -> bool:
        """Tell whether this was heard too, byte for byte; it goes on after it."""
        return len(printed) > 1000 and printed.encode() in self.output

    def lines(self) -> list[str]:
        found = self.output.decode().replace("\r", "").split("\n")
        return [line.removeprefix("line-") for line in found if line[:5] == "line-"]
