"""What the facade makes of a socket, against a real WebSocket server."""

import asyncio
import http
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from vibehq_nb.client.errors import RefusedError
from vibehq_nb.client.event_room import EventRoom
from vibehq_nb.client.http import Server
from vibehq_nb.client.room_link import RoomLink
from vibehq_nb.core.messages import Event, StateSnapshot

DEADLINE = 10.0


class Heard:
    """Keeps what a socket tells."""

    def __init__(self) -> None:
        self.frames: list[str | bytes] = []
        self.opens: list[float] = []
        self.losses = 0
        self.refusal: RefusedError | None = None

    def opened(self, away_seconds: float) -> None:
        self.opens.append(away_seconds)

    def received(self, frame: str | bytes) -> None:
        self.frames.append(frame)
        if frame == "raise":
            raise ValueError("a receiver's mistake")

    def lost(self) -> None:
        self.losses += 1

    def refused(self, error: RefusedError) -> None:
        self.refusal = error

    async def until(self, condition: Callable[["Heard"], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition(self):
                await asyncio.sleep(0.005)


class Rooms:
    """A server whose rooms do what a test says, and which remembers who came."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.received: list[str | bytes] = []
        self.status: http.HTTPStatus | None = None
        self.script: Callable[[ServerConnection], object] = lambda _link: None
        self.url = ""

    def judge(self, link: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if self.status is None:
            return None
        return link.respond(self.status, "no\n")

    async def serve(self, link: ServerConnection) -> None:
        result = self.script(link)
        if asyncio.iscoroutine(result):
            await result
        async for frame in link:
            self.received.append(frame)

    def query(self, index: int) -> dict[str, str]:
        parts = urlsplit(self.requests[index].path)
        return {key: values[0] for key, values in parse_qs(parts.query).items()}


@asynccontextmanager
async def running(rooms: Rooms) -> AsyncIterator[Rooms]:
    async with serve(
        rooms.serve, "127.0.0.1", 0, process_request=rooms.judge, close_timeout=1
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        rooms.url = f"http://127.0.0.1:{port}"
        yield rooms


def socket_to(rooms: Rooms, heard: Heard, **options: object) -> RoomLink:
    server = Server(rooms.url, "secret", "Bearer")
    options.setdefault("min_delay", 0.02)
    return RoomLink(server, "terminal", "web-1:two", heard, **options)  # type: ignore[arg-type]


async def test_the_token_travels_in_a_header_and_never_in_the_url() -> None:
    heard = Heard()
    async with running(Rooms()) as rooms, socket_to(rooms, heard):
        await heard.until(lambda h: bool(h.opens))

        request = rooms.requests[0]

    assert request.headers["Authorization"] == "Bearer secret"
    assert "secret" not in request.path
    assert urlsplit(request.path).path == "/parties/terminal/web-1:two"


async def test_frames_arrive_in_order_and_go_up_in_order() -> None:
    heard = Heard()
    rooms = Rooms()

    async def greet(link: ServerConnection) -> None:
        await link.send("hello")
        await link.send(b"bytes")

    rooms.script = greet
    async with running(rooms), socket_to(rooms, heard) as socket:
        await heard.until(lambda h: len(h.frames) == 2)
        sent = [socket.send("one"), socket.send(b"two")]
        await heard.until(lambda _h: len(rooms.received) == 2)

    assert heard.frames == ["hello", b"bytes"]
    assert sent == [True, True]
    assert rooms.received == ["one", b"two"]


async def test_it_comes_back_with_its_id_and_asks_for_the_query_each_time() -> None:
    heard = Heard()
    rooms = Rooms()
    rooms.script = lambda link: link.close(1012, "restart")
    tries: list[int] = []

    def query() -> dict[str, str]:
        tries.append(len(tries))
        return {"offset": str(tries[-1])}

    async with running(rooms), socket_to(rooms, heard, query=query) as socket:
        await heard.until(lambda h: len(h.opens) >= 3)
        ids = {rooms.query(index)["_pk"] for index in range(3)}
        offsets = [rooms.query(index)["offset"] for index in range(3)]

    assert ids == {socket.socket.id}
    assert offsets == ["0", "1", "2"]
    assert heard.opens[0] == 0.0
    assert heard.opens[1] > 0.0


async def test_an_async_query_is_awaited_and_one_that_fails_is_tried_again() -> None:
    heard = Heard()
    tries: list[int] = []

    async def query() -> dict[str, str]:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("no ticket yet")
        return {"ticket": "t"}

    async with running(Rooms()) as rooms, socket_to(rooms, heard, query=query):
        await heard.until(lambda h: bool(h.opens))
        found = rooms.query(0)

    assert found["ticket"] == "t"
    assert len(tries) == 2


@pytest.mark.parametrize("code", [4501, 4503, 4509, 4511])
async def test_a_final_close_code_ends_it(code: int) -> None:
    heard = Heard()
    rooms = Rooms()
    rooms.script = lambda link: link.close(code, "not you")

    async with running(rooms), socket_to(rooms, heard):
        await heard.until(lambda h: h.refusal is not None)

    assert heard.refusal is not None
    assert heard.refusal.status == code
    assert "not you" in str(heard.refusal)
    assert len(rooms.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_end_it(status: int) -> None:
    heard = Heard()
    rooms = Rooms()
    rooms.status = http.HTTPStatus(status)

    async with running(rooms), socket_to(rooms, heard):
        await heard.until(lambda h: h.refusal is not None)

    assert heard.refusal is not None
    assert heard.refusal.status == status
    assert "secret" not in str(heard.refusal)
    assert len(rooms.requests) == 1


async def test_any_other_refusal_is_tried_again() -> None:
    heard = Heard()
    rooms = Rooms()
    rooms.status = http.HTTPStatus(503)

    async with running(rooms), socket_to(rooms, heard):
        await heard.until(lambda _h: len(rooms.requests) >= 2)
        rooms.status = None
        await heard.until(lambda h: bool(h.opens))

    assert heard.refusal is None


async def test_a_redirect_is_not_followed() -> None:
    heard = Heard()
    elsewhere, rooms = Rooms(), Rooms()
    async with running(elsewhere), running(rooms):

        def redirect(link: ServerConnection, request: Request) -> Response:
            rooms.requests.append(request)
            answer = link.respond(http.HTTPStatus.FOUND, "")
            answer.headers["Location"] = elsewhere.url.replace("http", "ws")
            return answer

        rooms.judge = redirect  # type: ignore[method-assign]
        async with serve(rooms.serve, "127.0.0.1", 0, process_request=redirect) as own:
            port = next(iter(own.sockets)).getsockname()[1]
            rooms.url = f"http://127.0.0.1:{port}"
            async with socket_to(rooms, heard):
                await heard.until(lambda _h: len(rooms.requests) >= 2)

    assert elsewhere.requests == []


async def test_nothing_is_sent_or_kept_while_the_link_is_down() -> None:
    heard = Heard()
    async with running(Rooms()) as rooms:
        socket = socket_to(rooms, heard)

        assert socket.send(b"early") is False

        async with socket:
            await heard.until(lambda h: bool(h.opens))

    assert rooms.received == []


async def test_a_close_that_meets_the_end_of_the_link_closes_for_good() -> None:
    heard = Heard()
    rooms = Rooms()
    rooms.script = lambda link: link.close(1012, "restart")
    async with running(rooms):
        link = socket_to(rooms, heard)
        closing: list[asyncio.Task[None]] = []
        heard.lost = lambda: closing.append(asyncio.ensure_future(link.close()))  # type: ignore[method-assign]
        await link.__aenter__()
        await heard.until(lambda _h: bool(closing))
        async with asyncio.timeout(DEADLINE):
            await closing[0]

    assert not link.is_open
    assert len(rooms.requests) == 1


async def test_whoever_closes_can_be_cancelled_himself() -> None:
    heard = Heard()
    is_dialling, is_held, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def query() -> dict[str, str]:
        is_dialling.set()
        try:
            await asyncio.Event().wait()
        finally:
            is_held.set()
            await may_end.wait()
        return {}

    async with running(Rooms()) as rooms:
        link = socket_to(rooms, heard, query=query)
        await link.__aenter__()
        async with asyncio.timeout(DEADLINE):
            await is_dialling.wait()
            closing = asyncio.ensure_future(link.close())
            await is_held.wait()
        closing.cancel()
        await asyncio.wait([closing], timeout=DEADLINE)
        may_end.set()
        async with asyncio.timeout(DEADLINE):
            await link.close()

    assert closing.cancelled()
    assert rooms.requests == []


async def test_a_receivers_mistake_does_not_cost_the_link(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard = Heard()
    rooms = Rooms()

    async def provoke(link: ServerConnection) -> None:
        await link.send("raise")
        await link.send("after")

    rooms.script = provoke
    async with running(rooms), socket_to(rooms, heard):
        await heard.until(lambda h: "after" in h.frames)

    assert heard.losses == 0
    assert "a callback failed" in caplog.text


CONNECTED = (
    '{"type":"connected","protocol":1,"version":"1","connection":"c","user":"u",'
    '"roles":["viewer"],"epoch":"e","offset":2,"oldest":0,"resume":"%s"}'
)


async def test_an_event_room_resumes_and_gives_every_entry_once() -> None:
    rooms = Rooms()
    links: list[int] = []

    async def tell(link: ServerConnection) -> None:
        links.append(1)
        if len(links) == 1:
            await link.send(CONNECTED % "fresh")
            await link.send(
                '{"type":"snapshot","epoch":"e","offset":2,"state":{"n":1}}'
            )
            await link.send(event(3))
            await link.close(1012)
        else:
            await link.send(CONNECTED % "resumed")
            await link.send(event(3))
            await link.send(event(4))
            await link.send('{"type":"of-a-newer-server"}')
            await link.send('{"type":"tick","offset":9}')
            await link.send(event(10))

    rooms.script = tell
    seen: list[int] = []
    async with (
        running(rooms),
        asyncio.timeout(DEADLINE),
        EventRoom(Server(rooms.url), "ops", min_delay=0.02) as room,
    ):
        async for message in room:
            if isinstance(message, StateSnapshot):
                assert message.state == {"n": 1}
            if isinstance(message, Event):
                seen.append(message.offset)
                if message.offset == 10:
                    break

    assert seen == [3, 4, 10]
    assert rooms.query(1)["epoch"] == "e"
    assert rooms.query(1)["offset"] == "3"


def event(offset: int) -> str:
    return (
        '{"type":"event","name":"deploy","data":{},"by":"ana","at":"now",'
        f'"offset":{offset}}}'
    )


async def test_an_event_room_ends_with_the_refusal() -> None:
    rooms = Rooms()
    rooms.script = lambda link: link.close(4503, "not yours")

    async with running(rooms), EventRoom(Server(rooms.url), "ops") as room:
        with pytest.raises(RefusedError, match="not yours"):
            async with asyncio.timeout(DEADLINE):
                await anext(aiter(room))
