"""After a crash the server is there again, and its clients come back by themselves."""

from pathlib import Path

from tests.trust.crowd import crowd, kill_and_await_all
from tests.trust.followers import Door
from tests.trust.senders import Sender
from tests.trust.server_process import served, until

GUESTS = 100


async def test_all_clients_are_back_and_resumed_within_15_seconds_of_a_kill(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as server, crowd(server, GUESTS) as guests:
        seen = await kill_and_await_all(server, guests)
        sender = Sender(Door(server.port, server.admin), "after", 3)
        await sender.run()
        head = max(sender.accepted.values())
        await until(lambda: all(g.replica.position.offset >= head for g in guests))

    assert seen.resumed == GUESTS
    assert seen.all_back_seconds < 15
