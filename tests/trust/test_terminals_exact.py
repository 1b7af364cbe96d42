"""Byte for byte through PTY, worker, room and socket: raw output, and what was away."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.house import Peer
from tests.trust.followers import Door, dial
from tests.trust.server_process import served, until
from tests.trust.site import Site, running_site
from tests.trust.worker_process import working
from vibehq_nb.core.ids import Position
from vibehq_nb.core.stream import RING_BYTES

pytestmark = pytest.mark.timeout(120)

ACK_BYTES = 64 * 1024


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(tmp_path) as running:
        yield running


async def read(peer: Peer, start: int, size: int) -> bytes:
    """Read *size* bytes that follow *start*, acknowledging as a page does."""
    got, acked = b"", 0
    while len(got) < size:
        got += await peer.read_bytes(1)
        if len(got) - acked >= ACK_BYTES:
            acked = len(got)
            await peer.send({"type": "ack", "offset": start + acked})
    return got


async def test_t6_four_random_mebibytes_in_raw_mode_are_exact(
    site: Site, tmp_path: Path
) -> None:
    noise = random.Random(6).randbytes(4 << 20)
    (tmp_path / "noise").write_bytes(noise)
    script = f"stty raw -echo; printf ready; read -n 1; cat {tmp_path}/noise; sleep 99"
    await site.open("bash", "-c", script)
    await site.saw(b"ready")
    ana = await site.peer()
    epoch = (await ana.until("connected"))["epoch"]
    snapshot = await ana.until("snapshot")
    assert snapshot["offset"] == 5
    await ana.read_bytes(snapshot["bytes"])
    await ana.send(b"g")
    live = await read(ana, 5, len(noise))
    late = await site.peer("bob", epoch=epoch, offset=5)
    again = await read(late, 5, len(noise))

    assert hashlib.sha256(live).digest() == hashlib.sha256(noise).digest()
    assert hashlib.sha256(again).digest() == hashlib.sha256(noise).digest()


EMOJI = """
import os, sys, tty
tty.setraw(1)
left = b"ready" + "\U0001f600\U0001f4a5".encode() * int(sys.argv[1])
while left:
    left = left[os.write(1, left[:3001]) :]
while key := os.read(0, 1):
    os.write(1, b"THE END")
"""
"""Characters of four bytes, in writes that end amid one."""


async def test_a_ring_cut_amid_a_character_is_a_gap_and_a_whole_screen(
    site: Site,
) -> None:
    await site.python(EMOJI, str(RING_BYTES // 8 + 100_001))
    room: Any = site.app.server.context.hub.find("terminal", "vm")
    head = 5 + 8 * (RING_BYTES // 8 + 100_001)
    await until(lambda: room.uplink.stream.head == head, 60)
    # What is kept begins where a chunk does: amid a character, for three of four.
    oldest = room.oldest
    amid = oldest + (1 if (oldest - 5) % 4 == 0 else 0)
    epoch = room.position.epoch
    behind = await site.peer("ana", epoch=epoch, offset=amid)
    gone = await site.peer("bob", epoch=epoch, offset=6)

    assert (await behind.until("connected"))["resume"] == "resumed"
    rest = await read(behind, amid, head - amid)
    whole = "\U0001f600\U0001f4a5".encode() * (RING_BYTES // 8 + 100_001)
    assert rest == whole[amid - 5 :]
    assert (await gone.until("connected"))["reason"] == "trimmed"
    gap, snapshot = await gone.until("gap"), await gone.until("snapshot")
    frame = await gone.read_bytes(snapshot["bytes"])
    await gone.send(b"k")
    assert await gone.read_bytes(head - snapshot["offset"] + 7) == b"THE END"
    text = frame.decode()  # strictly: no half of a character is in it
    assert (gap["from"], gap["to"]) == (6, snapshot["offset"])
    assert "\ufffd" not in text
    assert text.count("\U0001f600") > 100


AWAY = """
import os, sys, time, tty
tty.setraw(1)
os.write(1, b"ready")
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
for number in range(3000):
    os.write(1, b"%08d\\n" % number)
left = b"".join(b"%09d " % number for number in range(500_000))
while left:
    left = left[os.write(1, left) :]
open(sys.argv[1] + ".done", "w").close()
time.sleep(99)
"""
OUTPUT = b"".join(b"%08d\n" % number for number in range(3000)) + b"".join(
    b"%09d " % number for number in range(500_000)
)


async def test_what_was_printed_while_the_server_was_dead_is_sent_on_exactly(
    tmp_path: Path,
) -> None:
    go, program = tmp_path / "go", tmp_path / "away.py"
    program.write_text(AWAY)
    async with served(tmp_path) as server, working(server, tmp_path) as worker:
        await worker.open("python3", str(program), str(go))
        door = Door(server.port, server.admin)
        first = Peer(await dial(door, "terminal/vm"))
        connected = await first.until("connected")
        snapshot = await first.until("snapshot")
        shown = await first.read_bytes(snapshot["bytes"])
        if b"ready" not in shown:
            await read(first, snapshot["offset"], 5 - snapshot["offset"])
        server.kill()
        go.touch()
        await until((tmp_path / "go.done").exists, 40)
        await server.start()
        position = Position(connected["epoch"], 5)
        peers = [Peer(await dial(door, "terminal/vm", position)) for _ in range(3)]
        for peer in peers:
            while (answer := await peer.until("connected"))["resume"] == "waiting":
                pass
            assert answer["resume"] == "resumed"
        got = await asyncio.gather(*(read(peer, 5, len(OUTPUT)) for peer in peers))
        for peer in peers:
            await peer.socket.close()

    assert [one == OUTPUT for one in got] == [True] * 3
