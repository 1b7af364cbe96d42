"""One terminal, several people: who types, who watches, whose size. Real shells."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from vibehq_nb.client.errors import ApiError, NotWriterError
from vibehq_nb.client.http import HttpApi, Server
from vibehq_nb.client.session import TerminalSession
from vibehq_nb.client.terminals import AsyncTerminal
from vibehq_nb.core.codec import encode
from vibehq_nb.core.errors import DeniedError
from vibehq_nb.core.messages import Resize
from vibehq_nb.testing import ThrowAwayServer

pytestmark = pytest.mark.timeout(60)

OPERATOR = ("viewer", "operator")


@pytest.fixture(scope="module")
def server() -> Iterator[ThrowAwayServer]:
    with ThrowAwayServer() as running:
        yield running


class Person:
    """One user and a terminal as that user sees it."""

    def __init__(self, server: ThrowAwayServer, user: str, roles: tuple[str, ...]):
        self.user = user
        self.api = HttpApi(Server(server.url, server.grant(user, roles)))
        self.term: AsyncTerminal
        self.session: TerminalSession

    async def join(self, terminal: str) -> None:
        self.term = AsyncTerminal(self.api, terminal)
        self.session = await self.term.attach()

    async def shows(self, size: tuple[int, int]) -> None:
        """Ask for a size as a browser does that shows so many cells."""
        message = encode(Resize(cols=size[0], rows=size[1])).decode()
        assert self.session._socket.send(message)


@asynccontextmanager
async def together(
    server: ThrowAwayServer, **roles: tuple[str, ...]
) -> AsyncIterator[list[Person]]:
    """Open a terminal of its own and let all these people watch it."""
    people = [Person(server, user, held) for user, held in roles.items()]
    body = {"target": "local", "name": f"shared-{next(NUMBERS)}"}
    opened = await asyncio.to_thread(
        people[0].api.request, "POST", "/api/terminals", body
    )
    for person in people:
        await person.join(opened["id"])
    yield people
    await people[0].term.close()
    for person in people[1:]:
        await person.term.detach()


NUMBERS = iter(range(1000))


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.05)


async def sees(person: Person, text: str) -> None:
    async def shown() -> bool:
        return text in await person.term.screen()

    await eventually(shown)


async def test_t10_one_types_at_a_time_and_the_keyboard_is_taken_and_given(server):
    async with together(server, ana=OPERATOR, bob=OPERATOR) as (ana, bob):
        await ana.term.send("echo from-$((1+1))-ana\r")
        await sees(bob, "from-2-ana")
        with pytest.raises(NotWriterError, match="ana is typing"):
            await bob.term.send("echo no\r")
        await bob.term.take_control()
        await bob.term.send("echo from-$((1+1))-bob\r")
        await sees(ana, "from-2-bob")
        with pytest.raises(NotWriterError, match="bob is typing"):
            await ana.term.send("echo no\r")
        await bob.term.give_control("ana")
        await ana.term.send("echo again-$((1+1))-ana\r")
        await sees(bob, "again-2-ana")
        assert "echo no" not in await ana.term.screen()
        with pytest.raises(ApiError, match="may type here"):
            await ana.term.give_control("zoe")

        await ana.term.detach()  # gone with its holder

        async def is_free() -> bool:
            return bob.session.replica.writer is None

        await eventually(is_free)
        await bob.term.send("echo free-$((1+1))\r")
        await sees(bob, "free-2")


async def test_t11_a_viewer_sees_all_and_changes_nothing(server):
    async with together(server, ana=OPERATOR, eve=("viewer",)) as (ana, eve):
        await ana.term.send("stty size; echo seen-$((1+1))\r")
        await sees(eve, "seen-2")
        with pytest.raises(DeniedError, match="may not"):
            await eve.term.send("touch /tmp/vibehq-eve-was-here\r")
        await eve.shows((30, 10))
        for refused in (
            eve.term.take_control(),
            eve.term.size_policy("fixed", 30, 10),
            eve.term.signal("KILL"),
            eve.term.freeze(),
            eve.term.close(),
        ):
            with pytest.raises(ApiError) as told:
                await refused
            assert told.value.status == 403

        await ana.term.send("clear; stty size; echo after-$((1+1))\r")
        await sees(ana, "after-2")
        screen = await ana.term.screen()
        assert "24 80" in screen
        assert "vibehq-eve" not in screen


async def test_t12_the_log_tells_who_typed_how_much_and_never_what(server):
    async with together(server, ana=OPERATOR, bob=OPERATOR) as (ana, bob):
        await ana.term.send("read -rs x\rs3cret-of-ana\r")
        await ana.term.give_control("bob")
        await bob.term.send("echo x\r")

        async def both_wrote() -> bool:
            wrote = [e for e in await bob.term.log() if e["type"] == "wrote"]
            return {e["user"] for e in wrote} == {"ana", "bob"}

        await eventually(both_wrote)
        log = await bob.term.log()
        typed = {e["user"]: e["bytes"] for e in log if e["type"] == "wrote"}
        assert typed == {
            "ana": len("read -rs x\rs3cret-of-ana\r"),
            "bob": len("echo x\r"),
        }
        assert "s3cret" not in str(log)
        changes = [e for e in log if e["type"] == "writer-changed"]
        assert [(e["user"], e["how"]) for e in changes] == [
            ("ana", "typed"),
            ("bob", "given"),
        ]


async def test_t13_stty_says_the_size_that_the_policy_decided(server):
    async with together(server, ana=OPERATOR, bob=OPERATOR, eve=("viewer",)) as people:
        ana, bob, eve = people

        async def is_sized(cols: int, rows: int) -> None:
            async def says() -> bool:
                return f"{rows} {cols}" in await ana.term.screen()

            await ana.term.take_control()
            await ana.term.send("clear; while sleep 0.1; do stty size; done\r")
            await eventually(says)
            await ana.term.send("\x03")

        await ana.shows((100, 30))
        await is_sized(100, 30)
        await eve.shows((20, 5))  # a viewer's never counts
        await bob.shows((60, 20))  # nor that of somebody who does not type
        await is_sized(100, 30)
        await ana.term.size_policy("smallest")
        await is_sized(60, 20)
        await ana.term.size_policy("fixed", 132, 43)
        await is_sized(132, 43)

        sizes = [
            (e["cols"], e["rows"]) for e in await ana.term.log() if e["type"] == "sized"
        ]
        assert sizes == [(100, 30), (60, 20), (132, 43)]
