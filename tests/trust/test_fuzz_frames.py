"""
Random frames: our reader against another implementation of RFC 6455.

The judge is the sans-I/O core of `websockets`, which shares no code with Tornado.
"""

import asyncio
import queue
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from tests.integration.app_server import UPGRADE
from tests.integration.house import running
from tests.rounds import rounds
from tests.trust.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    EchoRoom,
    closing,
    frame,
)
from vibehq_nb.core.rates import Rate
from vibehq_server.rates import Door

LIMIT = 1000
END = b"the end"
ANY = -1


class SmallRoom(EchoRoom):
    max_message_bytes = LIMIT


RARELY = st.sampled_from([False] * 15 + [True])
PAYLOADS = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.binary(max_size=20),
    st.sampled_from([b"x" * size for size in (125, 126, 127, 500, LIMIT, LIMIT + 1)]),
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Mostly legal frames."""
    opcode = draw(
        st.sampled_from([TEXT, BINARY, CONTINUATION, CONTINUATION, PING, PONG, CLOSE])
        | st.integers(0, 15)
    )
    if opcode == CLOSE:
        code = draw(st.sampled_from([1000, 1001, 3000, 4999]) | st.integers(0, 65535))
        reason = draw(st.text(max_size=10)).encode()
        return draw(st.sampled_from([closing(code, reason), frame(b"", CLOSE)]))
    payload = draw(PAYLOADS)
    if opcode & 8 and not draw(RARELY):
        payload = payload[:125]
    return frame(
        payload,
        opcode,
        fin=bool(opcode & 8 and not draw(RARELY)) or draw(st.booleans()),
        masked=not draw(RARELY),
        reserved=draw(st.integers(0, 7)) if draw(RARELY) else 0,
    )


def judged(sent: bytes) -> tuple[list[tuple[int, bytes]], int | None]:
    """What is to be echoed, and the close code: None where nothing closes."""
    judge = Protocol(Side.SERVER, max_size=None)  # its own counts pings, too
    judge.receive_data(sent)
    echoed: list[tuple[int, bytes]] = []
    whole, kind = b"", 0
    for event in judge.events_received():
        assert isinstance(event, Frame)
        if event.opcode is Opcode.CLOSE:
            return echoed, int.from_bytes(event.data[:2], "big")
        if event.opcode in (Opcode.PING, Opcode.PONG):
            continue
        kind = kind if event.opcode is Opcode.CONT else event.opcode
        whole += bytes(event.data)
        if len(whole) > LIMIT:
            return echoed, 1009
        if event.fin:
            if kind == TEXT and not is_utf8(whole):
                return echoed, 1007
            echoed.append((kind, whole))
            whole = b""
    return echoed, failure_of(judge)


def failure_of(judge: Protocol) -> int | None:
    if judge.parser_exc is None or judge.close_sent is None:
        return None
    if "incomplete fragmented message" in judge.close_sent.reason:
        # A close frame amid a message: allowed by RFC 6455 (5.4), not by this judge.
        return ANY
    return judge.close_sent.code


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server in a thread of its own, for clients that block."""
    started: queue.Queue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]]
    started = queue.Queue()

    async def serve() -> None:
        async with running({"lobby": SmallRoom}) as house:
            house.hub.door = Door(rate=Rate(per_second=1e9, burst=10**9))
            stopped = asyncio.Event()
            number = int(house.url.rpartition(":")[2])
            started.put((number, asyncio.get_running_loop(), stopped))
            await stopped.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    number, loop, stopped = started.get(timeout=10)
    yield number
    loop.call_soon_threadsafe(stopped.set)
    thread.join(10)


class Blocking:
    """A WebSocket by hand that blocks."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        given = {"Host": "x", **UPGRADE, "X-As": "ana viewer"}
        lines = ["GET /parties/lobby/main HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in given.items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._file = self.socket.makefile("rb")
        while self._file.readline() != b"\r\n":
            pass

    def answers(self) -> tuple[list[tuple[int, bytes]], int | None]:
        """Return what is echoed up to the pong of END or the close, and its code."""
        echoed: list[tuple[int, bytes]] = []
        while True:
            first, size = self._file.read(2)
            if size == 126:
                (size,) = struct.unpack("!H", self._file.read(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self._file.read(8))
            opcode, payload = first & 15, self._file.read(size)
            if opcode == CLOSE:
                return echoed, int.from_bytes(payload[:2], "big")
            if (opcode, payload) == (PONG, END):
                return echoed, None
            if opcode != PONG:
                echoed.append((opcode, payload))

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.mark.timeout(240)
@settings(
    max_examples=rounds(6000),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(sent=st.lists(frames(), max_size=12).map(b"".join))
def test_random_frames_are_judged_as_another_implementation_judges_them(
    port: int, sent: bytes
) -> None:
    peer = Blocking(port)
    try:
        peer.socket.sendall(sent + frame(END, PING))

        echoed, code = judged(sent)
        answer = peer.answers()

        assert answer == (echoed, answer[1] if code == ANY else code)
    finally:
        peer.close()


@pytest.mark.timeout(240)
@settings(
    max_examples=rounds(4000),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(garbage=st.binary(max_size=200))
def test_random_bytes_never_take_the_server_down(port: int, garbage: bytes) -> None:
    peer = Blocking(port)
    peer.socket.sendall(garbage)
    peer.close()

    honest = Blocking(port)
    honest.socket.sendall(frame(b"still here") + frame(END, PING))
    assert honest.answers() == ([(TEXT, b"still here")], None)
    honest.close()
