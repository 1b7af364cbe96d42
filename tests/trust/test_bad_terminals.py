"""
What nobody should do to a terminal, and what comes of it (B59 to B70).

B60, a burst of sizes, is tested where sizes are. What hostile output does to a page is
tested with the pages; here is what it does to the server, the shell and what is saved.
"""

import asyncio
import hashlib
import logging
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.house import running
from tests.integration.scripted_worker import work
from tests.rounds import rounds
from tests.trust.server_process import until
from tests.trust.site import Site, running_site
from vibehq_nb.client import session
from vibehq_nb.client.errors import TerminalError
from vibehq_nb.client.link import ReadyState
from vibehq_nb.client.screen import make_screen
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import Error
from vibehq_server.rooms.terminal import TerminalRoom
from vibehq_server.rooms.terminal_log import TerminalLogRoom

pytestmark = pytest.mark.timeout(60)

PARTIES = {"terminal": TerminalRoom, "terminal-log": TerminalLogRoom}
EVERYTHING = {"epoch": "e1", "offset": 0}
VIEWER = ("viewer",)

TYPED = """
import os, sys, tty
tty.setraw(0)
os.write(1, b"ready")
typed = b""
while not typed.endswith(b"END"):
    typed += os.read(0, 65536)
os.write(1, b"<" + typed[:-3].hex().encode() + b">")
"""
"""Shows what was typed up to ``END``."""

HASHED = """
import hashlib, os, signal, sys, tty
tty.setraw(0)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.write(1, b"ready")
if sys.argv[1:]:
    signal.sigwait([signal.SIGUSR1])
typed = b""
while not typed.endswith(b"END"):
    typed += os.read(0, 65536)
os.write(1, b"<" + hashlib.sha256(typed[:-3]).hexdigest().encode() + b">")
"""
"""The same as a digest; with an argument it reads nothing before SIGUSR1."""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(tmp_path) as running:
        yield running


async def shown(site: Site) -> bytes:
    """Return what the program says was typed."""
    stream = site.agent.terminals["vm"].stream

    def told() -> re.Match[bytes] | None:
        return re.search(rb"<([0-9a-f]*)>", stream.since(stream.oldest))

    found: re.Match[bytes] = await until(told, 30)
    return found[1]


BAD_SIZES = (0, -1, 501, 70_000, 1.5, "80", 1e9, 2**63, True, None)


async def test_b59_sizes_beyond_measure_are_refused_and_change_nothing() -> None:
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", **EVERYTHING)
        policy = {"type": "size-policy", "policy": "fixed"}
        for bad in BAD_SIZES:
            for size in ({"cols": bad, "rows": 24}, {"cols": 80, "rows": bad}):
                for asked in ({"type": "resize"}, policy):
                    await ana.send(asked | size)
                    refused = await ana.until("error")
                    assert refused["code"] == "bad-message", bad
        for cols, rows in ((1, 500), (500, 1)):
            await ana.send({"type": "resize", "cols": cols, "rows": rows})
            asked = await worker.peer.until("resize")
            assert (asked["cols"], asked["rows"]) == (cols, rows)


async def test_bad_sizes_are_refused_over_http_too(site: Site) -> None:
    await site.open("cat")
    before = site.agent.terminals["vm"].stream.size
    for bad in BAD_SIZES[:-1]:
        answer = await site.post("size", {"policy": "fixed", "cols": bad, "rows": 24})
        assert (answer.status, answer.json()["code"]) == (400, "bad-message")
        opened = await site.app.send(
            *("POST", "/api/terminals", site.app.admin),
            {"worker": "vm", "name": "b", "cols": bad},
        )
        assert opened.status == 400

    assert site.agent.terminals["vm"].stream.size == before
    assert set(site.agent.terminals) == {"vm"}


async def test_b61_a_paste_of_a_megabyte_arrives_whole(site: Site) -> None:
    paste = random.Random(61).randbytes(1_000_000)
    await site.python(HASHED)
    await site.saw(b"ready")
    ana = await site.session()
    await ana.type(paste + b"END")

    assert await shown(site) == hashlib.sha256(paste).hexdigest().encode()


async def test_a_paste_into_a_stuck_program_is_refused_and_what_was_taken_is_known(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ANSWER_SECONDS", 1.0)
    paste = random.Random(61).randbytes(1_000_000)
    await site.python(HASHED, "stuck")
    await site.saw(b"ready")
    ana = await site.session()
    with pytest.raises(DeniedError, match="does not read"):
        await ana.type(paste)
    taken = ana.ledger.accepted
    await site.post("signal", {"signal": "USR1"})
    await ana.type(b"END")

    assert 0 < taken < len(paste)
    assert await shown(site) == hashlib.sha256(paste[:taken]).hexdigest().encode()


async def test_a_session_that_is_left_while_it_types_does_not_come_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ANSWER_SECONDS", 2.0)
    await site.python(HASHED)
    ana = await site.session()
    await until(lambda: ana.may_type)
    monkeypatch.setattr(ana.link, "send", lambda _frame: True)  # and no answer comes
    typing = asyncio.create_task(ana.type(b"x"))
    await until(lambda: ana.ledger.sent)
    await ana.close()

    with pytest.raises(TerminalError, match="vm was left"):
        await typing
    assert ana.link.socket.ready_state is ReadyState.CLOSED


async def test_a_paste_cannot_end_itself_early_on_its_way_to_a_program(
    site: Site,
) -> None:
    await site.python(TYPED)
    await site.saw(b"ready")
    ana = await site.session()
    await ana.type(b"\x1b[200~one\x1b[201~rm -rf /\r\x1b[201~\x1b[201~END")

    typed = bytes.fromhex((await shown(site)).decode())
    assert typed == b"\x1b[200~onerm -rf /\r\x1b[201~"


async def test_b62_not_a_byte_of_a_viewer_reaches_the_program_and_it_is_noted(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vibehq_server")
    await site.python(TYPED)
    await site.saw(b"ready")
    eve = await site.peer("eve", VIEWER)
    raw = await site.peer("eve", VIEWER, mode="raw")
    for number in range(20):
        await eve.send(b"s3cret %d\r" % number)
        assert (await eve.until("error"))["code"] == "forbidden"
    await raw.send("s3cret\r")
    await raw.send(b"s3cret\r")
    await eve.send({"type": "writer", "action": "take"})
    assert (await eve.until("error"))["code"] == "forbidden"
    ana = await site.session()
    await ana.type(b"ana's END")

    assert bytes.fromhex((await shown(site)).decode()) == b"ana's "
    lines = [one for one in caplog.messages if "may not send" in one]
    assert len(lines) == 2  # one a connection
    assert all("terminal/vm: eve/" in line for line in lines)
    assert "s3cret" not in caplog.text


async def test_b63_keys_for_a_frozen_ended_or_anothers_terminal_are_not_typed(
    site: Site,
) -> None:
    await site.python(TYPED)
    await site.saw(b"ready")
    ana, bob = await site.peer(), await site.peer("bob")
    await ana.send(b"a")
    await bob.until("writer")
    await bob.send(b"bob")
    assert (await bob.until("error"))["code"] == "not-writer"
    assert (await site.post("freeze")).status == 200
    await ana.send(b"frozen")
    assert (await ana.until("error"))["code"] == "frozen"
    assert (await site.post("thaw")).status == 200
    while (await ana.until("connected"))["state"] != "running":
        pass
    await ana.send(b"bEND")
    assert await shown(site) == b"ab".hex().encode()
    await ana.until("exited")
    await ana.send(b"late")

    assert (await ana.until("error"))["code"] == "exited"


async def test_keys_for_a_worker_that_is_away_are_refused_and_never_typed() -> None:
    async with running(PARTIES) as house:
        worker = await work(house)
        await worker.hello()
        ana = await house.connect("terminal/vm", "ana", **EVERYTHING)
        await worker.peer.socket.close()
        await ana.until("container-disconnected")
        await ana.send(b"lost")
        assert (await ana.until("error"))["code"] == "no-worker"
        again = await work(house)
        await again.hello()
        await ana.until("container-connected")
        await ana.send(b"x")
        asked = await again.peer.until("input-from")

        assert asked["offset"] == 0
        assert await again.peer.next() == b"x"


BAD_SIGNALS = (999, 9, "9", "SIGINT", "INT TERM", "INT;KILL", "int", "", None, ["INT"])


async def test_b64_signals_there_are_not_reach_no_program(site: Site) -> None:
    await site.open("sleep", "60")
    for bad in BAD_SIGNALS:
        answer = await site.post("signal", {"signal": bad})
        assert (answer.status, answer.json()["code"]) == (400, "bad-message"), bad
        assert "KILL" not in answer.json()["message"]
    assert site.agent.terminals["vm"].state == "running"
    assert (await site.post("signal", {"signal": "INT"})).status == 200
    ended = await until(lambda: site.agent.terminals["vm"].exit)

    assert ended.signal == "INT"


PIECES = (
    b"\xf0\x9f",
    b"\x98\x80|",
    b"\x80|\xff\xfe|\xed\xa0\x80|\xc0\xaf|",
    b"\xe2\x82",
    b"\xac\n",
)
SPLIT = f"""
import os, tty
tty.setraw(0)
os.write(1, b"ready")
for piece in {PIECES!r}:
    os.read(0, 1)
    os.write(1, piece)
os.read(0, 1)
"""


async def test_b65_split_and_broken_characters_come_through_as_they_are(
    site: Site,
) -> None:
    await site.python(SPLIT)
    await site.saw(b"ready")
    ana = await site.peer()
    connected = await ana.until("connected")
    while not isinstance(await ana.next(), bytes):  # the keyframe
        pass
    got = b""
    for piece in PIECES:
        await ana.send(b"k")
        got += await ana.read_bytes(len(piece))
    assert got == b"".join(PIECES)
    at = len(b"ready") + 1  # amid a character
    again = await site.peer("bob", epoch=connected["epoch"], offset=at)

    assert await again.read_bytes(len(got) - 1) == got[1:]


MONSTER = """
import os, sys, tty
tty.setraw(0)
out = sys.stdout.buffer
out.write(b"x" * int(sys.argv[1]))
out.write(b"\\x1b]0;" + b"t" * 1_000_000)
out.write(b"\\x18\\x1bP" * 10_000 + b"q" * 1000)
out.write(b"\\x18\\x1b\\\\ready")
out.flush()
while key := os.read(0, 100):
    os.write(1, b"<" + key + b">")
"""


LINE_BYTES = max(10, 2 * rounds(20)) * 1_000_000
"""All 40 MB in the full rounds."""


@pytest.mark.timeout(180)
async def test_b66_a_line_of_40_megabytes_and_sequences_without_an_end_are_bounded(
    site: Site,
) -> None:
    await site.python(MONSTER, str(LINE_BYTES))
    await site.saw(b"ready", seconds=120)
    ana = await site.peer()
    snapshot = await ana.until("snapshot")
    frame = await ana.read_bytes(snapshot["bytes"])
    await ana.send(b"echo")

    assert snapshot["bytes"] <= 2 * 1024 * 1024
    assert b"ready" in frame
    assert await ana.read_bytes(6) == b"<echo>"


QUERIES = (
    b"\x1b[c\x1b[>c\x1b[=c\x1b[5n\x1b[6n\x1b[?6n\x1b[21t\x1b[18t\x1b[?2004$p"
    b"\x1bP$qm\x1b\\\x1bP+q544e\x1b\\\x1b]10;?\x07\x1b]11;?\x1b\\\x1b]4;1;?\x07\x1b[x"
    b"\x05"
)
ANSWERS = (b"\x1b[?62;c", b"\x1b[1;1R", b"\x1b]11;rgb:0/0/0\x07", b"\x1bP1$r0m\x1b\\")


async def test_b67_no_answer_to_a_query_is_typed_but_that_of_who_has_the_keyboard(
    site: Site,
) -> None:
    await site.python(f"import os; os.write(1, {QUERIES!r})" + TYPED)
    await site.saw(b"ready")
    ana, bob = await site.session(), await site.peer("bob")
    await bob.until("snapshot")  # as who comes late does: the queries are over
    for answer in ANSWERS:
        await bob.send(answer)
        assert (await bob.until("error"))["code"] == "not-writer"
    await ana.type(b"ana")
    await ana.type(ANSWERS[0])
    await ana.type(b"END")

    assert bytes.fromhex((await shown(site)).decode()) == b"ana" + ANSWERS[0]


def printing(output: bytes) -> str:
    return f"import os, tty; tty.setraw(0); os.write(1, {output!r}); os.read(0, 1)"


async def test_b68_a_late_joiner_is_sent_no_access_to_the_clipboard(site: Site) -> None:
    write, read = b"\x1b]52;c;cm0gLXJmIC8=\x07", b"\x1b]52;c;?\x1b\\"
    await site.python(printing(b"before " + write + read + b"after"))
    await site.saw(b"after")
    ana = await site.peer()
    snapshot = await ana.until("snapshot")
    frame = await ana.read_bytes(snapshot["bytes"])

    assert b"before after" in frame
    assert b"]52;" not in frame
    assert b"cm0gLXJmIC8=" not in frame


LINKS = (b"javascript:alert(1)", b"data:text/html,<script>alert(1)</script>")


@pytest.mark.parametrize("link", LINKS)
def test_b69_a_saved_screen_links_to_no_script(link: bytes) -> None:
    screen = make_screen(80, 24)
    screen.feed(b"\x1b]8;;" + link + b"\x1b\\https://safe.example\x1b]8;;\x1b\\")
    saved = screen.html()

    assert "https://safe.example" in saved
    assert "href" not in saved.lower()
    assert "script" not in saved.lower()


BOX = "┌ Approve? ┐ <button class='vhq-approve'>Approve</button> <img src=x onerror=a>"


async def test_b70_an_approval_drawn_in_a_terminal_is_text_and_asks_for_nothing(
    site: Site,
) -> None:
    await site.python(printing(b"\x1b[2J\x1b[H" + BOX.encode() + b"\x1b]9;Approve\x07"))
    await site.saw(b"Approve\x07")
    ana = await site.session("ana", ("viewer", "operator", "approver"))
    asked: Any = await site.app.send("GET", "/api/hil/requests", site.app.admin)

    assert asked.json()["requests"] == []
    assert ana.screen is not None
    saved = ana.screen.html()
    assert "&lt;button" in saved
    assert "<button" not in saved
    assert "<img" not in saved
    assert not isinstance(ana.replica.connected, Error)
