"""Rows of PartyServer's features that show best from the room's own side."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.integration.app_server import send
from tests.integration.house import House, running
from tests.rooms_under_test import Main, MyServer
from vibehq_server import Connection, HttpRequest, Response, Room, Rooms


class Ends(Room):
    """Tells how its connections ended."""

    access = "open"

    async def on_start(self, props: Mapping[str, Any]) -> None:
        self.ends: asyncio.Queue[tuple[str, int, str, bool]] = asyncio.Queue()

    async def on_close(
        self, connection: Connection, code: int, reason: str, was_clean: bool
    ) -> None:
        await self.ends.put((connection.id, code, reason, was_clean))


async def ends_of(house: House) -> "asyncio.Queue[tuple[str, int, str, bool]]":
    room = await house.hub.room("ends", "r")
    assert isinstance(room, Ends)
    return room.ends


async def get(house: House, path: str) -> Any:
    answer = await send(int(house.url.rpartition(":")[2]), "GET", path)
    return answer.json()


async def test_row_02_a_class_gives_its_party_its_name_in_kebab_case() -> None:
    parties = Rooms([Main, MyServer]).parties()
    async with running(parties) as house:
        assert list(parties) == ["main", "my-server"]
        assert (await (await house.connect("my-server/r")).next())["hello"] == "r"


@pytest.mark.parametrize("code", [1000, 3000, 4321, 4999])
async def test_row_13_on_close_sees_the_peers_code_and_reason(code: int) -> None:
    async with running({"ends": Ends}) as house:
        peer = await house.connect("ends/r", _pk="p")
        ends = await ends_of(house)

        await peer.socket.close(code, "x é")

        async with asyncio.timeout(10):
            assert await ends.get() == ("p", code, "x é", True)


async def test_row_13_a_line_that_breaks_is_1006_and_not_clean() -> None:
    async with running({"ends": Ends}) as house:
        peer = await house.connect("ends/r", _pk="p")
        ends = await ends_of(house)

        peer.socket.transport.abort()

        async with asyncio.timeout(10):
            assert await ends.get() == ("p", 1006, "", False)


class Starter(Room):
    access = "open"

    async def on_request(self, request: HttpRequest) -> Response:
        stub = self.get_room("main", request.path, {"ü": [1, {"é": None}]})
        return await stub.fetch(HttpRequest(headers={"x-own": "1"}))


async def test_row_24_props_come_equal_from_server_and_room_and_in_no_header() -> None:
    parties = {"main": Main, "starter": Starter}
    async with running(parties, props={"é": 1}) as house:
        by_server = await get(house, "/parties/main/one")
        by_room = await get(house, "/parties/starter/r/two")

    assert by_server["props"] == {"é": 1}
    assert by_room["props"] == {"é": 1, "ü": [1, {"é": None}]}
    assert by_room["headers"] == {"x-own": "1"}
    assert not [name for name in by_server["headers"] if name.startswith("x-")]


async def test_row_14_a_close_without_a_code_is_answered_without_one() -> None:
    async with running({"main": Main}) as house:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(house.url.rpartition(":")[2])
        )
        lines = [
            "GET /parties/main/r HTTP/1.1",
            "Host: h",
            "Upgrade: WebSocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol: a, b",
        ]
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode())
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                assert b" 101 " in head
                assert b"sec-websocket-protocol" not in head.lower()
                writer.write(b"\x88\x80abcd")  # a close frame, masked and empty
                assert (await reader.read()).endswith(b"\x88\x00")
        finally:
            writer.close()
