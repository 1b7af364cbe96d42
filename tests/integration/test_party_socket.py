"""PartySocket against real servers: our rooms, and some that behave oddly."""

import asyncio
import http
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from tests.integration.house import House
from tests.integration.house import running as house_running
from vibehq_nb.client import (
    CloseEvent,
    PartySocket,
    ReadyState,
    ReconnectingWebSocket,
    link,
    socket_queues,
)
from vibehq_nb.client.errors import (
    ConnectError,
    GaveUpError,
    QueueFullError,
    RefusedError,
)
from vibehq_nb.core.errors import UsageError
from vibehq_server.room import HttpRequest, Room
from vibehq_server.room import Response as RoomResponse

DEADLINE = 10.0
ANA = {"X-As": "ana viewer,operator"}


class Door:
    """A WebSocket server that does what a test says, and notes who came."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.headers: list[Headers] = []
        self.received: list[str | bytes] = []
        self.codes: list[tuple[int | None, str | None]] = []
        self.status: http.HTTPStatus | None = None
        self.location = ""
        self.script: Callable[[ServerConnection, int], Any] = lambda _link, _n: None
        self.port = 0

    def judge(self, link: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        self.headers.append(request.headers)
        if self.status is None:
            return None
        answer = link.respond(self.status, "no\n")
        if self.location:
            answer.headers["Location"] = self.location
        return answer

    async def serve(self, link: ServerConnection) -> None:
        result = self.script(link, len(self.paths))
        if asyncio.iscoroutine(result):
            await result
        with suppress(ConnectionClosed):
            async for frame in link:
                self.received.append(frame)
        self.codes.append((link.close_code, link.close_reason))

    def query(self, index: int) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.paths[index]).query)

    def id(self, index: int) -> str:
        name, value = self.query(index)[0]
        assert name == "_pk"
        return value


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[Door]:
    door = Door()
    async with serve(
        door.serve,
        "127.0.0.1",
        0,
        process_request=door.judge,
        close_timeout=1,
        **options,
    ) as server:
        door.port = next(iter(server.sockets)).getsockname()[1]
        yield door


class Heard:
    """Keeps what a socket tells, in the order it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def options(self) -> dict[str, Any]:
        return {
            "on_open": lambda: self.told.append("open"),
            "on_message": self.told.append,
            "on_close": self.told.append,
            "on_error": self.told.append,
        }

    def of(self, kind: type[Any]) -> list[Any]:
        return [told for told in self.told if isinstance(told, kind)]

    @property
    def opens(self) -> int:
        return self.told.count("open")


def socket_at(door: Door, heard: Heard | None = None, **options: Any) -> PartySocket:
    given = {
        "host": f"127.0.0.1:{door.port}",
        "room": "r",
        "min_reconnection_delay": 0.02,
        "max_reconnection_delay": 0.05,
    }
    return PartySocket(**given | (heard.options() if heard else {}) | options)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.002)


# It comes back


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 3000, 4000, 4408, 4499])
async def test_it_comes_back_with_the_same_id_after_the_servers_close(code: int):
    heard = Heard()
    async with opened() as door, socket_at(door, heard) as socket:
        door.script = lambda link, n: link.close(code, "why") if n == 1 else None
        await until(lambda: heard.opens == 2)

        assert door.id(0) == door.id(1) == socket.id
        event = heard.of(CloseEvent)[0]

    assert event == CloseEvent(code, "why", was_clean=True, will_reconnect=True)


async def test_a_link_that_is_cut_is_told_as_1006_and_not_clean():
    heard = Heard()
    async with opened() as door, socket_at(door, heard):
        door.script = lambda link, n: link.transport.abort() if n == 1 else None
        await until(lambda: heard.opens == 2)

    event = heard.of(CloseEvent)[0]
    assert (event.code, event.was_clean) == (1006, False)


async def test_a_close_frame_without_a_code_is_told_as_1005():
    heard = Heard()
    async with opened() as door, socket_at(door, heard):

        def close_bare(link: ServerConnection, n: int) -> None:
            if n == 1:
                link.protocol.send_close()
                link.send_data()

        door.script = close_bare
        await until(lambda: heard.opens == 2)

    assert heard.of(CloseEvent)[0].code == 1005


async def test_a_peer_that_closes_and_keeps_the_line_is_left_soon(monkeypatch):
    monkeypatch.setattr(link, "CLOSE_SECONDS", 0.05)
    heard = Heard()

    async def say_goodbye_only(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        protocol = ServerProtocol()
        while chunk := await reader.read(65536):
            protocol.receive_data(chunk)
            for event in protocol.events_received():
                if isinstance(event, Request):
                    protocol.send_response(protocol.accept(event))
                    protocol.send_close(1012, "bye")
            writer.write(b"".join(protocol.data_to_send()))
        writer.close()

    door = Door()
    async with await asyncio.start_server(say_goodbye_only, "127.0.0.1", 0) as server:
        door.port = server.sockets[0].getsockname()[1]
        async with socket_at(door, heard):
            await until(lambda: heard.opens == 2)

    assert heard.of(CloseEvent)[0].code == 1012


# The queue


async def test_what_is_sent_while_the_link_is_down_goes_out_in_order_before_open():
    heard = Heard()
    answers: list[bool] = []
    async with opened() as door:
        socket = socket_at(door, heard)

        def on_close(event: CloseEvent) -> None:
            if event.will_reconnect:
                answers.extend(socket.send(f"m{n}") for n in range(10))

        socket.update_properties(
            on_close=on_close, on_open=lambda: socket.send(f"open{len(door.paths)}")
        )
        door.script = lambda link, n: link.close(4000) if n == 1 else None
        async with socket:
            await until(lambda: "open2" in door.received)

        assert [f for f in door.received if f != "open1"] == [
            *(f"m{n}" for n in range(10)),
            "open2",
        ]
    assert answers == [False] * 10


async def test_the_queue_outlives_close_and_can_be_taken_back():
    heard = Heard()
    async with opened() as door, socket_at(door, heard) as socket:
        await until(lambda: heard.opens == 1)
        socket.close()
        sent = [socket.send("é"), socket.send(b"two"), socket.send("three")]

        assert sent == [False, False, False]
        assert socket.buffered_amount == 10
        assert socket.drain_queued_messages() == ["é", b"two", "three"]
        assert socket.buffered_amount == 0
        assert socket.drain_queued_messages() == []

        socket.send("last")
        socket.reconnect()
        await until(lambda: door.received == ["last"])


async def test_over_the_bound_a_message_is_refused_and_told():
    heard = Heard()
    async with opened() as door:
        socket = socket_at(door, heard, max_enqueued_bytes=10)
        sent = [socket.send("12345678"), socket.send(b"abc"), socket.send("é")]

        assert sent == [False, False, False]
        assert socket.drain_queued_messages() == ["12345678", "é"]
        assert [type(error) for error in heard.told] == [QueueFullError]


async def test_a_refused_message_is_logged_where_nobody_listens(caplog):
    socket = PartySocket(host="h", room="r", max_enqueued_bytes=1)

    socket.send("secret")

    assert "more than 1 bytes would wait" in caplog.text
    assert "secret" not in caplog.text


async def test_a_peer_that_does_not_read_fills_a_bounded_buffer():
    heard = Heard()
    is_over = asyncio.Event()

    async def read_nothing(link: ServerConnection, _n: int) -> None:
        link.transport.pause_reading()
        await is_over.wait()
        link.transport.resume_reading()

    async with opened() as door, socket_at(door, heard) as socket:
        door.script = read_nothing
        await until(lambda: heard.opens == 1)
        frame = bytes(256 * 1024)
        sent = 0
        while socket.send(frame):
            sent += 1
            await asyncio.sleep(0)
            assert sent < 200

        assert socket.ready_state is ReadyState.OPEN
        assert socket.buffered_amount <= 1024 * 1024
        assert isinstance(heard.told[-1], QueueFullError)
        is_over.set()


async def test_a_message_handed_over_right_before_close_arrives():
    heard = Heard()
    async with opened() as door, socket_at(door, heard) as socket:
        await until(lambda: heard.opens == 1)

        assert socket.send("bye") is True
        socket.close(4001, "done")
        await until(lambda: bool(door.codes))

        assert door.received == ["bye"]
        assert door.codes == [(4001, "done")]


# Retries


async def test_retries_are_counted_until_a_link_has_held_for_min_uptime():
    heard = Heard()
    counts: list[int] = []
    async with opened() as door:
        socket = socket_at(door, heard, min_uptime=0.2)
        socket.update_properties(on_open=lambda: counts.append(socket.retry_count))
        door.script = lambda link, n: link.close(1012) if n <= 3 else None
        async with socket:
            await until(lambda: len(counts) == 4)
            await until(lambda: socket.retry_count == 0)

    assert counts == [0, 1, 2, 3]


@pytest.mark.parametrize("retries", [0, 2])
async def test_after_max_retries_it_gives_up_and_says_so(retries: int):
    heard = Heard()
    async with opened() as door, socket_at(door, heard, max_retries=retries) as socket:
        door.status = http.HTTPStatus.SERVICE_UNAVAILABLE
        await until(lambda: bool(heard.of(GaveUpError)))

        assert len(door.paths) == retries + 1
        assert heard.of(GaveUpError)[0].tries == retries + 1
        follows = [event.will_reconnect for event in heard.of(CloseEvent)]
        assert follows == [True] * retries + [False]
        assert socket.ready_state is ReadyState.CLOSED

        door.status = None
        socket.reconnect()
        await until(lambda: heard.opens == 1)


async def test_giving_up_ends_the_iteration_with_the_error():
    async with opened() as door:
        door.status = http.HTTPStatus.SERVICE_UNAVAILABLE
        async with socket_at(door, max_retries=0) as socket:
            with pytest.raises(GaveUpError, match="once"):
                await anext(aiter(socket))


async def test_a_failed_try_is_a_close_then_an_error_with_its_status():
    heard = Heard()
    async with opened() as door, socket_at(door, heard):
        door.status = http.HTTPStatus.BAD_REQUEST
        await until(lambda: len(heard.told) >= 2)
        closed, error = heard.told[:2]

    assert (closed.code, closed.status, closed.will_reconnect) == (1006, 400, True)
    assert isinstance(error, ConnectError)
    assert error.status == 400


async def test_a_server_that_does_not_answer_times_out_and_is_tried_again():
    heard = Heard()
    came = 0

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        came += 1
        await reader.read()
        writer.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        door = Door()
        door.port = server.sockets[0].getsockname()[1]
        async with socket_at(door, heard, connection_timeout=0.05):
            await until(lambda: came >= 2)

    assert "timeout after 0.05 s" in heard.of(CloseEvent)[0].reason
    assert isinstance(heard.told[1], ConnectError)


async def test_a_link_without_pongs_is_dropped_and_dialled_again(monkeypatch):
    monkeypatch.setattr(link, "PING_SECONDS", 0.05)
    monkeypatch.setattr(link, "CLOSE_SECONDS", 0.05)
    heard = Heard()

    def go_deaf(peer: ServerConnection, n: int) -> None:
        if n == 1:
            peer.transport.pause_reading()

    async with opened(ping_interval=None) as door, socket_at(door, heard):
        door.script = go_deaf
        await until(lambda: heard.opens == 2)

    assert heard.of(CloseEvent)[0].code == 1006


# Providers


async def test_query_and_headers_and_protocols_are_asked_before_every_try():
    count = {"query": 0, "headers": 0, "protocols": 0}

    def next_of(name: str) -> str:
        count[name] += 1
        return str(count[name])

    async def query() -> dict[str, str | None]:
        await asyncio.sleep(0)
        return {"n": next_of("query"), "none": None}

    async def protocols() -> list[str]:
        await asyncio.sleep(0)
        return [f"v{next_of('protocols')}"]

    heard = Heard()
    async with (
        opened(subprotocols=[Subprotocol("v1"), Subprotocol("v2")]) as door,
        socket_at(
            door,
            heard,
            query=query,
            headers=lambda: {"X-N": next_of("headers")},
            protocols=protocols,
        ) as socket,
    ):
        door.script = lambda link, n: link.close(4000) if n == 1 else None
        await until(lambda: heard.opens == 2)

        assert [door.query(n)[1:] for n in (0, 1)] == [[("n", "1")], [("n", "2")]]
        assert [door.headers[n]["X-N"] for n in (0, 1)] == ["1", "2"]
        assert socket.subprotocol == "v2"


async def test_a_server_that_chooses_no_subprotocol_is_spoken_to_all_the_same():
    heard = Heard()
    async with opened() as door, socket_at(door, heard, protocols="v1") as socket:
        await until(lambda: heard.opens == 1)

        assert socket.subprotocol == ""
        assert door.headers[0]["Sec-WebSocket-Protocol"] == "v1"


async def test_an_address_is_asked_for_before_every_try():
    heard = Heard()
    async with opened() as door:
        addresses = [f"ws://127.0.0.1:{door.port}/{n}" for n in (1, 2)]

        async def url() -> str:
            await asyncio.sleep(0)
            return addresses[len(door.paths)]

        door.script = lambda link, n: link.close(4000) if n == 1 else None
        async with ReconnectingWebSocket(
            url, min_reconnection_delay=0.01, **heard.options()
        ):
            await until(lambda: heard.opens == 2)

    assert door.paths == ["/1", "/2"]


async def test_a_provider_that_fails_is_told_and_asked_again():
    heard = Heard()
    tries: list[int] = []

    def query() -> dict[str, str]:
        tries.append(1)
        if len(tries) == 1:
            raise LookupError("no ticket yet")
        return {}

    async with opened() as door, socket_at(door, heard, query=query):
        await until(lambda: heard.opens == 1)

    assert isinstance(heard.told[0], LookupError)
    assert heard.told[1] == "open"


# reconnect, update, close


async def test_reconnect_closes_once_dials_at_once_and_counts_anew():
    heard = Heard()
    async with opened() as door:
        socket = socket_at(door, heard, min_reconnection_delay=60.0)
        async with socket:
            await until(lambda: heard.opens == 1)
            before = socket.id

            socket.reconnect(4002, "again")

            assert heard.told[1:] == [
                CloseEvent(4002, "again", was_clean=True, will_reconnect=True)
            ]
            assert socket.retry_count == 0
            await until(lambda: heard.opens == 2)
            assert door.id(1) == before
            await until(lambda: (4002, "again") in door.codes)


async def test_an_update_takes_effect_with_reconnect():
    heard = Heard()
    async with opened() as door, socket_at(door, heard, path="x") as socket:
        await until(lambda: heard.opens == 1)

        socket.update_properties(room="other", query={"a": 1})
        socket.reconnect()
        await until(lambda: heard.opens == 2)

        assert urlsplit(door.paths[1]).path == "/parties/main/other/x"
        assert door.query(1) == [("_pk", socket.id), ("a", "1")]
        assert door.id(0) != door.id(1)


async def test_close_stops_and_tells_exactly_once_before_it_returns():
    heard = Heard()
    async with opened() as door, socket_at(door, heard) as socket:
        await until(lambda: heard.opens == 1)
        heard.told.clear()

        socket.close(3001, "done")
        socket.close()

        assert heard.told == [CloseEvent(3001, "done", was_clean=True)]
        assert socket.ready_state is ReadyState.CLOSED
        await socket.wait_closed()
        assert len(door.paths) == 1


async def test_abort_says_nothing_to_the_server_and_stays_down_until_reconnect():
    heard = Heard()
    async with opened() as door, socket_at(door, heard) as socket:
        await until(lambda: heard.opens == 1)
        socket.abort()

        assert [close.will_reconnect for close in heard.of(CloseEvent)] == [False]
        await until(lambda: door.codes == [(1006, "")])
        assert (len(door.paths), socket.ready_state) == (1, ReadyState.CLOSED)
        socket.reconnect()
        await until(lambda: heard.opens == 2)


async def test_close_before_the_first_try_tells_nothing():
    heard = Heard()
    async with opened() as door:
        socket = socket_at(door, heard)
        assert socket.ready_state is ReadyState.CONNECTING

        async with socket:
            socket.close()

        assert socket.ready_state is ReadyState.CLOSED
        assert heard.told == []
        assert door.paths == []


async def test_close_between_two_tries_tells_nothing_more():
    heard = Heard()
    async with opened() as door:
        door.status = http.HTTPStatus.SERVICE_UNAVAILABLE
        async with socket_at(door, heard, min_reconnection_delay=60) as socket:
            await until(lambda: len(heard.told) == 2)
            assert socket.ready_state is ReadyState.CLOSED

            socket.close()

    assert len(heard.told) == 2


async def test_close_inside_a_callback_lets_nothing_more_be_told():
    heard = Heard()
    async with opened() as door:
        socket = socket_at(door, heard)

        def on_message(message: str | bytes) -> None:
            heard.told.append(message)
            socket.close()

        async def tell(link: ServerConnection, _n: int) -> None:
            for number in range(5):
                await link.send(str(number))

        door.script = tell
        socket.update_properties(on_message=on_message)
        async with socket:
            await until(lambda: bool(heard.of(CloseEvent)))
            await socket.wait_closed()

    assert heard.told == ["open", "0", CloseEvent(1000, was_clean=True)]


async def test_a_socket_that_starts_closed_dials_when_it_is_told_to():
    heard = Heard()
    async with opened() as door:
        socket = socket_at(door, heard, start_closed=True, room="")
        async with socket:
            assert socket.ready_state is ReadyState.CLOSED
            assert socket.send("kept") is False
            socket.update_properties(room="later")
            socket.reconnect()
            await until(lambda: door.received == ["kept"])

    assert urlsplit(door.paths[0]).path == "/parties/main/later"


@pytest.mark.parametrize(
    ("code", "reason"), [(1001, ""), (999, ""), (5000, ""), (1000, "é" * 62)]
)
async def test_a_code_or_reason_no_client_may_close_with_is_refused(code, reason):
    socket = PartySocket(host="h", room="r")

    with pytest.raises(UsageError):
        socket.close(code, reason)
    with pytest.raises(UsageError):
        socket.reconnect(code, reason)


# Who may come back


async def test_the_callers_rule_stops_it_until_reconnect():
    heard = Heard()
    asked: list[int] = []

    def rule(event: CloseEvent) -> bool:
        asked.append(event.code)
        return event.code != 4003

    async with (
        opened() as door,
        socket_at(door, heard, should_reconnect_on_close=rule) as socket,
    ):
        codes = {1: 1000, 2: 4003}
        door.script = lambda link, n: link.close(codes[n]) if n in codes else None
        await until(lambda: len(asked) == 2)
        await socket.wait_closed()

        assert asked == [1000, 4003]
        assert not heard.of(CloseEvent)[1].will_reconnect
        assert heard.of(Exception) == []
        assert len(door.paths) == 2

        socket.reconnect()
        await until(lambda: heard.opens == 3)


async def test_the_callers_rule_overrides_ours():
    heard = Heard()
    async with (
        opened() as door,
        socket_at(door, heard, should_reconnect_on_close=lambda _event: True),
    ):
        door.script = lambda link, n: link.close(4501) if n == 1 else None
        await until(lambda: heard.opens == 2)


@pytest.mark.parametrize("code", [4500, 4501, 4503, 4509, 4511])
async def test_a_final_close_code_ends_it_and_the_iteration(code: int):
    async with opened() as door, socket_at(door) as socket:

        async def say_no(link: ServerConnection, _n: int) -> None:
            await link.send("last words")
            await link.close(code, "not you")

        door.script = say_no
        async with asyncio.timeout(DEADLINE):
            last = await anext(socket)
            with pytest.raises(RefusedError, match="not you") as refused:
                await anext(socket)

        assert refused.value.status == code
        assert last == "last words"
        assert len(door.paths) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_end_it(status: int):
    heard = Heard()
    async with opened() as door, socket_at(door, heard) as socket:
        door.status = http.HTTPStatus(status)
        await until(lambda: bool(heard.of(RefusedError)))
        await socket.wait_closed()

        assert heard.of(RefusedError)[0].status == status
        assert len(door.paths) == 1


# Callbacks, iteration, logs


async def test_iteration_ends_with_close_after_what_had_come():
    async with opened() as door, socket_at(door) as socket:

        async def tell(link: ServerConnection, _n: int) -> None:
            await link.send("one")
            await link.send(b"two")

        door.script = tell
        seen: list[str | bytes] = []
        async for message in socket:
            seen.append(message)
            if len(seen) == 2:
                socket.close()

    assert seen == ["one", b"two"]


async def test_iteration_is_refused_where_a_callback_takes_the_messages():
    socket = PartySocket(host="h", room="r", on_message=lambda _message: None)

    with pytest.raises(UsageError, match="on_message"):
        aiter(socket)


async def test_a_reader_that_lags_holds_the_server_back_and_loses_nothing(monkeypatch):
    monkeypatch.setattr(socket_queues, "INBOX_BYTES", 4096)
    sent = 0

    async def tell(link: ServerConnection, _n: int) -> None:
        nonlocal sent
        for number in range(4000):
            await link.send(f"{number:04}" + "x" * 4000)
            sent += 1

    async with opened() as door, socket_at(door) as socket:
        door.script = tell
        seen = [str(await anext(socket))[:4]]
        await until(lambda: sent > 100)
        await asyncio.sleep(0.1)  # long enough for all, were there no bound
        held_back = sent
        async for message in socket:
            seen.append(str(message)[:4])
            if len(seen) == 4000:
                break

    assert held_back < 4000
    assert seen == [f"{number:04}" for number in range(4000)]


async def test_a_callbacks_mistake_costs_no_link(caplog):
    heard = Heard()

    def fail(*_what: object) -> None:
        raise ValueError("a mistake")

    async with (
        opened() as door,
        socket_at(door, heard, on_open=fail, should_reconnect_on_close=fail) as socket,
    ):
        door.script = lambda link, n: link.close(1012) if n == 1 else link.send("hi")
        await until(lambda: "hi" in heard.told)
        assert socket.ready_state is ReadyState.OPEN

    assert "a callback failed" in caplog.text
    assert "should_reconnect_on_close failed" in caplog.text


async def test_no_credential_and_no_query_reaches_a_log(caplog):
    caplog.set_level(logging.DEBUG)
    heard = Heard()
    async with (
        opened() as door,
        socket_at(
            door,
            heard,
            headers={"Authorization": "Bearer canary-h"},
            query={"ticket": "canary-q"},
            debug=True,
        ) as socket,
    ):
        await until(lambda: heard.opens == 1)
        door.status = http.HTTPStatus.SERVICE_UNAVAILABLE
        socket.reconnect()
        await until(lambda: bool(heard.of(ConnectError)))

    client = [r for r in caplog.records if not r.name.startswith("websockets.server")]
    lines = [record.getMessage() for record in client]
    assert any(line == "main/r: open" for line in lines)
    assert not any("canary" in line for line in lines)
    assert "canary" not in str(heard.told)


async def test_a_redirect_is_not_followed():
    heard = Heard()
    async with opened() as elsewhere, opened() as door, socket_at(door, heard):
        door.status = http.HTTPStatus.FOUND
        door.location = f"ws://127.0.0.1:{elsewhere.port}/"
        await until(lambda: bool(heard.of(ConnectError)))

    assert heard.of(ConnectError)[0].status == 302
    assert elsewhere.paths == []


async def test_the_websockets_library_has_what_a_link_takes_of_it():
    heard = Heard()
    async with opened() as door, socket_at(door, heard) as socket:
        await until(lambda: heard.opens == 1)
        inner = socket._link
        assert inner is not None

        inner.write("text")
        inner.write(b"bytes")
        await until(lambda: door.received == ["text", b"bytes"])

        assert inner.waiting_bytes == 0
        connection = inner._connection
        for name in ("send_text", "send_binary"):
            assert callable(getattr(connection.protocol, name))
        assert callable(connection.send_data)


# Our own rooms


class EchoRoom(Room):
    """Says what it hears to all, and answers plain requests."""

    async def on_message(self, connection, message):
        self.broadcast(message)

    async def on_request(self, request: HttpRequest) -> RoomResponse:
        if request.path == "teapot":
            return RoomResponse("short and stout", 418)
        if request.path == "boom":
            raise RuntimeError("a secret")
        said = f"{request.method} {request.path} {request.query} {request.body!r}"
        return RoomResponse(said, 201, {"X-Room": self.name})


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with house_running({"ops": EchoRoom}) as house:
        yield house


def at(house: House, **more: Any) -> dict[str, Any]:
    return {"host": house.url, "party": "ops", "room": "my room", "headers": ANA} | more


async def test_two_sockets_meet_in_a_room_of_ours_text_and_bytes_kept_apart(house):
    messages: list[str | bytes] = ["é😀\0", b"\0\xff", "x" * 70_000]
    async with (
        asyncio.timeout(DEADLINE),
        PartySocket(**at(house)) as one,
        PartySocket(**at(house)) as two,
    ):
        one.send("hello")
        assert await anext(one) == "hello"
        two.send("there")
        assert await anext(one) == "there"
        while await anext(two) != "there":
            pass
        for message in messages:
            one.send(message)

        assert [await anext(two) for _ in messages] == messages


async def test_fetch_asks_the_same_room_with_the_same_options(house):
    got = await PartySocket.fetch(**at(house, path="a/b", query={"q": "x y"}))

    async def headers() -> dict[str, str]:
        return ANA | {"Content-Type": "application/json"}

    posted = await PartySocket.fetch(
        "POST", '"é"', **at(house, id="unused", headers=headers)
    )

    assert (got.status, got.headers["x-room"]) == (201, "my%20room")
    assert got.text == "GET a/b {'q': 'x y'} b''"
    assert got.is_ok
    assert posted.text == "POST  {} " + repr('"é"'.encode())


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"path": "teapot"}, 418),
        ({"path": "boom"}, 500),
        ({"party": "nosuch"}, 400),
        ({"headers": {}}, 401),
    ],
)
async def test_fetch_returns_an_error_status_and_raises_nothing(house, options, status):
    answer = await PartySocket.fetch(**at(house, **options))

    assert answer.status == status
    assert not answer.is_ok
    assert "secret" not in answer.text


async def test_fetch_follows_no_redirect():
    async with opened() as elsewhere, opened() as door:
        door.status = http.HTTPStatus.FOUND
        door.location = f"http://127.0.0.1:{elsewhere.port}/"

        answer = await PartySocket.fetch(host=f"127.0.0.1:{door.port}", room="r")

    assert answer.status == 302
    assert answer.headers["location"] == door.location
    assert elsewhere.paths == []


async def test_fetch_says_when_nobody_answers():
    async with opened() as door:
        port = door.port

    with pytest.raises(ConnectError, match="cannot be reached"):
        await PartySocket.fetch(
            host=f"127.0.0.1:{port}", room="r", query={"ticket": "canary"}
        )
